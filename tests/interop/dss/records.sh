#!/usr/bin/env bash
# Asks the EU's DSS and `verifier --renewal` about evidence records of bundles and about DSS's own, valid and broken, and compares the answers; see records.py.
#
#   records.sh RECORDS TENANT_CA TSA_CA OTHER_BUNDLE OTHER_TENANT_CA OTHER_TSA_CA
#
# DSS's samples are in the test archives that it publishes beside itself (LGPL 2.1). They are read where Maven keeps them, and are no part of this
# repository. Needs what dss.sh needs.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ $# -eq 6 ] || { echo "usage: records.sh RECORDS TENANT_CA TSA_CA OTHER_BUNDLE OTHER_TENANT_CA OTHER_TSA_CA" >&2; exit 2; }
for need in javac:default-jdk-headless mvn:maven go:golang python3:python3; do
	command -v "${need%%:*}" >/dev/null || { echo "${need%%:*} is missing; on Debian: apt-get install ${need#*:}" >&2; exit 2; }
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
maven() { mvn --batch-mode --quiet --file "$here/pom.xml" "$@" >"$work/log" 2>&1; }
classpath() { maven "$@" dependency:build-classpath -Dmdep.outputFile="$work/classpath"; }
version=$(sed -n 's:.*<dss.version>\(.*\)</dss.version>.*:\1:p' "$here/pom.xml")
samples() {
	for artifact in dss-evidence-record-asn1 dss-evidence-record-xml dss-asic-cades dss-cades; do
		maven "$@" dependency:copy -Dartifact="eu.europa.ec.joinup.sd-dss:$artifact:$version:jar:tests" -DoutputDirectory="$work/samples" || return
	done
}
# Offline first: what is in Maven's cache never changes.
classpath --offline || classpath || { cat "$work/log" >&2; echo "couldn't get DSS from Maven Central" >&2; exit 1; }
samples --offline || samples || { cat "$work/log" >&2; echo "couldn't get DSS's samples from Maven Central" >&2; exit 1; }
mkdir "$work/bin" "$work/classes"
go -C "$here" build -o "$work/bin/verifier" github.com/countersign-dev/countersign/verifier
go -C "$here" build -o "$work/bin/renewals" ./renewals
javac -cp "$(<"$work/classpath")" -d "$work/classes" "$here/Main.java" "$here/Records.java"
python3 "$here/records.py" "$work/classes:$(<"$work/classpath")" "$work/bin" "$work" "$@"
