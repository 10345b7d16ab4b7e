#!/usr/bin/env bash
# Tests dtm with Citus: the SQL and isolation tests in a database that has both, the TAP
# tests on servers that preload both, and a cluster of three nodes on loopback (see
# test/citus.py).  Not a tier of check.sh: Debian has no package of Citus, so where the
# server has none, this is skipped.  No test is left out.  The last line is: N passed, N failed.
#
#	scripts/citus.sh [regress] [tap] [nodes] [patroni] [t/FILE...] [SECONDS of torture (default 30) [SEED]]
#
#	scripts/citus.sh bench [ROUNDS (default 5)]
#
# Without names, the four kinds of tests run.  t/FILE is one of the TAP tests.  patroni has two
# nodes with a standby each under Patroni (see test/citus_patroni.py).  bench/citus.py measures
# what a transaction costs there, and fails above its limits.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/tiers.sh"

tiers=
files=
numbers=()
for argument; do
	case $argument in
	regress | tap | nodes | patroni | bench) tiers="$tiers $argument" ;;
	t/*) files="$files $argument" ;;
	*[!0-9]* | '')
		sed -n 's/^#	/usage: /p' "$0" >&2
		exit 2 ;;
	*) numbers+=("$argument") ;;
	esac
done
[ -z "$files" ] || tiers="$tiers tap"
tiers=${tiers:-regress tap nodes patroni}
case $tiers in *bench*)
	[ "$tiers" = " bench" ] || {
		echo "bench is built without assertions, and runs alone" >&2
		exit 2
	} ;;
esac

if [ ! -e "$("$PG_CONFIG" --sharedir 2>/dev/null)/extension/citus.control" ]; then
	echo "skipped: PostgreSQL $PG_MAJOR has no Citus"
	exit 0
fi
install "${TIER_PACKAGES[@]}"
case " $tiers " in *" tap "*) install_tap_packages ;; esac
case " $tiers " in *" patroni "*) install patroni etcd-server python3-yaml ;; esac
make_scratch

# dtm is not preloaded here, as in check.sh: these tests themselves run what is due.
regress() {
	local status=0

	export EXTRA_REGRESS_OPTS=--load-extension=citus
	start_cluster single "shared_preload_libraries = 'citus'" "max_prepared_transactions = 10" \
		"citus.enable_statistics_collection = off" "citus.node_conninfo = 'sslmode=disable'"
	installcheck || status=$?
	installcheck_participant || status=$?
	[ $status = 0 ] || show_differences
	as_user "$PG_BIN/pg_ctl" -D "$SCRATCH/single" -m fast -w stop >/dev/null
	return $status
}

tap_with_citus() {
	export DTM_TEST_PRELOAD=citus,
	# shellcheck disable=SC2046
	tap ${files:-$(cd "$TOP" && echo t/*.pl)}
}

nodes() {
	local status=0

	# gateways in front of the nodes
	as_user make -s -j"$(nproc)" -C "$SCRATCH/dtm/gateway" PG_CONFIG="$PG_CONFIG" WERROR=1 || return 1
	as_user mkdir "$SCRATCH/nodes"
	as_user cc -shared -fPIC -I"$("$PG_CONFIG" --includedir-server)" -o "$SCRATCH/nodes/hold_commit.so" "$SCRATCH/dtm/test/hold_commit.c"
	as_user /usr/bin/python3 "$SCRATCH/dtm/test/citus.py" "$PG_BIN" "$SCRATCH/nodes" \
		"${numbers[0]:-30}" "${numbers[1]:-$RANDOM}" || status=$?
	[ $status = 0 ] || grep -hE 'PANIC|TRAP|FATAL|ERROR|WARNING' "$SCRATCH"/nodes/*.log | tail -40 || true
	return $status
}

patroni() {
	local status=0

	as_user mkdir "$SCRATCH/ha"
	as_user /usr/bin/python3 "$SCRATCH/dtm/test/citus_patroni.py" "$PG_BIN" "$SCRATCH/ha" || status=$?
	[ $status = 0 ] || tail -n 40 "$SCRATCH"/ha/*.log
	return $status
}

if [ "$tiers" = " bench" ]; then
	say "building for PostgreSQL $PG_MAJOR with Citus"
	build WERROR=1
	as_user mkdir "$SCRATCH/nodes"
	as_user cc -O2 -D_GNU_SOURCE -o "$SCRATCH/nodes/participant" "$SCRATCH/dtm/bench/participant.c"
	as_user /usr/bin/python3 "$SCRATCH/dtm/bench/citus.py" "$PG_BIN" "$SCRATCH/nodes" "${numbers[0]:-5}"
	exit
fi

say "building for PostgreSQL $PG_MAJOR with Citus"
build CASSERT=1 WERROR=1

case " $tiers " in *" regress "*)
	run regress regress
	count_regress regress ;;
esac
case " $tiers " in *" tap "*)
	run tap tap_with_citus
	count_tap tap ;;
esac
case " $tiers " in *" nodes "*)
	run nodes nodes
	count_tap nodes ;;
esac
case " $tiers " in *" patroni "*)
	run patroni patroni
	count_tap patroni ;;
esac
summary
