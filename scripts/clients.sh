#!/usr/bin/env bash
# The helpers for participants in clients/: installs what is missing, builds, starts
# a cluster with the extension, and runs the tests of each language with the
# libraries that it pins.  Ends with one line: N passed, N failed.
#
#	scripts/clients.sh [python] [node] [go] [java]	(default: all)
#
# CLIENTS_CACHE=folder keeps the downloads for the next run; the ordinary user must be
# able to write there.
. "$(dirname "$0")/common.sh"

set -o pipefail
languages=${*:-python node go java}
passed=0
failed=0

for language in $languages; do
	case $language in
	python | node | go | java) ;;
	*)
		echo "there are no helpers for \"$language\": use python, node, go or java" >&2
		exit 1 ;;
	esac
done
packages=(build-essential "postgresql-$PG_MAJOR" "postgresql-server-dev-$PG_MAJOR"
	libcurl4-openssl-dev ca-certificates procps util-linux python3)
case " $languages " in *" python "*)
	packages+=(python3-venv) ;;
esac
case " $languages " in *" node "*)
	command -v npm >/dev/null || packages+=(nodejs npm) ;;
esac
case " $languages " in *" go "*)
	command -v go >/dev/null || packages+=(golang-go) ;;
esac
case " $languages " in *" java "*)
	command -v javac >/dev/null || packages+=(default-jdk-headless)
	command -v mvn >/dev/null || packages+=(maven) ;;
esac
install "${packages[@]}"
make_scratch
CACHE=${CLIENTS_CACHE:-$SCRATCH/cache}
[ -d "$CACHE" ] || as_user mkdir "$CACHE"

psql() { as_user PGOPTIONS="-c client_min_messages=warning" "$PG_BIN/psql" -h "$SCRATCH" -U postgres -X -q -v ON_ERROR_STOP=1 "$@"; }

# fresh_databases: of the shop, which coordinates, and of a bank with each barrier
fresh_databases() {
	local database

	for database in shop bank_extension bank_participant; do
		psql -d postgres -c "DROP DATABASE IF EXISTS $database WITH (FORCE)" -c "CREATE DATABASE $database"
	done
	psql -d shop -f "$SCRATCH/dtm/clients/test/shop.sql"
	psql -d bank_extension -c "CREATE EXTENSION dtm" -f "$SCRATCH/dtm/clients/test/bank.sql"
	psql -d bank_participant -1 -f "$SCRATCH/dtm/sql/participant.sql" -f "$SCRATCH/dtm/clients/test/bank.sql"
}

# numbers FILE: of tests that passed and failed, as pytest, node, go and Maven say
numbers() {
	perl -ne '
		$good = $1 if /\b(\d+) passed.* in [\d.]+s/ || /^# pass (\d+)$/;
		$bad = $1 if /\b(\d+) failed.* in [\d.]+s/ || /^# fail (\d+)$/;
		$good++ if /^ *--- PASS: /;
		$bad++ if /^ *--- FAIL: /;
		($bad, $good) = ($2 + $3, $1 - $2 - $3 - $4)
			if /Tests run: (\d+), Failures: (\d+), Errors: (\d+), Skipped: (\d+)$/;
		END { printf "%d %d\n", $good // 0, $bad // 0 }' "$1"
}

# tests NAME COMMAND...: the tests of a language, in databases of their own
tests() {
	local name=$1 out=$SCRATCH/$1.out status=0 good bad

	shift
	say "$name"
	fresh_databases
	as_user CLIENTS_HOST="$SCRATCH" CLIENTS_SHOP="host=$SCRATCH user=postgres dbname=shop" \
		timeout 600 "$@" 2>&1 | tee "$out" || status=1
	read -r good bad <<<"$(numbers "$out")"
	# what fails without a test that failed has failed all the same
	[ $status = 0 ] || [ "$bad" != 0 ] || bad=1
	passed=$((passed + good))
	failed=$((failed + bad))
}

# check_keys FILE...: have they every option of steps and of transactions?  What only the
# object of the SDKs needs (wait_result) is left out.
check_keys() {
	local key

	for key in $(sed -nE 's/^\t\{"([a-z_]+)", (STEP_|read_).*/\1/p; s/.*strcmp\(key, "([a-z_]+)"\) == 0.*/\1/p' \
		"$SCRATCH/dtm/src/step/keys.c" "$SCRATCH/dtm/src/request/options.c" | grep -vx wait_result) traceparent; do
		grep -qwh "$key" "$@" || { echo "$* does not have \"$key\"" >&2; failed=$((failed + 1)); }
	done
}

python_tests() {
	local folder=$SCRATCH/dtm/clients/python venv=$SCRATCH/venv

	as_user /usr/bin/python3 -m venv "$venv"
	as_user PIP_CACHE_DIR="$CACHE/pip" "$venv/bin/pip" install -q --disable-pip-version-check \
		-r "$folder/tests/requirements.txt"
	as_user PIP_CACHE_DIR="$CACHE/pip" "$venv/bin/pip" install -q --disable-pip-version-check --no-deps "$folder"
	say "types of clients/python"
	as_user env -C "$folder" "$venv/bin/mypy" --cache-dir="$SCRATCH/mypy" dtm_pg || failed=$((failed + 1))
	# as a user who writes no types would
	as_user env -C "$folder" "$venv/bin/mypy" --cache-dir="$SCRATCH/mypy" --check-untyped-defs \
		--allow-untyped-defs --allow-untyped-calls --allow-subclassing-any \
		--disable-error-code=var-annotated examples || failed=$((failed + 1))
	tests python env -C "$folder" PYTHONDONTWRITEBYTECODE=1 "$venv/bin/python" -m pytest -q -p no:cacheprovider tests
}

node_tests() {
	local folder=$SCRATCH/dtm/clients/node service=$SCRATCH/service

	if ! as_user node -e 'process.exit(process.versions.node.split(".")[0] < 20 ? 1 : 0)'; then
		echo "node is older than version 20, which fastify needs" >&2
		failed=$((failed + 1))
		return
	fi

	# as the README says, in the folder of a service, which then has all that the examples need
	as_user mkdir "$service"
	as_user env -C "$service" npm init --yes >/dev/null
	awk '/^```sh$/ { inside = 1; next } inside && /^```$/ { exit } inside' "$folder/README.md" |
		as_user env -C "$service" npm_config_cache="$CACHE/npm" npm_config_loglevel=error npm_config_audit=false \
			npm_config_fund=false npm_config_update_notifier=false sh -e || failed=$((failed + 1))
	as_user sed '/^app\.listen/d' "$folder/examples/bank-express.js" | as_user tee "$service/bank.js" >/dev/null
	as_user env -C "$service" BANK_KEY=0123456789abcdef node bank.js || failed=$((failed + 1))
	as_user env -C "$folder" npm run --silent check || failed=$((failed + 1))
	tests node env -C "$folder" npm test --silent
}

go_tests() {
	local folder=$SCRATCH/dtm/clients/go

	set -- env -C "$folder" GOMODCACHE="$CACHE/mod" GOCACHE="$CACHE/build" GOTOOLCHAIN=local GOFLAGS="-modcacherw -buildvcs=false"
	as_user "$@" go vet ./... || failed=$((failed + 1))
	tests go "$@" go test -count=1 -v ./...
}

java_tests() {
	local folder=$SCRATCH/dtm/clients/java

	tests java env -C "$folder" mvn -B -ntp -Dstyle.color=never -Dmaven.repo.local="$CACHE/m2" \
		-Dsurefire.useFile=false install
}

say "building for PostgreSQL $PG_MAJOR"
build
# Java's driver has no sockets of Unix
PGPORT=$(/usr/bin/python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
export PGPORT
start_cluster clients "port = $PGPORT" "listen_addresses = '127.0.0.1'" "shared_preload_libraries = 'dtm'" "max_connections = 100" \
	"dtm.retry_interval = 100ms" "dtm.request_timeout = 20s" "log_min_messages = error"

check_keys "$SCRATCH/dtm/clients/python/dtm_pg/submit.py"
check_keys "$SCRATCH/dtm/clients/node/src/submit.ts"
check_keys "$SCRATCH/dtm/clients/go/submit.go"
check_keys "$SCRATCH"/dtm/clients/java/src/main/java/dtmpg/{Step,Options}.java
for language in $languages; do
	"${language}_tests"
done

echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
