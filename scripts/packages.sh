#!/usr/bin/env bash
# Debian packages of dtm and of its gateway: builds them in a chroot of each release,
# checks them with lintian and autopkgtest, installs them as the README says in a chroot
# that has nothing else, and types the README's first saga there.  Not one of check.sh's
# tiers; needs root, a few gigabytes, and minutes.
#
#	scripts/packages.sh [-o FOLDER] [all | release:version...]
#
# FOLDER/RELEASE gets the packages.  Without names: each release with the version of
# PostgreSQL that it has.  "all" adds versions that a release does not have: an older one
# comes from the release that has it; a newer one is built of that release's sources, which
# takes much longer.  Their packages are in FOLDER/RELEASE-VERSION.
# DEBIAN_MIRROR and DTM_CHROOTS are as in chroot.sh; servers that were built are kept there.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/chroot.sh"

folder=
if [ "${1:-}" = -o ]; then
	mkdir -p "$2"
	folder=$(realpath "$2")
	shift 2
fi
case ${1:-} in
"") set -- bookworm:15 trixie:17 forky:18 ;;
all) set -- bookworm:15 trixie:17 forky:18 trixie:15 bookworm:18 trixie:18 ;;
esac
install debootstrap util-linux
make_scratch
chroots=${DTM_CHROOTS:-$SCRATCH}

# What tells packages of one version for several releases apart, and grows with them
suffix() {
	case $1 in
	bookworm) echo '~deb12' ;;
	trixie) echo '~deb13' ;;
	forky) echo '~deb14' ;;
	esac
}

# native RELEASE: the version of PostgreSQL that it has
native() {
	case $1 in
	bookworm) echo 15 ;;
	trixie) echo 17 ;;
	forky) echo 18 ;;
	esac
}

# release_of VERSION: the one that has it
release_of() {
	case $1 in
	15) echo bookworm ;;
	17) echo trixie ;;
	18) echo forky ;;
	esac
}

# build_server RELEASE VERSION FOLDER: makes of FOLDER a repository with the packages of a newer
# PostgreSQL, and with the postgresql-common that it needs
build_server() {
	local root=$SCRATCH/server

	make_chroot "$1" "$root" || return 1
	# shellcheck disable=SC2016
	inside "$root" bash -euc '
		mirror=$1 from=$2 version=$3 suffix=$4
		all="postgresql-common postgresql-common-dev postgresql-client-common postgresql-all postgresql-server-dev-all"
		printf "%s\n" "deb $mirror $from main" "deb-src $mirror $from main" >/etc/apt/sources.list.d/from.list
		# of that release, only what is the same for all architectures and releases
		printf "%s\n" "Package: *" "Pin: release n=$from" "Pin-Priority: -1" "" \
			"Package: $all" "Pin: release n=$from" "Pin-Priority: 990" >/etc/apt/preferences.d/from
		apt-get update -q
		apt-get install -y -q --no-install-recommends build-essential fakeroot postgresql-common-dev
		useradd --system --create-home builder
		install -d -o builder /build
		cd /build
		runuser -u builder -- apt-get source -q "postgresql-$version"
		cd "postgresql-$version"-*/
		sed -i "1s/)/$suffix)/" debian/changelog
		export DEB_BUILD_PROFILES=nocheck DEB_BUILD_OPTIONS="nocheck parallel=$(nproc)"
		apt-get build-dep -y -q --no-install-recommends ./
		runuser -u builder -- dpkg-buildpackage --build=binary --unsigned-source --unsigned-changes
		mkdir /repository
		mv ../*.deb /repository/
		rm -f /repository/*-dbgsym_*
		cd /repository
		apt-get download -q $all
		dpkg-scanpackages . >Packages' server "$mirror" "$(release_of "$2")" "$2" "$(suffix "$1")" || return 1
	mv "$root/repository" "$3"
	rm -rf "$root"
}

# add_server ROOT RELEASE VERSION: says where a version of PostgreSQL comes from that the release does
# not have, as an administrator would
add_server() {
	local repository=$chroots/postgresql-$3-$2

	if [ "$3" -lt "$(native "$2")" ]; then
		echo "deb $mirror $(release_of "$3") main" >"$1/etc/apt/sources.list.d/server.list"
	else
		[ -e "$repository" ] || build_server "$2" "$3" "$repository" || return 1
		cp -r "$repository" "$1/repository"
		echo "deb [trusted=yes] file:/repository ./" >"$1/etc/apt/sources.list.d/server.list"
	fi
	mkdir -p "$1/etc/postgresql-common"
	echo "$3" >"$1/etc/postgresql-common/supported_versions"
}

# build_packages ROOT RELEASE VERSION: into ROOT/build
build_packages() {
	rm -rf "$1/build"
	mkdir -p "$1/build"
	cp -r "$SCRATCH/dtm" "$1/build/dtm"
	sed -i "1s/)/$(suffix "$2"))/" "$1/build/dtm/debian/changelog"
	# shellcheck disable=SC2016
	inside "$1" bash -euc '
		mkdir -p /etc/postgresql-common/createcluster.d
		echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.d/dtm-scratch.conf
		apt-get update -q
		apt-get install -y -q --no-install-recommends autopkgtest build-essential fakeroot lintian man-db \
			postgresql-common "postgresql-server-dev-$0" "postgresql-$0"
		# later releases have the tools for building in a package of their own
		! apt-cache show postgresql-common-dev >/dev/null 2>&1 ||
			apt-get install -y -q --no-install-recommends postgresql-common-dev
		# some releases have a list of the oldest servers to ask for, which are newer than this one
		list=/etc/postgresql-common/minor_versions
		[ ! -e "$list" ] || [ ! -e /etc/apt/sources.list.d/server.list ] ||
			dpkg-query -W -f "$0 \${source:Upstream-Version}\n" "postgresql-$0" >"$list"
		id builder >/dev/null 2>&1 || useradd --system --create-home builder
		cd /build/dtm
		version=$(dpkg-parsechangelog -S Version)
		tar -cJf "../dtm_${version%-*}.orig.tar.xz" --exclude=debian -C /build dtm
		pg_buildext updatecontrol
		# the tests need the server of this version, not those of all and their languages
		apt-get build-dep -y -q --no-install-recommends ./
		chown -R builder /build
		runuser -u builder -- dpkg-buildpackage --unsigned-source --unsigned-changes
		cd ..
		# no request for a package is open in Debian that it could close
		lintian --fail-on error,warning --suppress-tags initial-upload-closes-no-bugs \
			--tag-display-limit 0 ./*.changes
		for package in ./*.deb; do
			for page in $(dpkg-deb --fsys-tarfile "$package" | tar -t | grep /man/man./. || true); do
				dpkg-deb --fsys-tarfile "$package" | tar -xO "$page" | gzip -dc |
					man --warnings -l - 2>&1 >/dev/null | grep . && exit 1
				echo "ok - ${page#./}"
			done
		done
		autopkgtest ./*.deb dtm/ -- null' "$3"
}

# Whoever has nothing but the README and the packages: types what it says, and
# answers yes.  What it shows as the result must be in what is printed, in that order.
write_readme() {
	code_block "$SCRATCH/dtm/README.md" 'apt-get install ./postgresql-' >"$1/install" &&
		tail -1 "$1/install" | grep -qx 'su postgres -c psql' &&
		sed -i '$d' "$1/install" &&
		code_block "$SCRATCH/dtm/docs/deploying.md" 'apt-get install ./postgresql-' | diff - "$1/install" &&
		code_block "$SCRATCH/dtm/README.md" 'CREATE EXTENSION' >"$1/saga.sql" &&
		code_block "$SCRATCH/dtm/README.md" 'CREATE FUNCTION move' >>"$1/saga.sql" &&
		code_block "$SCRATCH/dtm/README.md" $'-\n succeed' >"$1/expected"
}

# try_packages ROOT VERSION: in a chroot where nothing was installed before
try_packages() {
	mkdir -p "$1/readme"
	write_readme "$1/readme" || return 1
	# shellcheck disable=SC2016
	inside "$1" bash -euc '
		echo "APT::Get::Assume-Yes \"true\";" >/etc/apt/apt.conf.d/99yes
		apt-get update -q
		cd /packages
		bash -eux /readme/install </dev/null
		su postgres -c psql </readme/saga.sql 2>&1 | tee /readme/out
		grep -q "ERROR:" /readme/out && exit 1
		cd /dtm
		debian/tests/first-saga
		dtm-gateway --version
		for file in man/man8/dtm-gateway.8.gz man/man7/postgresql-"$0"-dtm.7.gz \
			doc/postgresql-"$0"-dtm/docs/sql-reference.md doc/postgresql-"$0"-dtm/examples/first-saga.sql \
			doc/dtm-gateway/gateway.md; do
			test -e "/usr/share/$file" || { echo "there is no $file"; exit 1; }
		done
		test -e /lib/systemd/system/dtm-gateway.service
		test -e "/usr/lib/postgresql/$0/lib/bitcode/dtm.index.bc"
		# it asks for the libcurl that it was compiled against
		dpkg-query -W -f "\${Depends}\n" "postgresql-$0-dtm" | grep -oE "libcurl4(t64)? \(>= [0-9.]+\)"
		# and goes as it came
		apt-get purge "postgresql-$0-dtm" dtm-gateway
		! find / -xdev -name "*dtm*" -not -path "/dtm*" -not -path "/packages/*" -not -path "/etc/apt/*" \
			-not -path "/var/lib/dpkg/*" -not -path "/var/lib/postgresql/*" -not -path "/readme/*" -not -path "/proc/*" -not -path "/etc/postgresql/*" | grep .' "$2" || return 1
	has_lines "$1/readme/out" "$1/readme/expected" && echo "ok - the first saga, as the README has it"
}

# make_root RELEASE VERSION ROOT: a system in which nothing is installed, and that knows where
# to get that version
make_root() {
	rm -rf "$3.root"
	make_chroot "$1" "$3.root" || return 1
	[ "$2" = "$(native "$1")" ] || add_server "$3.root" "$1" "$2" || return 1
	mv "$3.root" "$3"
}

# package RELEASE VERSION
package() {
	local name=$1 clean=$SCRATCH/$1-clean log=$SCRATCH/$1-$2.log root

	[ "$2" = "$(native "$1")" ] || name=$1-$2
	root=$chroots/$name
	say "packages for $1, PostgreSQL $2"
	{
		[ -e "$root" ] || make_root "$1" "$2" "$root"
	} >"$log" 2>&1 && build_packages "$root" "$1" "$2" >>"$log" 2>&1 || {
		tail -60 "$log"
		return 1
	}
	grep -E '^(not ok|[EWI]: [a-z0-9.+-]+( [a-z]+)?: )|All [0-9]+ tests passed|^first-saga ' "$log" || true
	make_root "$1" "$2" "$clean" >>"$log" 2>&1 || return 1
	mkdir -p "$clean/packages"
	cp "$root"/build/*.deb "$clean/packages/"
	cp -r "$SCRATCH/dtm" "$clean/dtm"
	try_packages "$clean" "$2" >>"$log" 2>&1 || {
		tail -60 "$log"
		return 1
	}
	grep -E '^ok - |^libcurl' "$log"
	if [ -n "$folder" ]; then
		mkdir -p "$folder/$name"
		cp "$root"/build/*.deb "$folder/$name/"
	fi
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
