#!/usr/bin/env bash
# Measures dtm on a throw-away cluster on this machine:
#
#	bench/run.sh [latency] [concurrent] [idle]	(default: all)
#
#	latency		from the COMMIT of a submit to the first request at the
#				participant, and from the last reply to the final status
#	concurrent	1000 sagas of two steps at a time, against a participant that
#				takes 200 ms for each
#	idle		wake-ups of an idle coordinator in a minute
#
# Figures depend on the machine; compare them within one run.
. "$(dirname "$0")/../scripts/common.sh"

install build-essential "postgresql-$PG_MAJOR" "postgresql-server-dev-$PG_MAJOR" \
	libcurl4-openssl-dev ca-certificates python3-psycopg2 python3-aiohttp strace procps util-linux
make_scratch
say "building dtm for PostgreSQL $PG_MAJOR"
build
start_cluster bench "shared_preload_libraries = 'dtm'" "track_commit_timestamp = on"
as_user "$PG_BIN/psql" -h "$SCRATCH" -U postgres -X -q -c "CREATE EXTENSION dtm"
for scenario in ${*:-latency concurrent idle}; do
	if [ "$scenario" = idle ]; then
		pid=$(as_user "$PG_BIN/psql" -h "$SCRATCH" -U postgres -XAtc "SELECT pid FROM dtm.stat_coordinator")
		before=$(awk '{print $14 + $15}' "/proc/$pid/stat")
		# as root where need be: a process may trace only its own user's
		as_root timeout 60 strace -f -o "$SCRATCH/strace.out" -p "$pid" 2>/dev/null || true
		after=$(awk '{print $14 + $15}' "/proc/$pid/stat")
		printf '%-44s %s system calls, %s ticks of CPU\n' "idle: an idle coordinator, in a minute" \
			"$(grep -cvE 'detached|attached|epoll_wait.*<unfinished|epoll_wait\(.*, -1, $|^[0-9]+ +epoll_wait\([^)]*$' "$SCRATCH/strace.out" || true)" $((after - before))
	else
		as_user /usr/bin/python3 "$SCRATCH/dtm/bench/bench.py" "$scenario" \
			"host=$SCRATCH user=postgres dbname=postgres"
	fi
done
