#!/usr/bin/env bash
# Asks the EU's DSS and `countersign audit verify` about evidence bundles, whole and broken, and compares the answers; see agree.py.
#
#   dss.sh BUNDLE TENANT_CA TSA_CA [BUNDLE TENANT_CA TSA_CA]...
#
# Needs: a JDK 17 or later and maven (Debian: default-jdk-headless maven), go, python3. DSS comes from Maven Central, the first time. It writes
# only where Maven keeps what it downloads, and to a temporary directory.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

if [ $# -eq 0 ] || [ $(($# % 3)) -ne 0 ]; then
	echo "usage: dss.sh BUNDLE TENANT_CA TSA_CA [BUNDLE TENANT_CA TSA_CA]..." >&2
	exit 2
fi
for need in javac:default-jdk-headless mvn:maven go:golang python3:python3; do
	command -v "${need%%:*}" >/dev/null || { echo "${need%%:*} is missing; on Debian: apt-get install ${need#*:}" >&2; exit 2; }
done
[ "$(javac -version 2>&1 | grep -oE '[0-9]+' | head -n 1)" -ge 17 ] || { echo "$(javac -version 2>&1) is too old; 17 or later is needed" >&2; exit 2; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
classpath() { mvn --batch-mode --quiet --file "$here/pom.xml" "$@" dependency:build-classpath -Dmdep.outputFile="$work/classpath" >"$work/log" 2>&1; }
# Offline first: what is in Maven's cache never changes.
classpath --offline || classpath || { cat "$work/log" >&2; echo "couldn't get DSS from Maven Central" >&2; exit 1; }
go -C "$here" build -o "$work/countersign" github.com/countersign-dev/countersign/starter
python3 "$here/agree.py" "$(<"$work/classpath")" "$work/countersign" "$work/cases" "$@"
