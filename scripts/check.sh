#!/usr/bin/env bash
# Installs missing packages, builds with assertions and with warnings as
# errors, and runs the test tiers.  The last line is: N passed, N failed.
#
#	scripts/check.sh [lint] [unit] [fuzz] [regress] [tap] [torture]	(default: all)
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/tiers.sh"

tiers=${*:-lint unit fuzz regress tap torture}

packages=("${TIER_PACKAGES[@]}")
case " $tiers " in *" lint "* | *" fuzz "*)
	packages+=(cppcheck clang-tidy-14 clang-14 libclang-rt-14-dev) ;;
esac
install "${packages[@]}"
case " $tiers " in *" tap "*) install_tap_packages ;; esac
make_scratch

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
	if grep -nE '\b(p[k]ill|kill[a]ll)\b' -r scripts test t bench clients examples packaging gateway; then
		echo "not ok - processes are ended by their ids"
		status=1
	else
		echo "ok - processes are ended by their ids"
	fi
	perl scripts/layers.pl || status=1
	perl scripts/lint_spec.pl || status=1
	perl scripts/lint_messages.pl || status=1
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

regress() {
	local status=0

	# what a stock server can not show is left out there, and nothing fails
	start_cluster stock
	installcheck REGRESS=orphans ISOLATION= || status=$?
	as_user "$PG_BIN/pg_ctl" -D "$SCRATCH/stock" -m fast -w stop >/dev/null
	start_cluster plain "max_prepared_transactions = 10"
	installcheck || status=$?
	installcheck_participant || status=$?
	[ $status = 0 ] || show_differences
	as_user "$PG_BIN/pg_ctl" -D "$SCRATCH/plain" -m fast -w stop >/dev/null
	return $status
}

# A short form of scripts/torture.sh, of another seed each time.
torture() {
	run_torture 30 $((RANDOM * 32768 + RANDOM))
}

say "building for PostgreSQL $PG_MAJOR"
build WERROR=1 CASSERT=1

case " $tiers " in *" lint "*)
	run lint lint
	count_tap lint ;;
esac
case " $tiers " in *" unit "*)
	run unit unit
	count unit '^\[       OK \]' '^\[  FAILED  \] .*[^)]$' ;;
esac
case " $tiers " in *" fuzz "*)
	run fuzz fuzz
	count_tap fuzz ;;
esac
case " $tiers " in *" regress "*)
	run regress regress
	count_regress regress ;;
esac
case " $tiers " in *" tap "*)
	run tap tap $(cd "$TOP" && echo t/*.pl)
	count_tap tap ;;
esac
case " $tiers " in *" torture "*)
	run torture torture
	count_tap torture ;;
esac
summary
