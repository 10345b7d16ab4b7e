#!/usr/bin/env bash
# Tests dtm in a cluster of Citus: three nodes on loopback (see test/citus.py).  Not a
# tier of check.sh: Debian has no package of Citus, so where the server has none, this
# is skipped.
#
#	scripts/citus.sh [SECONDS of torture (default 30)] [SEED]
. "$(dirname "$0")/common.sh"

if [ ! -e "$("$PG_CONFIG" --sharedir 2>/dev/null)/extension/citus.control" ]; then
	echo "skipped: PostgreSQL $PG_MAJOR has no Citus"
	exit 0
fi
install build-essential "postgresql-$PG_MAJOR" "postgresql-server-dev-$PG_MAJOR" \
	libcurl4-openssl-dev ca-certificates python3-psycopg2 procps util-linux
make_scratch
say "building dtm for PostgreSQL $PG_MAJOR"
build CASSERT=1 WERROR=1
as_user mkdir "$SCRATCH/nodes"
as_user cc -shared -fPIC -I"$("$PG_CONFIG" --includedir-server)" -o "$SCRATCH/nodes/hold_commit.so" "$SCRATCH/dtm/test/hold_commit.c"
status=0
as_user /usr/bin/python3 "$SCRATCH/dtm/test/citus.py" "$PG_BIN" "$SCRATCH/nodes" "${1:-30}" "${2:-$RANDOM}" || status=$?
if [ $status != 0 ]; then
	grep -hE 'PANIC|TRAP|FATAL|ERROR|WARNING' "$SCRATCH"/nodes/*.log | tail -40 || true
fi
exit $status
