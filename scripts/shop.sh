#!/usr/bin/env bash
# The example application, examples/shop, driven in headless Chromium: installs what is
# missing, builds and starts all of it, and orders.  Ends with one line: N passed, N failed.
#
# SHOP_CACHE=folder keeps the downloads for the next run; SHOP_PICTURES=folder gets
# pictures of the page.  The ordinary user must be able to write in both.
exec bash "$(dirname "$0")/../examples/shop/run.sh" --test
