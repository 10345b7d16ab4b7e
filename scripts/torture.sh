#!/usr/bin/env bash
# Moves money while processes are killed, servers are restarted and
# participants fail (see test/torture.py), and checks the accounts at the end.
#
#	scripts/torture.sh [minutes] [seed]	(default: 5, and a seed by chance)
#
# The seed determines the choices of the adversary, but not their timing.
. "$(dirname "$0")/common.sh"

minutes=${1:-5}
seed=${2:-$((RANDOM * 32768 + RANDOM))}
install build-essential "postgresql-$PG_MAJOR" "postgresql-server-dev-$PG_MAJOR" \
	libcurl4-openssl-dev ca-certificates python3-psycopg2 procps util-linux
make_scratch
say "building dtm for PostgreSQL $PG_MAJOR, with assertions"
build CASSERT=1
run_torture "$(awk "BEGIN { print $minutes * 60 }")" "$seed" "$SCRATCH/figures.json"
