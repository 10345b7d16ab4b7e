#!/usr/bin/env bash
# Soak test: a million transactions with removal, then a backlog of a million
# after an outage (see test/soak.py).  Takes about ten minutes and 6 GB of
# disk.  Not a tier of check.sh.
#
#	scripts/soak.sh [transactions] [backlog]	(default: 1000000 of each)
. "$(dirname "$0")/common.sh"

install build-essential "postgresql-$PG_MAJOR" "postgresql-server-dev-$PG_MAJOR" \
	libcurl4-openssl-dev ca-certificates python3-psycopg2 procps util-linux
make_scratch
say "building dtm for PostgreSQL $PG_MAJOR"
build
as_user mkdir "$SCRATCH/tools"
as_user cc -O2 -D_GNU_SOURCE -o "$SCRATCH/tools/participant" "$SCRATCH/dtm/bench/participant.c"
# a minute is the shortest retention, and autovacuum's own default would be that, too
start_cluster soak "shared_preload_libraries = 'dtm'" "dtm.retention = '1min'" \
	"dtm.max_requests_per_host = 100" "dtm.retry_interval = '5s'" "dtm.retry_interval_max = '10s'" \
	"dtm.alert_retry_limit = 1000000" "autovacuum_naptime = '10s'" "shared_buffers = 1GB" \
	"max_wal_size = 4GB" "log_min_messages = warning"
as_user "$PG_BIN/psql" -h "$SCRATCH" -U postgres -X -q -c "CREATE EXTENSION dtm"
as_user /usr/bin/python3 "$SCRATCH/dtm/test/soak.py" "$SCRATCH/tools" "$PG_BIN" \
	"host=$SCRATCH user=postgres dbname=postgres" "${1:-1000000}" "${2:-1000000}"
