# Tiers of tests on throw-away clusters, and the summary of their results.  Source it after
# common.sh.

set -o pipefail
passed=0
failed=0
broken=0

# What the tiers unit, regress and tap need
TIER_PACKAGES=(build-essential "postgresql-$PG_MAJOR" "postgresql-server-dev-$PG_MAJOR"
	libcurl4-openssl-dev ca-certificates libcmocka-dev libipc-run-perl python3-aiohttp
	python3-grpcio python3-psycopg2 openssl nodejs procps util-linux
	libpq-dev libnghttp2-dev libssl-dev curl)

# install_tap_packages: those that not every distribution has
install_tap_packages() {
	install_if_packaged "postgresql-$PG_MAJOR-cron" || echo "t/009_cron.pl is skipped"
	# not installed here: its package would start a service
	[ -x /usr/sbin/pgbouncer ] || echo "t/056_pooler.pl is skipped: pgbouncer is not installed"
}

# run NAME COMMAND...: a tier; its output is shown, and kept for counting
run() {
	local name=$1

	shift
	say "$name"
	if "$@" 2>&1 | tee "$SCRATCH/$name.out"; then
		return 0
	fi
	# a tier that fails without a test that failed has failed all the same
	broken=1
}

# count NAME PASSED-PATTERN FAILED-PATTERN: the tests of a tier that has run
count() {
	passed=$((passed + $(grep -cE "$2" "$SCRATCH/$1.out" || true)))
	failed=$((failed + $(grep -cE "$3" "$SCRATCH/$1.out" || true)))
}

# The same, of tests that print TAP, and of pg_regress
count_tap() { count "$1" '^ok ' '^not ok '; }
count_regress() { count "$1" '^(test .*\bok\b|ok )' '^(test .*\bFAILED\b|not ok )'; }

# The last line; whether all tests have passed
summary() {
	[ $broken = 0 ] || [ $failed -gt 0 ] || failed=1
	printf '\n%d passed, %d failed\n' "$passed" "$failed"
	[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
}

# installcheck [make arguments]: against the cluster that runs in SCRATCH
installcheck() {
	as_user make -s -C "$SCRATCH/dtm" PG_CONFIG="$PG_CONFIG" TAP_TESTS= \
		PGHOST="$SCRATCH" PGUSER=postgres installcheck "$@"
}

# The barrier's tests with sql/participant.sql, against the same
installcheck_participant() {
	as_user make -s -C "$SCRATCH/dtm" PG_CONFIG="$PG_CONFIG" PGHOST="$SCRATCH" PGUSER=postgres \
		installcheck-participant
}

show_differences() {
	cat "$SCRATCH"/dtm/regression.diffs "$SCRATCH"/dtm/output_iso/regression.diffs \
		"$SCRATCH"/dtm/output_participant/regression.diffs 2>/dev/null || true
}

# tap t/FILE...: two at a time, since tests wait more than they compute
tap() {
	local pgxs modules status=0 tests=("$@") first=() second=() other i

	pgxs=$(dirname "$("$PG_CONFIG" --pgxs)")/../..
	# a server that is no package may lack them; those of other versions do, too
	for modules in "$pgxs/src/test/perl" /usr/lib/postgresql/*/lib/pgxs/src/test/perl; do
		[ ! -e "$modules/PostgreSQL/Test/Cluster.pm" ] || break
	done
	as_root make -s -C "$SCRATCH/dtm" PG_CONFIG="$PG_CONFIG" install-upgrade-test
	cd "$SCRATCH/dtm"
	as_user make -s -j"$(nproc)" -C gateway PG_CONFIG="$PG_CONFIG" WERROR=1 all sanitized || return 1
	for i in "${!tests[@]}"; do
		if ((i % 2)); then second+=("${tests[i]}"); else first+=("${tests[i]}"); fi
	done
	# the output of the second half comes at the end
	if [ ${#second[@]} -gt 0 ]; then
		tap_files "$pgxs" "$modules" "${second[@]}" >"$SCRATCH/tap.second" 2>&1 &
		other=$!
	fi
	tap_files "$pgxs" "$modules" "${first[@]}" || status=$?
	if [ ${#second[@]} -gt 0 ]; then
		wait $other || status=$?
		cat "$SCRATCH/tap.second"
	fi
	[ $status = 0 ] || show_failures
	return $status
}

# What the logs of a failed run tell; the error of a file that ended early is nowhere else.
show_failures() {
	local log

	grep -hE 'PANIC|TRAP|FATAL|ERROR' tmp_check/log/*.log | tail -40 || true
	for log in tmp_check/log/regress_log_*; do
		! grep -q 'Looks like your test exited with' "$log" || { echo "== $log ends"; tail -n 20 "$log"; }
	done
}

# tap_files PGXS MODULES t/FILE...
tap_files() {
	local pgxs=$1 modules=$2

	shift 2
	as_user PATH="$PG_BIN:$PATH" PERL5LIB="$modules" \
		PG_REGRESS="$pgxs/src/test/regress/pg_regress" \
		PG_TEST_TIMEOUT_DEFAULT=180 \
		TESTDIR="$SCRATCH/dtm" TESTDATADIR="$SCRATCH/dtm/tmp_check" \
		TESTLOGDIR="$SCRATCH/dtm/tmp_check/log" \
		prove -v "$@"
}
