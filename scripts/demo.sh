#!/usr/bin/env bash
# Demonstrates dtm: installs missing packages, builds, starts a temporary
# cluster and two small banks, and makes three transfers between them.  The
# first succeeds, the second is rejected and undone, and in the third a bank is
# down for a while.  Stops everything that it started.
. "$(dirname "$0")/common.sh"

install build-essential "postgresql-$PG_MAJOR" "postgresql-server-dev-$PG_MAJOR" \
	libcurl4-openssl-dev ca-certificates python3 python3-psycopg2 procps util-linux
make_scratch

say "building dtm for PostgreSQL $PG_MAJOR"
build

say "starting a throw-away cluster, with shared_preload_libraries = 'dtm'"
start_cluster demo "shared_preload_libraries = 'dtm'" "dtm.retry_interval = '500ms'"

psql() { as_user "$PG_BIN/psql" -h "$SCRATCH" -U postgres -X -q -v ON_ERROR_STOP=1 "$@"; }

free_port() {
	/usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# The shop submits; the banks keep accounts, and use the barrier, in another database.
psql -d postgres -c "CREATE DATABASE shop" -c "CREATE DATABASE bank"
psql -d shop -c "CREATE EXTENSION dtm" -c "CREATE TABLE orders (id int PRIMARY KEY, state text)"
psql -d bank -c "CREATE EXTENSION dtm" \
	-c "CREATE TABLE account (name text PRIMARY KEY, balance int CHECK (balance >= 0), open boolean DEFAULT true)" \
	-c "INSERT INTO account VALUES ('alice', 100), ('bob', 100)"

# The server does not need the banks' ports before they are called.
PORT_A=$(free_port)
PORT_B=$(free_port)
BANK=()
# start_bank PORT OWNER: its process is BANK[PORT]
start_bank() {
	as_user /usr/bin/python3 "$SCRATCH/dtm/scripts/demo/bank.py" "$1" \
		"host=$SCRATCH user=postgres dbname=bank" "$2" >/dev/null 2>&1 &
	BANK[$1]=$!
	for _ in $(seq 100); do
		(: >"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return
		sleep 0.1
	done
	echo "the bank of $2 did not start" >&2
	exit 1
}
stop_bank() {
	end_tree "${BANK[$1]}"
}
start_bank "$PORT_A" alice
start_bank "$PORT_B" bob

# transfer ORDER AMOUNT: in one transaction with the shop's own data
transfer() {
	psql -d shop -v order="$1" -v amount="$2" -v a="http://127.0.0.1:$PORT_A" -v b="http://127.0.0.1:$PORT_B" <<'SQL'
BEGIN;
INSERT INTO orders VALUES (:order, 'paid');
SELECT dtm_submit('saga', ARRAY[
  dtm_step(:'a' || '/TransOut', :'a' || '/TransOutCompensate', jsonb_build_object('amount', :amount)),
  dtm_step(:'b' || '/TransIn',  :'b' || '/TransInCompensate',  jsonb_build_object('amount', :amount))],
  gid => 'order-' || :'order') AS submitted;
COMMIT;
SQL
}

show() {
	psql -d shop -c "SELECT gid, status, rollback_reason FROM dtm.transactions WHERE gid = 'order-$1'" \
		-c "SELECT branch_id, op, result, http_status, left(error, 60) AS error FROM dtm.calls WHERE gid = 'order-$1' ORDER BY started"
	psql -d bank -c "SELECT name, balance, (SELECT sum(balance) FROM account) AS sum FROM account ORDER BY name"
}

say "1. a transfer of 30 from alice to bob that succeeds"
transfer 1 30
psql -d shop -c "SELECT dtm_wait('order-1')"
show 1

say "2. bob's account is closed: his bank refuses, alice gets her 30 back"
psql -d bank -c "UPDATE account SET open = false WHERE name = 'bob'"
transfer 2 30
psql -d shop -c "SELECT dtm_wait('order-2')"
show 2
psql -d bank -c "UPDATE account SET open = true WHERE name = 'bob'"

say "3. bob's bank is down for a while"
stop_bank "$PORT_B"
transfer 3 30
for _ in $(seq 600); do
	[ "$(psql -d shop -At -c "SELECT failures FROM dtm.transactions WHERE gid = 'order-3'")" = 2 ] && break
	sleep 0.1
done
psql -d shop -c "SELECT gid, status, failures, next_attempt > now() AS \"tries again\" FROM dtm.transactions WHERE gid = 'order-3'"
echo "... and comes back"
start_bank "$PORT_B" bob
psql -d shop -c "SELECT dtm_wait('order-3')"
show 3

sum=$(psql -d bank -At -c "SELECT sum(balance) FROM account")
result=$(psql -d shop -At -c "SELECT string_agg(dtm_status('order-' || n), ' ' ORDER BY n) FROM generate_series(1, 3) n")
say "orders: $result; the sum of the balances is $sum, as it was"
[ "$sum" = 200 ] && [ "$result" = "succeed failed succeed" ]
