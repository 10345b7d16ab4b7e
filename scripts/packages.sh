#!/usr/bin/env bash
# Debian packages of dtm and of its gateway: builds them in a chroot of each release,
# checks them with lintian, installs them in a chroot that has nothing else, and runs
# the first saga there.  Not one of check.sh's tiers; needs root, a few gigabytes,
# and minutes.
#
#	scripts/packages.sh [-o FOLDER] [release:version...]
#
# FOLDER gets the packages.  DEBIAN_MIRROR and DTM_CHROOTS are as in chroot.sh.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/chroot.sh"

folder=
if [ "${1:-}" = -o ]; then
	folder=$(realpath "$2")
	shift 2
fi
[ $# -gt 0 ] || set -- bookworm:15 trixie:17 forky:18
install debootstrap util-linux
make_scratch
chroots=${DTM_CHROOTS:-$SCRATCH}

# build_packages ROOT: into ROOT/build
build_packages() {
	rm -rf "$1/build"
	mkdir -p "$1/build"
	cp -r "$SCRATCH/dtm" "$1/build/dtm"
	# shellcheck disable=SC2016
	inside "$1" bash -euc '
		mkdir -p /etc/postgresql-common/createcluster.d
		echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.d/dtm-scratch.conf
		apt-get update -q
		apt-get install -y -q --no-install-recommends build-essential fakeroot lintian postgresql-common \
			"postgresql-server-dev-$0" "postgresql-$0"
		id builder >/dev/null 2>&1 || useradd --system --create-home builder
		cd /build/dtm
		pg_buildext updatecontrol
		# the tests need the server of this version, not those of all and their languages
		apt-get build-dep -y -q --no-install-recommends ./
		chown -R builder /build
		runuser -u builder -- dpkg-buildpackage --unsigned-source --unsigned-changes --build=binary
		cd ..
		# no request for a package is open in Debian that it could close
		lintian --fail-on error,warning --suppress-tags initial-upload-closes-no-bugs \
			--tag-display-limit 0 ./*.changes' "$2"
}

# try_packages ROOT VERSION: in a chroot where nothing was installed before
try_packages() {
	# shellcheck disable=SC2016
	inside "$1" bash -euc '
		apt-get update -q
		apt-get install -y -q --no-install-recommends /packages/postgresql-"$0"-dtm_*.deb /packages/dtm-gateway_*.deb
		cd /dtm
		debian/tests/first-saga
		test -e /usr/share/man/man8/dtm-gateway.8.gz
		test -e /lib/systemd/system/dtm-gateway.service' "$2"
}

# package RELEASE VERSION
package() {
	local root=$chroots/$1 clean=$SCRATCH/$1-clean log=$SCRATCH/$1-$2.log

	say "packages for $1, PostgreSQL $2"
	{
		[ -e "$root" ] || make_chroot "$1" "$root"
	} >"$log" 2>&1 && build_packages "$root" "$2" >>"$log" 2>&1 || {
		tail -60 "$log"
		return 1
	}
	grep -E '^(not ok|[EWI]: )|All [0-9]+ tests passed' "$log" || true
	make_chroot "$1" "$clean" >>"$log" 2>&1 || return 1
	mkdir -p "$clean/packages"
	cp "$root"/build/*.deb "$clean/packages/"
	cp -r "$SCRATCH/dtm" "$clean/dtm"
	try_packages "$clean" "$2" >>"$log" 2>&1 || {
		tail -60 "$log"
		return 1
	}
	[ -z "$folder" ] || cp "$root"/build/*.deb "$folder/"
	(cd "$root/build" && ls -- *.deb)
	rm -rf "$clean"
}

passed=0 failed=0
for pair in "$@"; do
	if package "${pair%:*}" "${pair#*:}"; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
	fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
