#!/usr/bin/env bash
# The tests with other versions of PostgreSQL, those of other releases of
# Debian, each in a chroot that is made for it (a gigabyte, and minutes).  Not
# one of check.sh's tiers; needs root.
#
#	scripts/versions.sh [release:version...]
#
# DEBIAN_MIRROR is where the releases come from.
. "$(dirname "$0")/common.sh"

mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
[ "$(id -u)" = 0 ] || { echo "please run as root" >&2; exit 1; }
[ $# -gt 0 ] || set -- bullseye:13 trixie:17 forky:18
install debootstrap util-linux
make_scratch

# try RELEASE VERSION: in a mount namespace of its own, which ends with it.
try() {
	local root=$SCRATCH/$1 script=/usr/share/debootstrap/scripts/$1
	# the test modules that the tap tier needs came with 15
	local tiers="unit regress"

	[ "$2" -lt 15 ] || tiers="$tiers tap"
	[ -e "$script" ] || script=/usr/share/debootstrap/scripts/sid
	say "$1, PostgreSQL $2"
	debootstrap --variant=minbase "$1" "$root" "$mirror" "$script" >"$SCRATCH/$1.log" 2>&1 || {
		tail -20 "$SCRATCH/$1.log"
		return 1
	}
	cp /etc/resolv.conf "$root/etc/"
	cp /etc/apt/apt.conf.d/*proxy* "$root/etc/apt/apt.conf.d/" 2>/dev/null || true
	# a mirror may stand still
	echo 'Acquire::Check-Valid-Until "false";' >"$root/etc/apt/apt.conf.d/99dtm"
	cp -r "$SCRATCH/dtm" "$root/dtm"
	unshare --mount --propagation private bash -eu -c '
		mount --bind /proc "$1/proc"
		mount --bind /dev "$1/dev"
		mount -t tmpfs tmpfs "$1/dev/shm"
		chroot "$1" env PG_MAJOR="$2" bash /dtm/scripts/check.sh $3
	' try "$root" "$2" "$tiers" 2>&1 | tee "$SCRATCH/$1.log" |
		grep -E '^not ok|FAILED|rror:|passed, ' || true
	tail -1 "$SCRATCH/$1.log" | grep -q ' passed, 0 failed'
}

status=0
for pair in "$@"; do
	try "${pair%:*}" "${pair#*:}" || status=1
done
exit $status
