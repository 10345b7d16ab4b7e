#!/usr/bin/env bash
# Runs the regression tests, and transactions that a coordinator drives, with
# the server under valgrind.  Fails at memory errors.  Takes some minutes.
#
#	scripts/valgrind.sh
#
# Debian's PostgreSQL is not built for valgrind.  So valgrind sees only blocks
# of malloc, not chunks of palloc. test/valgrind.supp suppresses reports about
# the server and libraries alone.
. "$(dirname "$0")/common.sh"

install build-essential "postgresql-$PG_MAJOR" "postgresql-server-dev-$PG_MAJOR" \
	libcurl4-openssl-dev ca-certificates python3-aiohttp valgrind procps util-linux
make_scratch
say "building dtm for PostgreSQL $PG_MAJOR"
build CASSERT=1
status=0

# start NAME SETTING...: a cluster whose server runs under valgrind
start() {
	local name=$1 runner

	start_cluster "$@"
	as_user "$PG_BIN/pg_ctl" -D "$SCRATCH/$name" -m fast -w stop >/dev/null
	as_user valgrind --quiet --trace-children=yes --leak-check=no --error-limit=no \
		--suppressions="$SCRATCH/dtm/test/valgrind.supp" --log-file="$SCRATCH/valgrind-%p.log" \
		"$PG_BIN/postgres" -D "$SCRATCH/$name" >"$SCRATCH/$name.log" 2>&1 &
	runner=$!
	until as_user "$PG_BIN/pg_isready" -q -h "$SCRATCH"; do
		kill -0 $runner || { cat "$SCRATCH/$name.log" >&2; exit 1; }
		sleep 0.5
	done
}

stop() {
	as_user "$PG_BIN/pg_ctl" -D "$SCRATCH/$1" -m fast -w -t 300 stop >/dev/null
}

say "regression tests"
start plain "max_prepared_transactions = 10"
as_user make -s -C "$SCRATCH/dtm" PG_CONFIG="$PG_CONFIG" TAP_TESTS= ISOLATION= \
	PGHOST="$SCRATCH" PGUSER=postgres installcheck >"$SCRATCH/regress.out" 2>&1 || status=1
grep -E '^test|passed|failed' "$SCRATCH/regress.out"
stop plain

say "transactions that a coordinator drives"
start preloaded "shared_preload_libraries = 'dtm'" "dtm.databases = 'calls'" \
	"max_worker_processes = 20" "dtm.request_timeout = '60s'"
mkfifo "$SCRATCH/end"
chmod 666 "$SCRATCH/end"
as_user /usr/bin/python3 "$SCRATCH/dtm/test/participant.py" <"$SCRATCH/end" >"$SCRATCH/port" &
exec 3>"$SCRATCH/end"
until [ -s "$SCRATCH/port" ]; do sleep 0.1; done
as_user "$PG_BIN/createdb" -h "$SCRATCH" -U postgres calls
as_user "$PG_BIN/psql" -h "$SCRATCH" -U postgres -d calls -X -q -v ON_ERROR_STOP=1 \
	-v url="http://127.0.0.1:$(cut -d' ' -f1 "$SCRATCH/port")" -f "$SCRATCH/dtm/test/valgrind.sql" \
	>"$SCRATCH/calls.out" 2>&1 || { cat "$SCRATCH/calls.out"; status=1; }
exec 3>&-
stop preloaded

cat "$SCRATCH"/valgrind-*.log >"$SCRATCH/said"
head -200 "$SCRATCH/said"
[ ! -s "$SCRATCH/said" ] || status=1
[ $status = 0 ] && echo "valgrind has nothing to say"
exit $status
