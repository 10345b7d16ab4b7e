#!/usr/bin/env bash
# Installs missing packages, builds with assertions and with warnings as
# errors, and runs the test tiers.  The last line is: N passed, N failed.
#
#	scripts/check.sh [lint] [unit] [fuzz] [regress] [tap] [torture]	(default: all)
. "$(dirname "$0")/common.sh"

set -o pipefail
tiers=${*:-lint unit fuzz regress tap torture}
passed=0
failed=0

packages=(build-essential "postgresql-$PG_MAJOR" "postgresql-server-dev-$PG_MAJOR"
	libcurl4-openssl-dev ca-certificates libcmocka-dev libipc-run-perl python3-aiohttp
	python3-grpcio python3-psycopg2 openssl nodejs procps util-linux
	libpq-dev libnghttp2-dev libssl-dev curl)
case " $tiers " in *" lint "* | *" fuzz "*)
	packages+=(cppcheck clang-tidy-14 clang-14 libclang-rt-14-dev) ;;
esac
install "${packages[@]}"
case " $tiers " in *" tap "*)
	install_if_packaged "postgresql-$PG_MAJOR-cron" || echo "t/009_cron.pl is skipped"
	# not installed here: its package would start a service
	[ -x /usr/sbin/pgbouncer ] || echo "t/056_pooler.pl is skipped: pgbouncer is not installed" ;;
esac
make_scratch

# count LOG PASSED-PATTERN FAILED-PATTERN
count() {
	passed=$((passed + $(grep -cE "$2" "$1" || true)))
	failed=$((failed + $(grep -cE "$3" "$1" || true)))
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

# The symbols that the library exports: what PostgreSQL looks up by name, and no more.
exports() {
	local wanted exported

	wanted=$({
		printf '%s\n' Pg_magic_func _PG_init
		grep -hoE '^extern PGDLLEXPORT void dtm_\w+_main' src/*/*.h | grep -oE '\w+$'
		sed -nE 's/^PG_FUNCTION_INFO_V1\((\w+)\);/\1 pg_finfo_\1/p' src/*/*.c | tr ' ' '\n'
	} | sort)
	exported=$(nm -D --defined-only dtm.so | awk '{ print $3 }' | sort)
	if [ "$wanted" = "$exported" ]; then
		echo "ok - exported symbols"
	else
		diff <(echo "$wanted") <(echo "$exported")
		echo "not ok - exported symbols"
		return 1
	fi
}

# Another compiler, out of the tree, with an empty element in LIBRARY_PATH, for which
# gcc looks for its files in the current directory.
other_builds() {
	local status=0 compiler

	# make would take what is built in the tree for its own
	as_user mkdir "$SCRATCH/unbuilt"
	tar -cf - -C "$SCRATCH/dtm" --exclude='*.o' --exclude='*.bc' --exclude='*.so' . |
		as_user tar -xf - -C "$SCRATCH/unbuilt"
	for compiler in clang-14 gcc; do
		as_user mkdir -p "$SCRATCH/build-$compiler"
		if as_user LIBRARY_PATH=: make -s -j"$(nproc)" -C "$SCRATCH/build-$compiler" -f "$SCRATCH/unbuilt/Makefile" \
			PG_CONFIG="$PG_CONFIG" CC="$compiler" with_llvm=no >"$SCRATCH/build-$compiler.log" 2>&1; then
			echo "ok - out of the tree, $compiler"
		else
			cat "$SCRATCH/build-$compiler.log"
			echo "not ok - out of the tree, $compiler"
			status=1
		fi
	done
	return $status
}

# What a compiler does not say; of each folder of the sources.
lint() {
	local folder status=0

	cd "$SCRATCH/dtm"
	exports || status=1
	other_builds || status=1
	if grep -nE '\b(p[k]ill|kill[a]ll)\b' -r scripts test t bench; then
		echo "not ok - processes are ended by their ids"
		status=1
	else
		echo "ok - processes are ended by their ids"
	fi
	perl scripts/layers.pl || status=1
	perl scripts/lint_spec.pl || status=1
	perl scripts/indent.pl --check || status=1
	INCLUDES=$("$PG_CONFIG" --includedir-server)
	export INCLUDES
	for folder in src src/*/ test/unit bench gateway gateway/*/; do
		ls "$folder"/*.c >/dev/null 2>&1 || continue
		if as_user cppcheck --quiet --std=c99 --enable=warning,performance,portability \
			--suppress=missingInclude --suppress=unknownMacro --error-exitcode=1 -I src -I gateway \
			"$folder"/*.c; then
			echo "ok - cppcheck ${folder%/}"
		else
			echo "not ok - cppcheck ${folder%/}"
			status=1
		fi
	done
	if ls src/*.c src/*/*.c gateway/*.c | xargs -P "$(nproc)" -n 8 sh -c 'clang-tidy-14 --quiet "$@" -- \
			-std=gnu11 -D_GNU_SOURCE -DDTM_VERSION=\"0\" -Isrc -Igateway -I"$INCLUDES" -I"${INCLUDES%/*/server}" -Wno-ignored-attributes 2>/dev/null' sh; then
		echo "ok - clang-tidy"
	else
		echo "not ok - clang-tidy"
		status=1
	fi
	return $status
}

unit() {
	as_user make -s -C "$SCRATCH/dtm" PG_CONFIG="$PG_CONFIG" unit
	as_user make -s -j"$(nproc)" -C "$SCRATCH/dtm/gateway" PG_CONFIG="$PG_CONFIG" WERROR=1 check
}

# Some seconds of scripts/fuzz.sh.
fuzz() {
	run_fuzz 3
}

# installcheck [make arguments]: against the cluster that runs in SCRATCH
installcheck() {
	as_user make -s -C "$SCRATCH/dtm" PG_CONFIG="$PG_CONFIG" TAP_TESTS= \
		PGHOST="$SCRATCH" PGUSER=postgres installcheck "$@"
}

regress() {
	local status=0

	# what a stock server can not show is left out there, and nothing fails
	start_cluster stock
	installcheck REGRESS=orphans ISOLATION= || status=$?
	as_user "$PG_BIN/pg_ctl" -D "$SCRATCH/stock" -m fast -w stop >/dev/null
	start_cluster plain "max_prepared_transactions = 10"
	installcheck || status=$?
	as_user make -s -C "$SCRATCH/dtm" PG_CONFIG="$PG_CONFIG" PGHOST="$SCRATCH" PGUSER=postgres \
		installcheck-participant || status=$?
	[ $status = 0 ] || cat "$SCRATCH"/dtm/regression.diffs \
		"$SCRATCH"/dtm/output_iso/regression.diffs "$SCRATCH"/dtm/output_participant/regression.diffs 2>/dev/null || true
	as_user "$PG_BIN/pg_ctl" -D "$SCRATCH/plain" -m fast -w stop >/dev/null
	return $status
}

tap() {
	local pgxs modules status=0 tests first=() second=() other i

	pgxs=$(dirname "$("$PG_CONFIG" --pgxs)")/../..
	# a server that is no package may lack them; those of other versions do, too
	for modules in "$pgxs/src/test/perl" /usr/lib/postgresql/*/lib/pgxs/src/test/perl; do
		[ ! -e "$modules/PostgreSQL/Test/Cluster.pm" ] || break
	done
	as_root make -s -C "$SCRATCH/dtm" PG_CONFIG="$PG_CONFIG" install-upgrade-test
	cd "$SCRATCH/dtm"
	as_user make -s -j"$(nproc)" -C gateway PG_CONFIG="$PG_CONFIG" WERROR=1 all sanitized || return 1
	tests=(t/*.pl)
	for i in "${!tests[@]}"; do
		if ((i % 2)); then second+=("${tests[i]}"); else first+=("${tests[i]}"); fi
	done
	# tests wait more than they compute: two at a time; the output of the second half comes at the end
	tap_files "$pgxs" "$modules" "${second[@]}" >"$SCRATCH/tap.second" 2>&1 &
	other=$!
	tap_files "$pgxs" "$modules" "${first[@]}" || status=$?
	wait $other || status=$?
	cat "$SCRATCH/tap.second"
	[ $status = 0 ] || grep -hE 'PANIC|TRAP|FATAL|ERROR' tmp_check/log/*.log | tail -40 || true
	return $status
}

# tap_files PGXS PERL-MODULES FILE...: one after another
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

# A short form of scripts/torture.sh, of another seed each time.
torture() {
	run_torture 30 $((RANDOM * 32768 + RANDOM))
}

broken=0
say "building for PostgreSQL $PG_MAJOR"
build WERROR=1 CASSERT=1

case " $tiers " in *" lint "*)
	run lint lint
	count "$SCRATCH/lint.out" '^ok ' '^not ok ' ;;
esac
case " $tiers " in *" unit "*)
	run unit unit
	count "$SCRATCH/unit.out" '^\[       OK \]' '^\[  FAILED  \] .*[^)]$' ;;
esac
case " $tiers " in *" fuzz "*)
	run fuzz fuzz
	count "$SCRATCH/fuzz.out" '^ok ' '^not ok ' ;;
esac
case " $tiers " in *" regress "*)
	run regress regress
	count "$SCRATCH/regress.out" '^(test .*\bok\b|ok )' '^(test .*\bFAILED\b|not ok )' ;;
esac
case " $tiers " in *" tap "*)
	run tap tap
	count "$SCRATCH/tap.out" '^ok ' '^not ok ' ;;
esac
case " $tiers " in *" torture "*)
	run torture torture
	count "$SCRATCH/torture.out" '^ok ' '^not ok ' ;;
esac

[ $broken = 0 ] || [ $failed -gt 0 ] || failed=1
printf '\n%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
