#!/usr/bin/env bash
# Feeds the parsers of what comes from outside with what a fuzzer makes of the
# seeds in test/fuzz/corpus, and stops at a crash, a read beyond an end, or an
# error that is none of the input's; and with what it makes of those in
# test/fuzz/large, which are made as large as may be (test/fuzz/swell.h), and
# stops at one that takes too long.
#
#	scripts/fuzz.sh [seconds for each target]	(default: 60; half of that for large ones)
#
# The input of a crash is left in the current directory.  Add it to the corpus
# when the defect is fixed.
. "$(dirname "$0")/common.sh"

artifacts=$PWD
install build-essential "postgresql-$PG_MAJOR" "postgresql-server-dev-$PG_MAJOR" \
	libcurl4-openssl-dev clang-14 libclang-rt-14-dev procps util-linux
make_scratch
run_fuzz "${1:-60}" || {
	cp "$SCRATCH"/artifacts/* "$artifacts" 2>/dev/null || true
	exit 1
}
