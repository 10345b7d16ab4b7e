#!/usr/bin/env bash
# Starts the shop on Debian: installs what is missing, builds dtm and the services, and starts two PostgreSQL servers,
# the three services and the card company, on free ports of 127.0.0.1. Prints the page's address. Ctrl-C ends all of it
# and leaves nothing behind.
#
#	examples/shop/run.sh [--test]
#
# --test drives the page in headless Chromium (test.py), and ends. SHOP_CACHE=folder keeps what was downloaded for the
# next run; the ordinary user must be able to write there.
. "$(dirname "$0")/../../scripts/common.sh"

test=no
[ "${1:-}" != --test ] || test=yes
packages=(build-essential "postgresql-$PG_MAJOR" "postgresql-server-dev-$PG_MAJOR" libcurl4-openssl-dev ca-certificates
	procps util-linux python3 python3-flask python3-psycopg python3-psycopg-pool)
command -v npm >/dev/null || packages+=(nodejs npm)
command -v go >/dev/null || packages+=(golang-go)
[ $test = no ] || packages+=(chromium chromium-driver python3-selenium fonts-dejavu-core)
install "${packages[@]}"
make_scratch
CACHE=${SHOP_CACHE:-$SCRATCH/cache}
[ -d "$CACHE" ] || as_user mkdir "$CACHE"
SHOP=$SCRATCH/dtm/examples/shop

say "building dtm for PostgreSQL $PG_MAJOR"
build

say "building the services"
as_user env -C "$SCRATCH/dtm/clients/node" npm ci --loglevel=error --ignore-scripts --no-audit --no-fund --cache "$CACHE/npm"
as_user env -C "$SCRATCH/dtm/clients/node" npm run --silent build
as_user env -C "$SHOP/order" npm ci --loglevel=error --ignore-scripts --no-audit --no-fund --cache "$CACHE/npm"
as_user env -C "$SHOP/stock" GOMODCACHE="$CACHE/mod" GOCACHE="$CACHE/build" GOFLAGS="-modcacherw -buildvcs=false" \
	go build -o stock .

say "starting two PostgreSQL servers"
read -r pg_orders pg_others port_order port_payment port_stock port_cards <<<"$(/usr/bin/python3 -c '
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(6)]
print(*(s.getsockname()[1] for s in sockets))')"
# that of the orders has the coordinator; short times, so that one need not wait long to see a retry
start_cluster orders "port = $pg_orders" "shared_preload_libraries = 'dtm'" \
	"dtm.retry_interval = '500ms'" "dtm.retry_interval_max = '2s'" "dtm.request_timeout = '2s'" "log_min_messages = error"
# that of the services has nothing of dtm but the barrier in PL/pgSQL; XA needs prepared transactions
start_cluster others "port = $pg_others" "max_prepared_transactions = 20" "log_min_messages = error"

dsn() { echo "postgresql://$1@/$2?host=${SCRATCH//\//%2F}&port=$3"; }
psql() { as_user PGOPTIONS="-c client_min_messages=warning" "$PG_BIN/psql" -X -q -v ON_ERROR_STOP=1 "$@"; }

KEY=$(od -An -tx1 -N16 /dev/urandom | tr -d ' \n')
psql -d "$(dsn postgres postgres "$pg_orders")" -c "CREATE DATABASE orders"
psql -d "$(dsn postgres orders "$pg_orders")" -v key="$KEY" -v stock="http://127.0.0.1:$port_stock" \
	-v payment="http://127.0.0.1:$port_payment" -v cards="http://127.0.0.1:$port_cards" -f "$SHOP/order/schema.sql"
for database in payment stock; do
	psql -d "$(dsn postgres postgres "$pg_others")" -c "CREATE DATABASE $database"
	psql -d "$(dsn postgres $database "$pg_others")" -1 -f "$SCRATCH/dtm/sql/participant.sql" -f "$SHOP/$database/schema.sql"
done

# service NAME PORT DATABASE COMMAND...: starts it, and starts it again when it has ended, unless there is a file NAME.off
service() {
	local name=$1 port=$2 database=$3

	shift 3
	# shellcheck disable=SC2016
	as_user PORT="$port" DSN="$database" KEY="$KEY" PYTHONPATH="$SCRATCH/dtm/clients/python" PYTHONDONTWRITEBYTECODE=1 \
		STOCK_URL="http://127.0.0.1:$port_stock" PAYMENT_URL="http://127.0.0.1:$port_payment" \
		CARDS_URL="http://127.0.0.1:$port_cards" DEMO_FOLDER="$SCRATCH" \
		STOCK_ADMIN_DSN="$(dsn postgres stock "$pg_others")" PAYMENT_ADMIN_DSN="$(dsn postgres payment "$pg_others")" \
		bash -c '
			name=$1
			shift
			while :; do
				if [ ! -e "$name.off" ]; then
					"$@" &
					echo $! >"$name.pid"
					wait $! || true
				fi
				sleep 0.2
			done' service "$SCRATCH/$name" "$@" >>"$SCRATCH/$name.log" 2>&1 &
	disown # this shell says nothing of its end
	for _ in $(seq 300); do
		(: >"/dev/tcp/127.0.0.1/$port") 2>/dev/null && return
		sleep 0.1
	done
	tail "$SCRATCH/$name.log" >&2
	echo "$name did not start" >&2
	exit 1
}

say "starting the services"
service cards "$port_cards" "" /usr/bin/python3 "$SHOP/cards/cards.py"
service stock "$port_stock" "$(dsn stock stock "$pg_others")" "$SHOP/stock/stock"
service payment "$port_payment" "$(dsn payment payment "$pg_others")" /usr/bin/python3 "$SHOP/payment/payment.py"
service order "$port_order" "$(dsn shop orders "$pg_orders")" node "$SHOP/order/server.js"

if [ $test = yes ]; then
	say "driving the page"
	as_user PYTHONDONTWRITEBYTECODE=1 SHOP_PICTURES="${SHOP_PICTURES:-}" SHOP_ORDERS="$(dsn postgres orders "$pg_orders")" \
		SHOP_PAYMENT="$(dsn postgres payment "$pg_others")" SHOP_STOCK="$(dsn postgres stock "$pg_others")" \
		/usr/bin/python3 "$SHOP/test.py" "http://127.0.0.1:$port_order"
	exit
fi
say "the shop is open: http://127.0.0.1:$port_order"
echo "psql for the coordinator: $PG_BIN/psql '$(dsn shop orders "$pg_orders")'"
echo "logs of the services: $SCRATCH/*.log"
echo "Ctrl-C ends all of it."
sleep infinity &
wait
