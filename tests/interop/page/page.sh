#!/usr/bin/env bash
# Builds the verifier, for this machine and for a browser, and runs the page in Chromium without a network; see page.mjs.
#
#   page.sh [SCREENSHOTS]
#
# Needs: go, node 20 and npm, chromium (Debian: golang nodejs npm chromium). It writes below ./var/interop/page and, where named, screenshots.
set -euo pipefail
cd "$(dirname "$0")/../../.."
here=$PWD/var/interop/page
mkdir -p "$here"
cp tests/interop/page/package.json tests/interop/page/package-lock.json tests/interop/page/page.mjs "$here/"
npm --prefix "$here" ci --no-progress --silent
CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o "$here/verifier" ./verifier
go run ./verifier/page -o "$here/verifier.html"
offline=()
if unshare --user --map-root-user --net true 2>/dev/null; then offline=(unshare --user --map-root-user --net); else echo '     page: this kernel gives no namespace without a network, so the network stays on'; fi
"${offline[@]}" node "$here/page.mjs" "$here/verifier.html" "$here/verifier" tests/vectors "$@"
