#!/usr/bin/env bash
# Runs the demo as a newcomer does and checks what it leaves with strangers' tools. A second run, which finds everything built and started
# before, signs another file and may take 20 s at most.
#
# Needs: go, make, and what bundle.sh needs. It writes only below ./var.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 2
demo=var/demo file=tests/testdata/contract.pdf limit=20
log=$(mktemp)
scratch=$(mktemp -d)
trap 'rm -rf "$log" "$scratch"' EXIT

failed() { echo "FAIL demo: $1"; exit 1; }

# ran ARGUMENT...: one run of the demo. What an earlier one left is taken away first: it would prove nothing.
ran() {
	rm -f "$demo"/{evidence.asice,resale.asice,tenant-ca.pem,tsa-ca.pem,acme-postquantum.pem,history.json}
	make --no-print-directory demo ONCE=1 "$@" </dev/null 2>&1 | tee "$log" || failed "make demo ONCE=1 $*"
	for left in evidence.asice resale.asice tenant-ca.pem tsa-ca.pem acme-postquantum.pem history.json; do
		[ -s "$demo/$left" ] || failed "$demo/$left is not there"
	done
	for where in API 'Temporal UI' mailbox; do
		grep -q "^ *$where  *http://" "$log" || failed "it doesn't print the address: $where"
	done
	python3 -m json.tool "$demo/history.json" >/dev/null || failed "$demo/history.json is not JSON"
	for bundle in evidence resale; do
		tests/interop/bundle.sh "$demo/$bundle.asice" "$demo/tenant-ca.pem" "$demo/tsa-ca.pem" "$demo/acme-postquantum.pem" || failed "$bundle.asice under strangers' tools"
	done
	grep -q 'Rona Ruud, .* Refused (grant-is-in-force)' "$log" || failed "it doesn't tell that a revoked grant's decision was refused"
}

ran
ran "PDF=$file"
# The signed PDF begins with the file.
unzip -p "$demo/evidence.asice" document-signed.pdf >"$scratch/signed.pdf" && cmp -n "$(stat -c %s "$file")" "$scratch/signed.pdf" "$file" || failed "the evidence doesn't hold the file that was given"
# The README's own commands, as they stand there, beside a var/ of their own.
ln -s "$PWD/var" "$scratch/var"
awk '/^```/ { inside = !inside; next } inside && /^unzip / { found = 1 } inside && found { print } !inside && found { exit }' README.md >"$scratch/commands"
grep -q 'openssl ts -verify' "$scratch/commands" || failed "the README shows no openssl ts -verify"
(cd "$scratch" && bash -euo pipefail ./commands) || failed "the README's commands"
seconds=$(sed -n 's/^Done in \([0-9.]*\) s\..*/\1/p' "$log")
[ -n "$seconds" ] || failed "it doesn't say how long it took"
awk -v took="$seconds" -v limit="$limit" 'BEGIN { exit !(took <= limit) }' || failed "the second run took $seconds s, at most $limit s are allowed"
echo "ok   demo: two runs, evidence checked, the second in $seconds s (at most $limit s)"
