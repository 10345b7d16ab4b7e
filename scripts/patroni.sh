#!/usr/bin/env bash
# Tests failover and switchover with Patroni and etcd, on loopback, with
# unfinished transactions (see test/patroni.py).  Not a tier of check.sh.
#
#	scripts/patroni.sh
. "$(dirname "$0")/common.sh"

install build-essential "postgresql-$PG_MAJOR" "postgresql-server-dev-$PG_MAJOR" \
	libcurl4-openssl-dev ca-certificates python3-aiohttp python3-psycopg2 python3-yaml \
	patroni etcd-server procps util-linux
make_scratch
say "building dtm for PostgreSQL $PG_MAJOR"
build CASSERT=1
as_user mkdir "$SCRATCH/ha"
status=0
as_user /usr/bin/python3 "$SCRATCH/dtm/test/patroni.py" "$PG_BIN" "$SCRATCH/ha" || status=$?
if [ $status != 0 ]; then
	tail -n 30 "$SCRATCH"/ha/*.log
fi
exit $status
