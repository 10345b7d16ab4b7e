#!/usr/bin/env bash
# Measures dtm on a temporary cluster on this machine, in turns with a
# reference:
#
#	bench/run.sh [-o FILE] [seconds] [scenario...]
#	bench/run.sh compare OLD NEW
#
# Seconds are those of each of three rounds (default 10); FILE gets the figures
# as JSON (default: dtm-bench.json here), to be compared with another's.
#
#	live		8 clients submit sagas; beside: the same, nothing is called
#	drain		a backlog is worked off; beside: a bare libcurl client
#	submit		dtm_submit; beside: a PL function that does the same INSERTs
#	latency		submit to first request; beside: one commit and one POST
#	barrier		a transaction with dtm_barrier; beside: a plain INSERT of its row
#	mixed		tcc, msg, concurrent and failing sagas; beside: sagas
#	results		sagas whose second step gets the result of the first; beside: without
#	waiters		live, while 1,000 sessions are in dtm_wait; beside: without
#	gateway		submits through dtm-gateway; beside: pgbench, which calls dtm_submit
#	held		live while an old snapshot is kept, also with prepared transactions
#			and with 70 submits in a transaction; beside: without
#	coordinators	two and four of them; beside: one
#	slow		5,000 calls in flight that take 1 s
#	flood		4,000 messages to a service with ten workers; beside: the best
#			fixed limit
#	idle		what a coordinator costs that has nothing to do
#	views		what operators ask, with 1,000,000 kept transactions (DTM_BENCH_KEPT)
#	flat		live and drain with millions of rows; beside: without
#
# Absolute figures depend on the machine, ratios less so.  Fails if a branch
# was called twice, or if a call recorded another response than the participant
# sent.
. "$(dirname "$0")/../scripts/common.sh"

json=$PWD/dtm-bench.json
if [ "${1:-}" = compare ]; then
	exec /usr/bin/python3 "$TOP/bench/bench.py" "$@"
fi
if [ "${1:-}" = -o ]; then
	json=$(realpath "$2")
	shift 2
fi
seconds=10
case "${1:-}" in
	[0-9]*)
		seconds=$1
		shift ;;
esac

install build-essential "postgresql-$PG_MAJOR" "postgresql-server-dev-$PG_MAJOR" \
	libcurl4-openssl-dev libpq-dev libnghttp2-dev libssl-dev ca-certificates python3-psycopg2 procps util-linux
make_scratch
say "building dtm for PostgreSQL $PG_MAJOR"
build
tools=$SCRATCH/tools
as_user mkdir -p "$tools"
as_user cc -O2 -D_GNU_SOURCE -o "$tools/participant" "$SCRATCH/dtm/bench/participant.c"
# shellcheck disable=SC2046
as_user cc -O2 -D_GNU_SOURCE $(curl-config --cflags) -I"$("$PG_CONFIG" --includedir)" \
	-o "$tools/client" "$SCRATCH/dtm/bench/client.c" $(curl-config --libs) -lpq
as_user cc -O2 -D_GNU_SOURCE -o "$tools/load" "$SCRATCH/dtm/bench/load.c"
as_user make -s -C "$SCRATCH/dtm/gateway" PG_CONFIG="$PG_CONFIG"
as_user cp "$SCRATCH/dtm/gateway/dtm-gateway" "$tools/"
# everything is as installed, but for what a checkpoint would add by chance
start_cluster bench "shared_preload_libraries = 'dtm'" "shared_buffers = 1GB" \
	"max_wal_size = 16GB" "checkpoint_timeout = 1h" "max_worker_processes = 16" "max_connections = 1100" "max_prepared_transactions = 20" \
	"dtm.max_requests_per_host = 100" "dtm.retention = 0" "log_min_messages = warning"
as_user "$PG_BIN/psql" -h "$SCRATCH" -U postgres -X -q -c "CREATE EXTENSION dtm"
as_user /usr/bin/python3 "$SCRATCH/dtm/bench/bench.py" run "$tools" "$PG_BIN" \
	"host=$SCRATCH user=postgres dbname=postgres" "$SCRATCH/bench" "$seconds" \
	"$SCRATCH/dtm-bench.json" "$@"
cp "$SCRATCH/dtm-bench.json" "$json"
echo "figures: $json"
