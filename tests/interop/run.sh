#!/usr/bin/env bash
# Uses the local stack as strangers do: signings from TypeScript and Python with plain JSON, their evidence checked with unzip,
# sha256sum, openssl, the EU's DSS (their renewals too), veraPDF and the page in a browser, PDFs of strangers signed and judged by
# pyHanko as well, its lock tried with Amazon's own SDK, and our KMS held to a third party's.
#
# Needs, and checks: go, node 20 and npm, python 3.10 with venv, java 17 and maven, unzip, openssl 3 (Debian: golang nodejs npm python3
# python3-venv default-jdk-headless maven unzip openssl poppler-utils coreutils chromium), and registries for npm, Python and Maven packages. It writes only below
# ./var/interop and where Maven keeps what it downloads, and ends what it started.
set -uo pipefail
cd "$(dirname "$0")/../.."
repo=$PWD interop=$PWD/tests/interop here=$PWD/var/interop
export PYTHONDONTWRITEBYTECODE=1 PIP_DISABLE_PIP_VERSION_CHECK=1

for need in go:golang node:nodejs npm:npm python3:python3 javac:default-jdk-headless mvn:maven unzip:unzip zipinfo:unzip openssl:openssl sha256sum:coreutils timeout:coreutils chromium:chromium pdftotext:poppler-utils; do
	command -v "${need%%:*}" >/dev/null || { echo "${need%%:*} is missing; on Debian: apt-get install ${need#*:}" >&2; exit 2; }
done
python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "$(python3 --version) is too old; 3.10 or later is needed" >&2; exit 2; }
python3 -c 'import ensurepip, venv' 2>/dev/null || { echo "python3 has no venv; on Debian: apt-get install python3-venv" >&2; exit 2; }
node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' || { echo "node is $(node --version); 20 or later is needed" >&2; exit 2; }

mkdir -p "$here/bin" || exit 2
run=$(mktemp -d "$here/run.XXXXXX") || exit 2
stack_pid='' workers_pid=''
finish() {
	# The workers first: they would only complain about a stack that is gone.
	for pid in $workers_pid $stack_pid; do
		kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
	done
	rm -rf "$run"
}
trap finish EXIT
trap 'exit 130' INT TERM

# step NAME COMMAND...: shows what it prints and keeps its lines for the count. A command that fails without saying which
# check failed is a failed check itself.
step() {
	local name=$1 before after rc
	shift
	echo "== $name"
	before=$(grep -c '^FAIL ' "$run/lines")
	timeout --foreground --kill-after=10 1500 "$@" 2>&1 | tee -a "$run/lines"
	rc=${PIPESTATUS[0]}
	after=$(grep -c '^FAIL ' "$run/lines")
	if [ "$rc" -ne 0 ] && [ "$after" -eq "$before" ]; then line "FAIL $name: exit code $rc"; fi
	return "$rc"
}

line() { echo "$1" | tee -a "$run/lines"; }

# whole NAME COMMAND...: a step that counts as one check.
whole() { if step "$@"; then line "ok   $1"; fi; }

# quietly WHAT COMMAND...: a preparation. Without it there is nothing to check.
quietly() {
	local what=$1
	shift
	"$@" >"$run/log" 2>&1 || { cat "$run/log" >&2; echo "couldn't $what" >&2; exit 1; }
}

# ready FILE PATTERN PID: waits until a process that we started has written the pattern.
ready() {
	for _ in $(seq 600); do
		grep -q "$2" "$1" && return 0
		kill -0 "$3" 2>/dev/null || return 1
		sleep 0.1
	done
	return 1
}

: >"$run/lines"
python=$here/python/bin/python typescript=$here/typescript devstack=$here/bin/devstack data=$run/stack

echo "== preparing"
quietly "build the workers" go build -o "$here/bin/workers" ./workers
quietly "build the local stack" go -C infra build -o "$devstack" ./devstack
[ -x "$python" ] || quietly "make a virtual environment" python3 -m venv "$here/python"
quietly "install the Python packages" "$python" -m pip install --quiet --requirement "$interop/python/requirements.txt"
mkdir -p "$typescript" && rm -rf "$typescript/src" "$typescript/dist"
cp -R "$interop/typescript/." "$typescript/"
quietly "install the npm packages" npm --prefix "$typescript" ci --no-progress
quietly "compile the TypeScript" npm --prefix "$typescript" run build

"$devstack" --data "$data" --json >"$run/stack.json" 2>"$run/stack.log" &
stack_pid=$!
ready "$run/stack.json" '"temporal"' "$stack_pid" || { cat "$run/stack.log" >&2; echo "couldn't start the local stack" >&2; exit 1; }
address=$("$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["temporal"]["address"])' "$run/stack.json")
AWS_SHARED_CREDENTIALS_FILE=$data/aws/credentials AWS_EC2_METADATA_DISABLED=true \
	"$here/bin/workers" --temporal "$address" --tenants "$data/tenants" --platform "$data/platform" 2>"$run/workers.log" &
workers_pid=$!
ready "$run/workers.log" '"message":"ready"' "$workers_pid" || { cat "$run/workers.log" >&2; echo "couldn't start the workers" >&2; exit 1; }

for sdk in typescript python; do
	quietly "put a document" "$python" "$interop/python/storage.py" put "$data" tests/testdata/contract.pdf "$interop/request.json" "interop-$sdk" "$run/$sdk.json"
done
step "a signing from TypeScript" node "$typescript/dist/main.js" "$devstack" "$data" "$run/typescript.json" "$interop/decision.json" "$run/typescript-ending.json"
step "a signing from Python" "$python" "$interop/python/main.py" "$devstack" "$data" "$run/python.json" "$interop/decision.json" "$run/python-ending.json"

for sdk in typescript python; do
	if step "the evidence of $sdk" "$python" "$interop/python/storage.py" get "$data" "$run/$sdk-ending.json" "$run/$sdk.asice"; then
		step "the evidence of $sdk with strangers' tools" "$interop/bundle.sh" "$run/$sdk.asice" "$data/ca/tenant-ca.pem" "$data/ca/tsa-ca.pem" "$data/ca/acme-postquantum.pem"
	fi
done
golden=tests/golden/histories/v0.1.0
step "DSS agrees" "$interop/dss/dss.sh" "$run/typescript.asice" "$data/ca/tenant-ca.pem" "$data/ca/tsa-ca.pem" \
	"$golden/completed.asice" "$golden/tenant-ca.pem" "$golden/tsa-ca.pem"
step "DSS's own samples" "$interop/dss/samples.sh" "$golden/completed.asice" "$golden/tenant-ca.pem" "$golden/tsa-ca.pem"
if step "evidence records" "$python" "$interop/python/renewal.py" "$devstack" "$data" "$run/records" "$run/typescript-ending.json" "$run/python-ending.json"; then
	step "DSS agrees about evidence records" "$interop/dss/records.sh" "$run/records" "$data/ca/tenant-ca.pem" "$data/ca/tsa-ca.pem" "$golden/completed.asice" "$golden/tenant-ca.pem" "$golden/tsa-ca.pem"
fi
step "veraPDF takes certificates" "$interop/verapdf/verapdf.sh" "$run/typescript.asice" "$data/ca/tenant-ca.pem" "$data/ca/tsa-ca.pem" \
	"$golden/completed.asice" "$golden/tenant-ca.pem" "$golden/tsa-ca.pem"
tsa=$("$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["tsa"]["url"])' "$run/stack.json")
step "PDFs of strangers" "$interop/pades/pades.sh" "$tsa" "$data/ca/tsa-ca.pem" "$here/pades"
step "vectors, by a second implementation" "$python" "$interop/python/verifier/vectors.py" tests/vectors "$run/typescript.asice" "$run/python.asice"
step "the page, without a network" "$interop/page/page.sh"
step "the lock" "$python" "$interop/python/storage.py" lock "$data" "$run/typescript-ending.json"
whole "the KMS contract holds for moto, too" "$interop/kms-moto.sh"
step "extracts of the documentation" "$python" "$interop/extracts.py" "$repo" docs/sdk.md

passed=$(grep -c '^ok   [^ ]' "$run/lines") failed=$(grep -c '^FAIL ' "$run/lines")
echo
grep '^FAIL ' "$run/lines"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
