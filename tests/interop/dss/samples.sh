#!/usr/bin/env bash
# Gives DSS's own samples of containers and signatures, valid and broken, and the bundles of our vectors, whole and forged, to DSS and to
# `countersign audit verify`, and compares the answers; see samples.py and forged.py.
#
#   samples.sh BUNDLE TENANT_CA TSA_CA
#
# The samples are in the test archives that DSS publishes beside itself (LGPL 2.1). They are read where Maven keeps them, and are no part of this
# repository. Needs what dss.sh needs.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ $# -eq 3 ] || { echo "usage: samples.sh BUNDLE TENANT_CA TSA_CA" >&2; exit 2; }
for need in javac:default-jdk-headless mvn:maven go:golang python3:python3; do
	command -v "${need%%:*}" >/dev/null || { echo "${need%%:*} is missing; on Debian: apt-get install ${need#*:}" >&2; exit 2; }
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
maven() { mvn --batch-mode --quiet --file "$here/pom.xml" "$@" >"$work/log" 2>&1; }
classpath() { maven "$@" dependency:build-classpath -Dmdep.outputFile="$work/classpath"; }
version=$(sed -n 's:.*<dss.version>\(.*\)</dss.version>.*:\1:p' "$here/pom.xml")
samples() {
	for artifact in dss-asic-cades dss-cades; do
		maven "$@" dependency:copy -Dartifact="eu.europa.ec.joinup.sd-dss:$artifact:$version:jar:tests" -DoutputDirectory="$work/samples" || return
	done
}
# Offline first: what is in Maven's cache never changes.
classpath --offline || classpath || { cat "$work/log" >&2; echo "couldn't get DSS from Maven Central" >&2; exit 1; }
samples --offline || samples || { cat "$work/log" >&2; echo "couldn't get DSS's samples from Maven Central" >&2; exit 1; }
go -C "$here" build -o "$work/countersign" github.com/countersign-dev/countersign/starter
failed=0
python3 "$here/samples.py" "$(<"$work/classpath")" "$work/countersign" "$work" "$@" || failed=1
python3 "$here/forged.py" "$(<"$work/classpath")" "$work/countersign" "$work/forged" "$here/../../vectors" || failed=1
exit "$failed"
