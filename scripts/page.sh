#!/usr/bin/env bash
# The page for operators in a browser: builds, starts a server with transactions in all
# states, and drives headless Chromium through the page (test/page.py).  The last line
# is: N passed, N failed.
#
#	scripts/page.sh [--pictures] [--serve]
#
# --pictures: the screenshots of docs/page.md are made anew, in docs/images.
# --serve: the page stays there to be looked at, until Ctrl-C.
. "$(dirname "$0")/common.sh"

pictures=
serve=
for argument in "$@"; do
	case $argument in
	--pictures) pictures=yes ;;
	--serve) serve=--serve ;;
	*) echo "unknown argument: $argument" >&2; exit 2 ;;
	esac
done

install build-essential "postgresql-$PG_MAJOR" "postgresql-server-dev-$PG_MAJOR" libcurl4-openssl-dev \
	ca-certificates libpq-dev libnghttp2-dev libssl-dev procps util-linux python3-aiohttp python3-psycopg2 \
	chromium chromium-driver python3-selenium python3-pil fonts-dejavu-core
make_scratch

say "building dtm and its gateway for PostgreSQL $PG_MAJOR"
build WERROR=1 CASSERT=1
as_user make -s -j"$(nproc)" -C "$SCRATCH/dtm/gateway" PG_CONFIG="$PG_CONFIG" WERROR=1

say "starting a cluster"
start_cluster page "shared_preload_libraries = 'dtm'" "max_prepared_transactions = 10" "dtm.alert_retry_limit = 3" \
	"dtm.retry_interval = 1s" "dtm.retry_interval_max = 20s" "dtm.request_timeout = 10min" "max_worker_processes = 20" \
	"dtm.breaker_failures = 5"

say "driving the page"
status=0
as_user mkdir "$SCRATCH/images"
as_user /usr/bin/python3 "$SCRATCH/dtm/test/page.py" --gateway "$SCRATCH/dtm/gateway/dtm-gateway" \
	--database "host=$SCRATCH user=postgres dbname=postgres" --gateway-database "host=$SCRATCH user=dtm_gateway dbname=postgres" \
	--folder "$SCRATCH/images" $serve | tee "$SCRATCH/page.out" || status=$?
if [ -n "$pictures" ]; then
	mkdir -p "$TOP/docs/images"
	for picture in $(grep -oE 'images/page-[a-z-]+\.png' "$TOP/docs/page.md" | sort -u); do
		cp "$SCRATCH/$picture" "$TOP/docs/images/" || status=1
	done
fi
passed=$(grep -c '^ok ' "$SCRATCH/page.out" || true)
failed=$(grep -c '^not ok ' "$SCRATCH/page.out" || true)
[ $status = 0 ] || [ "$failed" -gt 0 ] || failed=1
printf '\n%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
