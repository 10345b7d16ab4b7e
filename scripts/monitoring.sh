#!/usr/bin/env bash
# Tries what is in monitoring/ with Debian's Prometheus, postgres_exporter and sql_exporter, against a
# server and dtm-gateway: the exporters have the metrics of the view, each rule fires when its
# condition is made real, and each query of the dashboard has an answer.
#
#	scripts/monitoring.sh
#
# The programs are taken from their packages, which are not installed: nothing is started that stays.
. "$(dirname "$0")/common.sh"

packages=(prometheus prometheus-postgres-exporter prometheus-sql-exporter)

install build-essential "postgresql-$PG_MAJOR" "postgresql-server-dev-$PG_MAJOR" \
	libcurl4-openssl-dev libpq-dev libnghttp2-dev libssl-dev ca-certificates python3 procps util-linux
make_scratch
say "fetching ${packages[*]}"
mkdir "$SCRATCH/packages" "$SCRATCH/programs"
(
	cd "$SCRATCH/packages"
	apt-get download -q "${packages[@]}" >/dev/null 2>&1 || {
		as_root apt-get update -q >/dev/null
		apt-get download -q "${packages[@]}" >/dev/null
	}
)
for package in "$SCRATCH"/packages/*.deb; do
	dpkg-deb -x "$package" "$SCRATCH/programs"
done
programs=$SCRATCH/programs/usr/bin

say "rules"
"$programs/promtool" check rules "$SCRATCH/dtm/monitoring/dtm-rules.yml"
(cd "$SCRATCH/dtm/monitoring" && "$programs/promtool" check config dtm-prometheus.yml)
(cd "$SCRATCH/dtm/test/monitoring" && "$programs/promtool" test rules dtm-rules_test.yml)

say "building"
build
as_user make -s -j"$(nproc)" -C "$SCRATCH/dtm/gateway" PG_CONFIG="$PG_CONFIG"
start_cluster monitored "shared_preload_libraries = 'dtm'" "listen_addresses = '127.0.0.1'" \
	"max_worker_processes = 16" "max_prepared_transactions = 5" "log_min_messages = error" \
	"dtm.retry_interval = 50ms" "dtm.retry_interval_max = 500ms" "dtm.alert_retry_limit = 3" \
	"dtm.stuck_after = 1s" "dtm.breaker_failures = 3" "dtm.sql_workers = 3" \
	"port = $((20000 + RANDOM % 10000))"

say "real conditions"
as_user /usr/bin/python3 "$SCRATCH/dtm/test/monitoring/monitoring.py" "$PG_BIN" "$SCRATCH" "$programs"
