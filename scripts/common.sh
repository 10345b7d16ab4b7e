# Shared code of the scripts.  Source it; it sets -eu.
#
# PG_MAJOR chooses the version of PostgreSQL (default: that of the release of Debian, or 15).

set -eu

PG_MAJOR=${PG_MAJOR:-$(
	. /etc/os-release 2>/dev/null || true
	case ${ID:-}-${VERSION_ID:-} in debian-13) echo 17 ;; debian-14) echo 18 ;; *) echo 15 ;; esac
)}
TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PG_BIN=/usr/lib/postgresql/$PG_MAJOR/bin
PG_CONFIG=$PG_BIN/pg_config

say() { printf '\n== %s\n' "$*"; }

as_root() {
	if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# Runs a command as an ordinary user: PostgreSQL refuses to run as root.
as_user() {
	if [ "$(id -u)" != 0 ]; then
		env "$@"
	else
		runuser -u dtm-scratch -- env HOME="$SCRATCH" "$@"
	fi
}

# Is there a server of PG_MAJOR to build for and to run, from whatever source?
has_server() {
	[ -x "$PG_BIN/postgres" ] && [ -x "$PG_CONFIG" ] && [ -e "$("$PG_CONFIG" --pgxs)" ]
}

is_installed() {
	dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed
}

# install PACKAGE...: those that are missing.
install() {
	local missing=()
	local package

	for package in "$@"; do
		case $package in "postgresql-$PG_MAJOR" | "postgresql-server-dev-$PG_MAJOR")
			! has_server || continue ;;
		esac
		is_installed "$package" || missing+=("$package")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	if ! command -v apt-get >/dev/null; then
		echo "please install the equivalents of these Debian packages: ${missing[*]}" >&2
		exit 1
	fi
	if [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; then
		echo "please run as root, or install these packages: ${missing[*]}" >&2
		exit 1
	fi
	say "installing ${missing[*]}"
	# the server package would create and start a cluster that nobody asked for
	local keep=/etc/postgresql-common/createcluster.d/dtm-scratch.conf
	if [ ! -d "/usr/lib/postgresql/$PG_MAJOR/bin" ]; then
		as_root mkdir -p "$(dirname $keep)"
		echo 'create_main_cluster = false' | as_root tee $keep >/dev/null
	fi
	as_root apt-get update -q >/dev/null
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q \
		--no-install-recommends "${missing[@]}" >"${TMPDIR:-/tmp}/dtm-apt.$$" 2>&1 || {
		cat "${TMPDIR:-/tmp}/dtm-apt.$$" >&2
		exit 1
	}
	rm -f "${TMPDIR:-/tmp}/dtm-apt.$$"
	as_root rm -f $keep
}

# install_if_packaged PACKAGE: says so, and fails, where there is none.
install_if_packaged() {
	local known=no

	is_installed "$1" && return
	if command -v apt-cache >/dev/null; then
		# lists of packages may be missing, or old
		apt-cache show "$1" >/dev/null 2>&1 || as_root apt-get update -q >/dev/null || true
		! apt-cache show "$1" >/dev/null 2>&1 || known=yes
	fi
	if [ $known = no ]; then
		echo "there is no package $1"
		return 1
	fi
	install "$1"
}

# Makes SCRATCH, a directory of the ordinary user with a copy of the sources
# in SCRATCH/dtm; both go away at the end, and with them what still runs.
make_scratch() {
	SCRATCH=$(mktemp -d "${TMPDIR:-/tmp}/dtm.XXXXXX")
	trap clean_up EXIT
	trap 'exit 130' INT TERM
	mkdir "$SCRATCH/dtm"
	(cd "$TOP" && tar -cf - --exclude=.git --exclude='*.o' --exclude='*.bc' --exclude='*.so' .) |
		tar -xf - -C "$SCRATCH/dtm"
	if [ "$(id -u)" = 0 ]; then
		id -u dtm-scratch >/dev/null 2>&1 ||
			useradd --system --no-create-home --shell /usr/sbin/nologin dtm-scratch
		chown -R dtm-scratch "$SCRATCH"
	fi
	chmod 755 "$SCRATCH"
	# where the ordinary user may be, too
	cd "$SCRATCH"
}

# descendants PID: the processes that it has started, those that these have, ...
descendants() {
	ps -e -o pid=,ppid= | awk -v of="$1" '
		{ parent[$1] = $2 }
		END {
			for (pid in parent)
				for (p = parent[pid]; p in parent; p = parent[p])
					if (p == of) { print pid; break }
		}'
}

# end_processes PID...: asks them to end, and makes those that have not after 10 s.
end_processes() {
	local pid tries=100

	for pid in "$@"; do
		kill "$pid" 2>/dev/null || true
	done
	for pid in "$@"; do
		while [ $tries -gt 0 ] && kill -0 "$pid" 2>/dev/null; do
			sleep 0.1
			tries=$((tries - 1))
		done
		kill -KILL "$pid" 2>/dev/null || true
	done
}

# end_tree PID: ends a process that this script has started, with what that has.
end_tree() {
	# shellcheck disable=SC2046
	end_processes "$1" $(descendants "$1")
}

clean_up() {
	local status=$?
	local pid_file

	# servers are nobody's descendants
	find "$SCRATCH" -name postmaster.pid 2>/dev/null | while read -r pid_file; do
		as_user "$PG_BIN/pg_ctl" -D "$(dirname "$pid_file")" -m immediate -w stop </dev/null >/dev/null 2>&1 || true
	done || true
	# shellcheck disable=SC2046
	end_processes $(descendants $$)
	rm -rf "$SCRATCH"
	exit $status
}

# code_block FILE TEXT: the first block of code of a page that has TEXT, without its fence
code_block() {
	perl -0777 -e '
		my ($file, $wanted) = @ARGV;
		open my $page, "<", $file or die "$file: $!\n";
		for my $block (<$page> =~ /^```\w*\n(.*?)^```/msg)
		{
			next unless index($block, $wanted) >= 0;
			print $block;
			exit 0;
		}
		die "$file has no block with \"$wanted\"\n"' -- "$1" "$2"
}

# has_lines FILE EXPECTED: has it the lines of another file, in that order?  Spaces at the end of a
# line do not count, nor do empty lines.
has_lines() {
	perl -e '
		open my $out, "<", $ARGV[0] or die "$ARGV[0]: $!\n";
		open my $expected, "<", $ARGV[1] or die "$ARGV[1]: $!\n";
		while (my $line = <$expected>)
		{
			$line =~ s/\s+\z//;
			my $found = $line eq "";
			while (!$found && defined(my $got = <$out>)) { $got =~ s/\s+\z//; $found = $got eq $line }
			die "it does not print: $line\n" unless $found;
		}' -- "$1" "$2"
}

# build [make arguments]: builds the copy and installs it.
build() {
	as_user make -s -j"$(nproc)" -C "$SCRATCH/dtm" PG_CONFIG="$PG_CONFIG" "$@"
	as_root make -s -C "$SCRATCH/dtm" PG_CONFIG="$PG_CONFIG" "$@" install >/dev/null
}

# start_cluster NAME [line of postgresql.conf]...: a cluster in SCRATCH/NAME
# that listens on a socket there, and on no network.
start_cluster() {
	local name=$1 line
	local dir=$SCRATCH/$name

	shift
	as_user "$PG_BIN/initdb" -D "$dir" -A trust -U postgres \
		--encoding=UTF8 --locale=C >/dev/null
	{
		echo "unix_socket_directories = '$SCRATCH'"
		echo "listen_addresses = ''"
		for line in "$@"; do echo "$line"; done
	} | as_user tee -a "$dir/postgresql.conf" >/dev/null
	as_user "$PG_BIN/pg_ctl" -D "$dir" -l "$SCRATCH/$name.log" -w start >/dev/null ||
		{ cat "$SCRATCH/$name.log" >&2; return 1; }
}

# run_torture SECONDS SEED [FIGURES]: test/torture.py on two clusters of its own;
# what is built must be installed.
run_torture() {
	local bank status=0

	say "torture for $1 s, seed $2"
	start_cluster torture "shared_preload_libraries = 'dtm'" "max_worker_processes = 20" \
		"max_connections = 100" "max_prepared_transactions = 10" "restart_after_crash = on" "dtm.retry_interval = 100ms" \
		"dtm.retry_interval_max = 1s" "dtm.request_timeout = 1s" "dtm.timeout_to_fail = 3s" \
		"dtm.alert_retry_limit = 1000000" "dtm.max_requests_per_host = 100" "log_min_messages = warning"
	# a port of its own: sockets of both are in one directory
	start_cluster banks "port = 5433" "max_connections = 300" "log_min_messages = panic"
	for bank in bank_a bank_b bank_c; do
		as_user "$PG_BIN/createdb" -h "$SCRATCH" -p 5433 -U postgres "$bank"
	done
	as_user /usr/bin/python3 "$SCRATCH/dtm/test/torture.py" "$PG_BIN" \
		"$SCRATCH/torture" "host=$SCRATCH user=postgres dbname=postgres" \
		"$SCRATCH/banks" "host=$SCRATCH port=5433 user=postgres" "$@" || status=$?
	[ $status = 0 ] || grep -E 'PANIC|TRAP|FATAL|ERROR|WARNING' "$SCRATCH/torture.log" | tail -60 || true
	return $status
}

# run_fuzz SECONDS: each fuzz target for so long on its seeds, and for half of that
# on such as become as large as may be (test/fuzz/swell.h).
run_fuzz() {
	local folder=$SCRATCH/dtm/test/fuzz target status=0

	as_user mkdir "$SCRATCH/artifacts"

	as_user make -s -C "$folder" PG_CONFIG="$PG_CONFIG" CLANG=clang-14 || return 1
	as_user "$PG_BIN/initdb" -D "$SCRATCH/fuzz" -A trust -U postgres --encoding=UTF8 --locale=C >/dev/null
	cd "$folder"
	for target in url address reply request branch steps option jsonrpc wire_url; do
		fuzz_one "$target" "$1" corpus || status=1
		DTM_FUZZ_SWELL=1 fuzz_one "$target" $((($1 + 1) / 2)) large || status=1
	done
	cd "$SCRATCH/dtm/gateway"
	as_user make -s -j"$(nproc)" PG_CONFIG="$PG_CONFIG" CLANG=clang-14 fuzz || return 1
	for target in h1 json grpc h2; do
		as_user mkdir "$SCRATCH/new_gateway_$target"
		if as_user "./fuzz_$target" -max_total_time="$1" -timeout=20 -rss_limit_mb=2000 \
			-artifact_prefix="$SCRATCH/artifacts/" "$SCRATCH/new_gateway_$target" \
			"fuzz/corpus/$target" >"$SCRATCH/fuzz_gateway_$target.log" 2>&1; then
			echo "ok - fuzz gateway $target: $(grep -o '^Done [0-9]* runs' "$SCRATCH/fuzz_gateway_$target.log")"
		else
			echo "not ok - fuzz gateway $target"
			tail -30 "$SCRATCH/fuzz_gateway_$target.log"
			status=1
		fi
	done
	cd "$SCRATCH"
	return $status
}

# fuzz_one TARGET SECONDS FOLDER: in a program of its own, or in a backend
fuzz_one() {
	local new=$SCRATCH/new_$1_$3 log=$SCRATCH/fuzz_$1_$3.log
	local limits="-max_total_time=$2 -timeout=10 -rss_limit_mb=2000 -dict=$PWD/json.dict -artifact_prefix=$SCRATCH/artifacts/"

	as_user mkdir "$new"
	if [ -x "fuzz_$1" ]; then
		# shellcheck disable=SC2086
		as_user "./fuzz_$1" $limits "$new" "$3/$1" >"$log" 2>&1 || true
	else
		printf '%s\n' "CREATE OR REPLACE FUNCTION fuzz(text[]) RETURNS void AS '$PWD/fuzz_server.so' LANGUAGE C;" \
			"SELECT fuzz('{$1,$(echo "$limits $new $PWD/$3/$1" | tr ' ' ,)}');" |
			as_user "$PG_BIN/postgres" --single -D "$SCRATCH/fuzz" postgres >"$log" 2>&1 || true
	fi
	# a backend in single-user mode says nothing of its end; this does
	if grep -q '^Done [1-9]' "$log"; then
		echo "ok - fuzz $1 ($3): $(grep -o '^Done [0-9]* runs' "$log")"
		return 0
	fi
	echo "not ok - fuzz $1 ($3)"
	tail -30 "$log"
	return 1
}
