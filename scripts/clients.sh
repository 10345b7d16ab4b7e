#!/usr/bin/env bash
# The helpers for participants in clients/: installs what is missing, builds, starts
# a cluster with the extension, and runs the tests of each language with the
# libraries that it pins.  Ends with one line: N passed, N failed.
#
#	scripts/clients.sh [python] [node]	(default: all)
#
# CLIENTS_CACHE=folder keeps the downloads for the next run; the ordinary user must be
# able to write there.
. "$(dirname "$0")/common.sh"

set -o pipefail
languages=${*:-python node}
passed=0
failed=0

for language in $languages; do
	case $language in
	python | node) ;;
	*)
		echo "there are no helpers for \"$language\": use python or node" >&2
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

# number FILE WORD TAP-WORD: of tests, as the last lines of pytest and of node say
number() {
	sed -nE "s/^(.*, )?([0-9]+) $2.* in [0-9.]+s.*/\2/p; s/^# $3 ([0-9]+)$/\1/p" "$1" | tail -1
}

# tests NAME COMMAND...: the tests of a language, in databases of their own
tests() {
	local name=$1 out=$SCRATCH/$1.out status=0 good bad

	shift
	say "$name"
	fresh_databases
	as_user CLIENTS_HOST="$SCRATCH" CLIENTS_SHOP="host=$SCRATCH user=postgres dbname=shop" \
		timeout 600 "$@" 2>&1 | tee "$out" || status=1
	bad=$(number "$out" failed fail)
	# what fails without a test that failed has failed all the same
	[ $status = 0 ] || [ "${bad:-0}" != 0 ] || bad=1
	good=$(number "$out" passed pass)
	passed=$((passed + ${good:-0}))
	failed=$((failed + ${bad:-0}))
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
	local folder=$SCRATCH/dtm/clients/node

	if ! as_user node -e 'process.exit(process.versions.node.split(".")[0] < 20 ? 1 : 0)'; then
		echo "node is older than version 20, which fastify needs" >&2
		failed=$((failed + 1))
		return
	fi

	as_user env -C "$folder" npm ci --silent --ignore-scripts --no-audit --no-fund --cache "$CACHE/npm"
	as_user env -C "$folder" npm run --silent build || failed=$((failed + 1))
	as_user env -C "$folder" npm run --silent check || failed=$((failed + 1))
	tests node env -C "$folder" npm test --silent
}

say "building for PostgreSQL $PG_MAJOR"
build
start_cluster clients "shared_preload_libraries = 'dtm'" "max_connections = 100" \
	"dtm.retry_interval = 100ms" "dtm.request_timeout = 20s" "log_min_messages = error"

for language in $languages; do
	case $language in
	python | node) "${language}_tests" ;;
	*) echo "no such language: $language" >&2; exit 2 ;;
	esac
done

echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
