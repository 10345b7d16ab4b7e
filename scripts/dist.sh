#!/usr/bin/env bash
# What is released besides Debian's packages: the archive of make dist, from which all of
# these are made as a user would; make install into a folder, and make uninstall; PGXN's
# client, and the first saga with what it has installed; packages by rpmbuild.  Not one of
# check.sh's tiers; installs the extension for PG_MAJOR; a few minutes.
#
#	scripts/dist.sh [install] [pgxn] [rpm]	(default: all)
#
# The archive is of the files as they are, committed or not.
. "$(dirname "$0")/common.sh"

set -o pipefail
parts=${*:-install pgxn rpm}
packages=(build-essential "postgresql-$PG_MAJOR" "postgresql-server-dev-$PG_MAJOR" libcurl4-openssl-dev
	libnghttp2-dev libpq-dev libssl-dev git unzip man-db procps util-linux)
case " $parts " in *" pgxn "*) packages+=(pgxnclient) ;; esac
case " $parts " in *" rpm "*) packages+=(rpm cpio) ;; esac
install "${packages[@]}"
make_scratch
passed=0 failed=0

# ok STATUS NAME
ok() {
	if [ "$1" = 0 ]; then
		echo "ok - $2"
		passed=$((passed + 1))
	else
		echo "not ok - $2"
		failed=$((failed + 1))
	fi
}

# quietly COMMAND...: shows what it says if it fails
quietly() {
	"$@" >"$SCRATCH/quietly.log" 2>&1 </dev/null || {
		tail -40 "$SCRATCH/quietly.log"
		return 1
	}
}

# The archive, from a repository of its own
make_archive() {
	cd "$SCRATCH/dtm" && as_user git init -q . && as_user git add -A &&
		as_user git -c user.name=dtm -c user.email=dtm@localhost commit -q -m "what is released" &&
		as_user make -s dist PG_CONFIG="$PG_CONFIG" && archive=$(ls "$PWD"/dtm-*.zip) &&
		as_user mkdir "$SCRATCH/unpacked" && as_user unzip -q "$archive" -d "$SCRATCH/unpacked" &&
		tree=$(echo "$SCRATCH"/unpacked/dtm-*) && version=${tree##*/dtm-}
}

# What has to be there after make install-world, below DESTDIR
installed_files() {
	local lib share doc man

	lib=$("$PG_CONFIG" --pkglibdir) share=$("$PG_CONFIG" --sharedir) doc=$("$PG_CONFIG" --docdir)/extension/dtm
	man=$("$PG_CONFIG" --mandir)
	printf '%s\n' "$lib/dtm.so" "$share/extension/dtm.control" "$share/extension/dtm--$version.sql" \
		"$share/extension/dtm.psql" "$man/man7/dtm.7" \
		/usr/local/bin/dtm-gateway /usr/local/share/man/man8/dtm-gateway.8 /usr/local/lib/systemd/system/dtm-gateway.service
	(cd "$tree" && ls README*.md CHANGELOG.md LICENSE sql/participant.sql examples/*.* monitoring/*.* && find docs -type f -not -name dtm.7) |
		sed "s|^|$doc/|"
	if grep -q '^with_llvm[[:space:]]*=[[:space:]]*yes' "$(dirname "$("$PG_CONFIG" --pgxs)")/../Makefile.global"; then
		echo "$lib/bitcode/dtm.index.bc"
		(cd "$tree" && find src -name '*.c') | sed "s|^|$lib/bitcode/dtm/|; s|c\$|bc|"
	fi
}

install_part() {
	local to=$SCRATCH/installed page

	quietly as_user make -C "$tree" -j"$(nproc)" PG_CONFIG="$PG_CONFIG" world; ok $? "make world"
	quietly as_user make -C "$tree" PG_CONFIG="$PG_CONFIG" DESTDIR="$to" install-world; ok $? "make install-world DESTDIR="
	diff <(installed_files | sort) <(cd "$to" && find . -type f -o -type l | sed 's/^\.//' | sort); ok $? "installs all files"
	grep -q '^ExecStart=/usr/local/bin/dtm-gateway$' "$to/usr/local/lib/systemd/system/dtm-gateway.service"
	ok $? "the unit starts the program that is installed"
	find "$to" -path '*/man/*' -name '*.[78]' | while read -r page; do
		! man --warnings -l "$page" 2>&1 >/dev/null | grep . || exit 1
	done; ok $? "man has no warnings"
	! grep -rl "$SCRATCH" "$to" --include='*.md' --include='*.sql' --include='*.service' --include='*.control' | grep .
	ok $? "nothing that is installed knows where it was built"
	quietly as_user make -C "$tree" PG_CONFIG="$PG_CONFIG" DESTDIR="$to" uninstall-world && ! find "$to" -type f | grep .
	ok $? "make uninstall-world leaves nothing"
}

pgxn_part() {
	# without a network: it is asked for a file
	quietly as_root pgxn install --unstable --nosudo --yes --pg_config "$PG_CONFIG" "$archive" || return 1
	ok 0 "pgxn install dtm-$version.zip"
	start_cluster pgxn "shared_preload_libraries = 'dtm'"
	quietly as_user pgxn load --unstable --yes --pg_config "$PG_CONFIG" -h "$SCRATCH" -U postgres -d postgres "$archive"
	ok $? "pgxn load"
	as_user "$PG_BIN/psql" -h "$SCRATCH" -U postgres -d postgres -X -a -f "$tree/examples/first-saga.sql" >"$SCRATCH/first-saga.out" 2>&1
	diff -u "$tree/examples/first-saga.out" "$SCRATCH/first-saga.out"; ok $? "the first saga"
	quietly as_user pgxn unload --unstable --yes --pg_config "$PG_CONFIG" -h "$SCRATCH" -U postgres -d postgres "$archive"
	ok $? "pgxn unload"
	quietly as_root pgxn uninstall --unstable --nosudo --yes --pg_config "$PG_CONFIG" "$archive"
	[ ! -e "$("$PG_CONFIG" --pkglibdir)/dtm.so" ]; ok $? "pgxn uninstall"
}

rpm_part() {
	local top=$SCRATCH/rpm root=$SCRATCH/rpm-root package

	as_user mkdir -p "$top/SOURCES" "$root"
	as_user cp "$archive" "$top/SOURCES/"
	# the packages that it wants are named as Fedora names them
	quietly as_user rpmbuild -ba --nodeps --define "_topdir $top" --define "pgmajor $PG_MAJOR" --define "pg_config $PG_CONFIG" \
		"$tree/packaging/rpm/dtm.spec"
	ok $? "rpmbuild -ba"
	for package in "$top"/RPMS/*/*.rpm; do
		echo "${package##*/}"
		(cd "$root" && rpm2cpio "$package" | as_user cpio -id --quiet)
	done
	(cd "$root" && for package in "$("$PG_CONFIG" --pkglibdir)/dtm.so" "$("$PG_CONFIG" --sharedir)/extension/dtm--$version.sql" \
		/usr/bin/dtm-gateway /usr/lib/systemd/system/dtm-gateway.service; do
		[ -s ".$package" ] || { echo "there is no $package"; exit 1; }
	done); ok $? "the packages have what is needed"
	rpm -qp --requires "$top"/RPMS/*/dtm_*.rpm | grep "^libcurl >= $(curl-config --version | sed 's/^libcurl //')"
	ok $? "the package asks for the libcurl that it was compiled against"
	"$root/usr/bin/dtm-gateway" --version; ok $? "the gateway runs"
}

say "make dist"
set +e
make_archive; ok $? "make dist"
for part in $parts; do
	say "$part"
	"${part}_part"
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
