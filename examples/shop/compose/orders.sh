#!/bin/bash
# Run once in the container of the orders' database, when its cluster is initialized: the tables of the orders, and where
# the services are.
set -eu

psql -X -q -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" -v key="$KEY" -v stock=http://stock:8002 \
	-v payment=http://payment:8003 -v cards=http://cards:8001 -f /shop/schema.sql \
	-c 'RESET ROLE' -c "ALTER ROLE shop PASSWORD 'shop'"
