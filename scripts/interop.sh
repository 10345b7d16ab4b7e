#!/usr/bin/env bash
# Interoperability: dtm's SDKs, as their registries have them, against dtm-gateway.
# Installs what is missing, builds, starts a cluster with the extension and the
# gateway, and runs test/interop.  Ends with one line: N passed, N failed.
#
#	scripts/interop.sh [go] [go-client] [python] [java] [otlp]	(default: all)
#
# otlp: spans, against the protocol buffers of OpenTelemetry.
#
# INTEROP_CACHE=folder keeps the downloads for the next run; the ordinary user must
# be able to write there.
. "$(dirname "$0")/common.sh"

set -o pipefail
sdks=${*:-go go-client python java otlp}
failed=0

packages=(build-essential "postgresql-$PG_MAJOR" "postgresql-server-dev-$PG_MAJOR"
	libcurl4-openssl-dev libpq-dev libnghttp2-dev libssl-dev ca-certificates procps util-linux)
case " $sdks " in *" go "* | *" go-client "*)
	command -v go >/dev/null || packages+=(golang-go) ;;
esac
case " $sdks " in *" python "*)
	packages+=(python3-pip python3-psycopg2 python3-requests) ;;
esac
case " $sdks " in *" otlp "*)
	packages+=(python3-pip) ;;
esac
case " $sdks " in *" java "*)
	command -v javac >/dev/null || packages+=(default-jdk-headless)
	command -v mvn >/dev/null || packages+=(maven) ;;
esac
install "${packages[@]}" python3
make_scratch
trap 'status=$?; stop_server; set +e; (exit $status); clean_up' EXIT

CACHE=${INTEROP_CACHE:-$SCRATCH/cache}
SOURCES=$SCRATCH/dtm/test/interop
[ -d "$CACHE" ] || as_user mkdir "$CACHE"

# free_ports N: ports of 127.0.0.1 that nobody listens on
free_ports() {
	/usr/bin/python3 -c '
import socket, sys
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(s.getsockname()[1] for s in sockets))' "$1"
}

# Writes a script that kills and starts the gateway and the cluster; the programs
# of the SDKs call it as well.
write_control() {
	as_user tee "$SCRATCH/control" >/dev/null <<-END
	#!/bin/bash
	set -eu
	case \$1 in
	stop)
		if [ -e "$SCRATCH/gateway.pid" ]; then
			pid=\$(cat "$SCRATCH/gateway.pid")
			kill -KILL "\$pid" 2>/dev/null || true
			while kill -0 "\$pid" 2>/dev/null; do sleep 0.05; done
			rm -f "$SCRATCH/gateway.pid"
		fi
		[ ! -e "$SCRATCH/interop/postmaster.pid" ] ||
			"$PG_BIN/pg_ctl" -D "$SCRATCH/interop" -m immediate -w stop
		;;
	start)
		[ -e "$SCRATCH/interop/postmaster.pid" ] ||
			"$PG_BIN/pg_ctl" -D "$SCRATCH/interop" -l "$SCRATCH/interop.log" -w start
		setsid "$SCRATCH/dtm/gateway/dtm-gateway" \\
			--conninfo="host=$SCRATCH port=$pg_port user=dtm_gateway dbname=postgres" \\
			--listen=127.0.0.1:$http_port --listen=127.0.0.1:$grpc_port \\
			</dev/null >>"$SCRATCH/gateway.log" 2>&1 &
		echo \$! >"$SCRATCH/gateway.pid"
		;;
	esac >/dev/null
	END
	as_user chmod 755 "$SCRATCH/control"
}

stop_server() {
	[ ! -e "$SCRATCH/control" ] || as_user "$SCRATCH/control" stop || true
}

start_server() {
	read -r pg_port http_port grpc_port <<<"$(free_ports 3)"
	# for transactions without options, which some SDKs cannot set; long enough for a
	# busy machine
	start_cluster interop "port = $pg_port" "listen_addresses = '127.0.0.1'" \
		"shared_preload_libraries = 'dtm'" "max_connections = 200" \
		"max_prepared_transactions = 50" "dtm.retry_interval = 1s" "dtm.timeout_to_fail = 20s" \
		"dtm.request_timeout = 20s"
	as_user "$PG_BIN/psql" -X -q -v ON_ERROR_STOP=1 -h "$SCRATCH" -p "$pg_port" -U postgres \
		-f "$SOURCES/setup.sql" postgres
	write_control
	as_user "$SCRATCH/control" start
}

# run LABEL COMMAND...: the scenarios of an SDK
run() {
	local name=$1

	shift
	say "$name"
	if ! as_user INTEROP_LABEL="$name" INTEROP_CONTROL="$SCRATCH/control" \
		INTEROP_HTTP="http://127.0.0.1:$http_port/api/dtmsvr" INTEROP_GRPC="127.0.0.1:$grpc_port" \
		INTEROP_PGHOST=127.0.0.1 INTEROP_PGPORT="$pg_port" INTEROP_PGUSER=service \
		INTEROP_PGDATABASE=postgres timeout 300 "$@" | tee -a "$SCRATCH/results"; then
		echo "not ok - $name: ended with an error" | tee -a "$SCRATCH/results"
	fi
}

# go_sdk NAME VERSION FOLDER: a version of the SDK, over HTTP and over gRPC
go_sdk() {
	local transport

	as_user env -C "$3" GOMODCACHE="$CACHE/mod" GOCACHE="$CACHE/build" GOTOOLCHAIN=local \
		GOFLAGS="-modcacherw -buildvcs=false" go build -o interop .
	for transport in http grpc; do
		run "$1 $2, $transport" env LOG_LEVEL=error "$3/interop" "$transport"
	done
}

# The old SDK has the same packages, with other import paths.
go_client() {
	local old=$SCRATCH/go-client file

	as_user mkdir "$old"
	for file in "$SOURCES"/go/*.go; do
		sed 's,github.com/dtm-labs/dtm/client/,github.com/dtm-labs/client/,' "$file" |
			as_user tee "$old/$(basename "$file")" >/dev/null
	done
	as_user cp "$SOURCES"/go-client/go.* "$old"
	go_sdk github.com/dtm-labs/client v1.17.3 "$old"
}

python_sdk() {
	as_user /usr/bin/python3 -m pip install -q --no-deps --require-hashes --no-cache-dir \
		--target "$SCRATCH/python" -r "$SOURCES/python/requirements.txt"
	run "Python dtmcli 1.7.7" env PYTHONPATH="$SCRATCH/python" /usr/bin/python3 "$SOURCES/python/interop.py"
}

java_sdk() {
	local classes=$SCRATCH/java

	as_user mkdir "$classes"
	as_user mvn -q -B -Dstyle.color=never -f "$SOURCES/java/pom.xml" -Dmaven.repo.local="$CACHE/m2" \
		dependency:build-classpath -Dmdep.outputFile="$classes/path"
	as_user javac -proc:none -cp "$(cat "$classes/path")" -d "$classes" "$SOURCES"/java/*.java
	# the SDK reads the server's address from this file
	echo "dtm.ipport=127.0.0.1:$http_port" | as_user tee "$classes/dtm-conf.properties" >/dev/null
	run "Java dtmcli-java 2.1.4" java -cp "$classes:$(cat "$classes/path")" Interop
}

# Spans, read by google.protobuf.
otlp() {
	as_user /usr/bin/python3 -m pip install -q --no-deps --require-hashes --no-cache-dir \
		--target "$SCRATCH/otlp" -r "$SOURCES/otlp/requirements.txt"
	run "OTLP, opentelemetry-proto 1.45.2" env PYTHONPATH="$SCRATCH/otlp" PATH="$PG_BIN:$PATH" \
		PGHOST="$SCRATCH" PGPORT="$pg_port" PGCLIENTENCODING=UTF8 /usr/bin/python3 "$SOURCES/otlp/interop.py"
}

say "building for PostgreSQL $PG_MAJOR"
build
as_user make -s -j"$(nproc)" -C "$SCRATCH/dtm/gateway" PG_CONFIG="$PG_CONFIG"
start_server
: | as_user tee "$SCRATCH/results"

for sdk in $sdks; do
	case $sdk in
	go) go_sdk github.com/dtm-labs/dtm v1.19.0 "$SOURCES/go" ;;
	go-client) go_client ;;
	python) python_sdk ;;
	java) java_sdk ;;
	otlp) otlp ;;
	*) echo "no such SDK: $sdk" >&2; exit 2 ;;
	esac
done

passed=$(grep -c '^ok ' "$SCRATCH/results" || true)
failed=$(grep -c '^not ok ' "$SCRATCH/results" || true)
if [ "$failed" != 0 ]; then
	grep -E 'WARNING|ERROR|FATAL|PANIC' "$SCRATCH/interop.log" | tail -40 || true
	tail -40 "$SCRATCH/gateway.log" || true
fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
