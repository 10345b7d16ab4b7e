#!/usr/bin/env bash
# Whether the last commit can be released: all files agree on the version, nothing is left
# uncommitted, the tests pass.  Then it makes the archive, and prints what is left for
# somebody to do.  It publishes nothing, and changes nothing outside of the folder dist.
#
#	scripts/release.sh [--check] [TIER...]
#
# With --check, only what takes no time: files and versions.  TIERs (default: all of TIERS,
# below) are the names of scripts in this folder.
. "$(dirname "$0")/common.sh"

check_only=no
if [ "${1:-}" = --check ]; then
	check_only=yes
	shift
fi
TIERS=(check demo clients interop shop page monitoring dist packages images upgrade versions patroni citus valgrind torture soak)
[ $# -gt 0 ] || set -- "${TIERS[@]}"
cd "$TOP"
failed=0

# ok NAME COMMAND...: what the command says is shown if it fails
ok() {
	local name=$1 said

	shift
	if said=$("$@" 2>&1); then
		echo "ok - $name"
	else
		[ -z "$said" ] || echo "$said"
		echo "not ok - $name"
		failed=$((failed + 1))
	fi
}

version=$(sed -n "s/^default_version = '\(.*\)'/\1/p" dtm.control)

# file and expression that prints its version
VERSIONS=(
	META.json 's/^   "version": "(.*)",/\1/p'
	META.json 's/^         "version": "(.*)",/\1/p'
	META.json 's/^         "file": "dtm--(.*)\.sql",/\1/p'
	debian/changelog '1s/^dtm \(([^-]*)-.*/\1/p'
	packaging/rpm/dtm.spec 's/^Version: *(.*)/\1/p'
	docs/dtm.7 's/^\.TH .*"dtm ([0-9.]*)".*/\1/p'
	gateway/dtm-gateway.8 's/^\.TH .*"dtm ([0-9.]*)".*/\1/p'
	packaging/cloudnativepg/cluster.yaml 's/^      version: (.*)/\1/p'
	packaging/cloudnativepg/cluster.yaml 's/.*dtm-extension:([0-9.]*)-.*/\1/p'
	packaging/cloudnativepg/Dockerfile 's/.*dtm-extension:([0-9.]*)-.*/\1/p'
	docs/deploying.md 's/.*dtm-extension:([0-9.]*)-.*/\1/p'
	docs/deploying.md 's/.*dtm-([0-9.]*)\.zip.*/\1/p'
	clients/java/pom.xml 's|^\t<version>(.*)</version>|\1|p'
	clients/python/pyproject.toml 's/^version = "(.*)"/\1/p'
	clients/node/package.json 's/^[[:space:]]+"version": "(.*)",/\1/p'
)

agree() {
	local i found status=0

	for ((i = 0; i < ${#VERSIONS[@]}; i += 2)); do
		found=$(sed -nE "${VERSIONS[i + 1]}" "${VERSIONS[i]}" | sort -u)
		[ "$found" = "$version" ] || {
			echo "${VERSIONS[i]} has ${found:-no version}, and dtm.control $version"
			status=1
		}
	done
	return $status
}

released_in_changelog() {
	grep -qE "^## $(sed 's/\./\\./g' <<<"$version") \([0-9]{4}-[0-9]{2}-[0-9]{2}\)$" CHANGELOG.md ||
		{ echo "CHANGELOG.md has no section \"## $version (YYYY-MM-DD)\": replace \"(unreleased)\" by the date"; return 1; }
}
released_in_debian() {
	! head -1 debian/changelog | grep -q UNRELEASED ||
		{ echo 'debian/changelog says UNRELEASED: name the distribution that the packages are for, such as unstable'; return 1; }
}
released_in_meta() {
	grep -q '"release_status": "stable"' META.json ||
		{ echo 'release_status of META.json is not "stable": PGXN installs only stable releases unless it is told otherwise'; return 1; }
}
# PGXN and packagers find the repository and the bug tracker by it
resources_in_meta() {
	python3 -c 'import json
resources = json.load(open("META.json")).get("resources", {})
missing = [f"resources.{name}.{key}" for name, key in (("repository", "url"), ("bugtracker", "web"))
           if not resources.get(name, {}).get(key)]
if missing:
    raise SystemExit(f"META.json has no {chr(32).join(missing)}: add the public addresses; dtm has none yet")'
}
support_is_current() {
	local line

	line=$(grep -E "^\| ${version%.*} \|" docs/support.md) || { echo "docs/support.md has no line for ${version%.*}"; return 1; }
	! grep -q "in development" <<<"$line" || { echo "docs/support.md says of ${version%.*}: in development"; return 1; }
}
install_script() {
	[ -e "dtm--$version.sql" ]
}
# From each release there is a way to this version: scripts A--B, one after the other
update_scripts() {
	local from status=0

	for from in $(git tag --list 'v*' | sed 's/^v//'); do
		[ "$from" = "$version" ] || ls dtm--"$from"--*.sql >/dev/null 2>&1 || {
			echo "there is no update script from $from, which was released"
			status=1
		}
	done
	return $status
}
clean_tree() {
	local changed

	changed=$(git status --porcelain)
	[ -z "$changed" ] || { echo "$changed"; return 1; }
}
meta_is_json() {
	python3 -c 'import json; json.load(open("META.json"))'
}
# tier NAME: shows the end of its output if it fails
tier() {
	local arguments=()

	[ "$1" != packages ] || arguments=(all)
	bash "scripts/$1.sh" "${arguments[@]}" >"dist/$1.log" 2>&1 </dev/null || {
		tail -20 "dist/$1.log"
		return 1
	}
}

say "release of $version, commit $(git rev-parse --short HEAD)"
ok "all files have this version" agree
ok "there is a script that installs it" install_script
ok "there are scripts that update to it" update_scripts
ok "META.json is JSON" meta_is_json
ok "the changelog has a section with its date" released_in_changelog
ok "Debian's changelog has a distribution" released_in_debian
ok "META.json says that it is stable" released_in_meta
ok "META.json says where the repository and the bug tracker are" resources_in_meta
ok "the support matrix says that it is supported" support_is_current
ok "nothing is left uncommitted" clean_tree

if [ $check_only = no ]; then
	mkdir -p dist
	for tier in "$@"; do
		say "$tier (output: dist/$tier.log)"
		ok "$tier" tier "$tier"
	done
	make -s dist && mv "dtm-$version.zip" dist/
	sha256sum "dist/dtm-$version.zip"
fi

if [ "$failed" = 0 ]; then
	cat <<-END

	What is left to do:
	  1. Read the section of CHANGELOG.md as a user, and docs/support.md.
	  2. git tag -s v$version -m "dtm $version", and push the tag.
	  3. Upload dist/dtm-$version.zip to PGXN, and to the release page of the forge with its checksum. Before the
	     first release: check that the name dtm is free there.
	  4. Build the packages (scripts/packages.sh -o FOLDER) and the images (docs/deploying.md) from the tag; sign and
	     publish them, and the helpers of clients/, wherever they are published.
	  5. Begin the next version: the section "(unreleased)" in CHANGELOG.md, the version in the files that this
	     script compares, dtm--$version--NEXT.sql.
	END
fi
echo "$failed failed"
[ "$failed" = 0 ]
