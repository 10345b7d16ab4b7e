#!/usr/bin/env bash
# Moves money while processes are killed, servers restarted and participants fail
# (test/torture.py says how), and sees whether it is all there in the end.
#
#	scripts/torture.sh [minutes] [seed]	(default: 5, and a seed by chance)
#
# The seed determines what the adversary does, though not when it meets what.
. "$(dirname "$0")/common.sh"

minutes=${1:-5}
seed=${2:-$((RANDOM * 32768 + RANDOM))}
install build-essential "postgresql-$PG_MAJOR" "postgresql-server-dev-$PG_MAJOR" \
	libcurl4-openssl-dev ca-certificates python3-psycopg2 procps util-linux
make_scratch
say "building dtm for PostgreSQL $PG_MAJOR, with assertions"
build CASSERT=1
run_torture "$(awk "BEGIN { print $minutes * 60 }")" "$seed" "$SCRATCH/figures.json"
