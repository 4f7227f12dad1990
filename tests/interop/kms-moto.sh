#!/usr/bin/env bash
# Runs the contract tests of the local KMS against moto, a third party's KMS,
# so that the contract isn't only our own idea of AWS.
#
# Needs: go, python3 with venv, and a Python package index. It writes only
# below ./var/interop and ends what it started.
set -euo pipefail
cd "$(dirname "$0")/../.."

# The list of known differences in infra/kms/contract_differences_test.go is
# for this very version.
version=5.2.5
here=$PWD/var/interop
venv=$here/venv
mkdir -p "$here"

[ -x "$venv/bin/pip" ] || python3 -m venv "$venv"
if ! "$venv/bin/pip" show moto 2>/dev/null | grep -qx "Version: $version" || [ ! -x "$venv/bin/moto_server" ]; then
	"$venv/bin/pip" install --quiet --disable-pip-version-check "moto[server]==$version"
fi

log=$(mktemp "$here/moto.XXXXXX.log")
"$venv/bin/moto_server" -H 127.0.0.1 -p 0 >"$log" 2>&1 &
server=$!
finish() {
	kill "$server" 2>/dev/null || true
	wait "$server" 2>/dev/null || true
	rm -f "$log"
}
trap finish EXIT

# The server takes a free port and tells which in its log.
endpoint=
for _ in $(seq 150); do
	endpoint=$(grep -om1 'http://127\.0\.0\.1:[0-9]*' "$log" || true)
	[ -n "$endpoint" ] && break
	if ! kill -0 "$server" 2>/dev/null; then break; fi
	sleep 0.2
done
if [ -z "$endpoint" ]; then
	echo "couldn't start moto_server; it said:" >&2
	cat "$log" >&2
	exit 1
fi

echo "contract of the KMS against moto $version at $endpoint"
go -C infra test ./kms -count=1 -run Contract -kms.endpoint="$endpoint" -kms.differences="moto-$version" "$@"
