#!/bin/bash
# Run once, when the cluster is initialized: creates the extension in POSTGRES_DB, and
# with DTM_GATEWAY_PASSWORD (or a file with it, DTM_GATEWAY_PASSWORD_FILE) lets the
# gateway log in.
set -eu

password=${DTM_GATEWAY_PASSWORD:-}
[ -z "${DTM_GATEWAY_PASSWORD_FILE:-}" ] || password=$(<"$DTM_GATEWAY_PASSWORD_FILE")

query() {
	psql -X -q -v ON_ERROR_STOP=1 --no-password -U "$POSTGRES_USER" -d "$POSTGRES_DB" "$@"
}

query -c 'CREATE EXTENSION dtm'
[ -z "$password" ] || query -v password="$password" <<<"ALTER ROLE dtm_gateway LOGIN PASSWORD :'password'"
