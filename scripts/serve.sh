#!/usr/bin/env bash
# A dtm server in one command, for whoever has no PostgreSQL at hand: installs what
# is missing, builds, starts a cluster with the extension and the gateway, and prints
# the addresses.  Ctrl-C ends it.
#
#	scripts/serve.sh [--keep FOLDER] [OPTION of dtm-gateway]...
#
# Without --keep, the cluster goes away at the end; with it, it is in FOLDER, and
# there again the next time.  PG_MAJOR chooses the version of PostgreSQL.
. "$(dirname "$0")/common.sh"

keep=
if [ "${1:-}" = --keep ]; then
	[ $# -ge 2 ] || { echo "--keep needs a folder" >&2; exit 2; }
	keep=$2
	shift 2
fi

install build-essential "postgresql-$PG_MAJOR" "postgresql-server-dev-$PG_MAJOR" libcurl4-openssl-dev \
	ca-certificates libpq-dev libnghttp2-dev libssl-dev procps util-linux
make_scratch

say "building dtm and its gateway for PostgreSQL $PG_MAJOR"
build
as_user make -s -j"$(nproc)" -C "$SCRATCH/dtm/gateway" PG_CONFIG="$PG_CONFIG"

data=$SCRATCH/data
if [ -n "$keep" ]; then
	mkdir -p "$keep"
	keep=$(cd "$keep" && pwd)
	data=$keep/data
	[ "$(id -u)" != 0 ] || chown dtm-scratch "$keep"
fi
stop() {
	as_user "$PG_BIN/pg_ctl" -D "$data" -m fast -w stop >/dev/null 2>&1 || true
}
trap 'status=$?; stop; set +e; (exit $status); clean_up' EXIT

say "starting a cluster in $data"
if [ ! -e "$data/PG_VERSION" ]; then
	as_user "$PG_BIN/initdb" -D "$data" -A trust -U postgres --encoding=UTF8 --locale=C >/dev/null
	printf '%s\n' "shared_preload_libraries = 'dtm'" "listen_addresses = ''" "max_connections = 100" |
		as_user tee -a "$data/postgresql.conf" >/dev/null
fi
as_user "$PG_BIN/pg_ctl" -D "$data" -l "$SCRATCH/postgresql.log" -o "-k $SCRATCH" -w start >/dev/null || {
	cat "$SCRATCH/postgresql.log" >&2
	exit 1
}
# topics are for anybody here, as they are with dtm
as_user "$PG_BIN/psql" -h "$SCRATCH" -U postgres -X -q -v ON_ERROR_STOP=1 -d postgres >/dev/null <<'SQL'
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS dtm;
ALTER ROLE dtm_gateway LOGIN;
GRANT EXECUTE ON FUNCTION dtm_subscribe(text, text, text), dtm_unsubscribe(text, text), dtm_delete_topic(text),
  dtm_reset_cron_time(interval, integer) TO dtm_api;
SQL

case " $* " in
*" --listen"*) say "a dtm server, at the addresses below" ;;
*)
	say "a dtm server: http://localhost:36789/api/dtmsvr and, for gRPC, localhost:36790"
	case " $* " in *" --page"*) ;; *)
		set -- --page 127.0.0.1:36788 "$@"
		echo "its page for operators: http://localhost:36788/"
	esac ;;
esac
echo "its database: psql -h $SCRATCH -U postgres postgres"
echo "Ctrl-C ends it."
# its own id, not that of what starts it as another user, is what is to be stopped
as_user sh -c 'echo $$ >"$0"; exec "$@"' "$SCRATCH/gateway.pid" \
	"$SCRATCH/dtm/gateway/dtm-gateway" --conninfo "host=$SCRATCH user=dtm_gateway dbname=postgres" "$@" &
starter=$!
trap 'kill -TERM "$(cat "$SCRATCH/gateway.pid")" 2>/dev/null || true' INT TERM
# a signal ends the wait, not what is waited for; that may also have ended already
status=0
wait $starter || status=$?
while [ $status -gt 128 ] && kill -0 $starter 2>/dev/null; do
	status=0
	wait $starter || status=$?
done
exit $status
