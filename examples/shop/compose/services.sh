#!/bin/bash
# Run once in the container of the services' databases, when its cluster is initialized: each service has its own
# database, with the barrier in PL/pgSQL.
set -eu

for service in payment stock; do
	createdb -U "$POSTGRES_USER" "$service"
	psql -X -q -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$service" -1 -f /shop/participant.sql -f "/shop/$service.sql" \
		-c "ALTER ROLE $service PASSWORD 'shop'"
done
