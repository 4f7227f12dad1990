#!/usr/bin/env bash
# Makes certificates of evidence bundles, and asks strangers' tools about them: veraPDF whether they are PDF/A-3a and PDF/UA-1 as they say, pdftotext
# whether they read in order, pdfdetach whether the twin is in them.
#
#   verapdf.sh BUNDLE TENANT_CA TSA_CA [BUNDLE TENANT_CA TSA_CA]...
#
# Needs: a JDK 17 or later and maven (Debian: default-jdk-headless maven), go, poppler-utils. veraPDF comes from Maven Central, the first time. It writes
# only where Maven keeps what it downloads, and to a temporary directory.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

if [ $# -eq 0 ] || [ $(($# % 3)) -ne 0 ]; then
	echo "usage: verapdf.sh BUNDLE TENANT_CA TSA_CA [BUNDLE TENANT_CA TSA_CA]..." >&2
	exit 2
fi
for need in javac:default-jdk-headless mvn:maven go:golang pdftotext:poppler-utils pdfdetach:poppler-utils; do
	command -v "${need%%:*}" >/dev/null || { echo "${need%%:*} is missing; on Debian: apt-get install ${need#*:}" >&2; exit 2; }
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
classpath() { mvn --batch-mode --quiet --file "$here/pom.xml" "$@" dependency:build-classpath -Dmdep.outputFile="$work/classpath" >"$work/log" 2>&1; }
# Offline first: what is in Maven's cache never changes.
classpath --offline || classpath || { cat "$work/log" >&2; echo "couldn't get veraPDF from Maven Central" >&2; exit 1; }
javac -cp "$(<"$work/classpath")" -d "$work" "$here/Main.java"
go -C "$here" build -o "$work/countersign" github.com/countersign-dev/countersign/starter

failed=0
check() {
	local name=$1
	shift
	if "$@"; then echo "ok   certificate: $name"; else failed=$((failed + 1)); echo "FAIL certificate: $name"; fi
}
# in_order FILE WORDS...: each stands in the text after the one before it.
in_order() {
	local text=$1 word
	text=$(<"$text")
	shift
	for word in "$@"; do
		case $text in *"$word"*) text=${text#*"$word"} ;; *) echo "     missing, or out of order: $word" >&2; return 1 ;; esac
	done
}

asked=() n=0
while [ $# -gt 0 ]; do
	n=$((n + 1)) bundle=$1 ca=$2 tsa=$3
	shift 3
	for time in first again; do
		"$work/countersign" audit certificate "$bundle" --tenant-ca "$ca" --tsa-ca "$tsa" --output "$work/$n-$time.pdf" --twin "$work/$n.json" >/dev/null
	done
	check "$n: the same bundle is the same bytes" cmp -s "$work/$n-first.pdf" "$work/$n-again.pdf"
	pdftotext "$work/$n-first.pdf" "$work/$n.txt"
	check "$n: it reads in order" in_order "$work/$n.txt" "reading aid" "$(sha256sum "$bundle" | cut -c 1-64)" Outcome Document "Who decided" "Decision 1" "Under which authority" "Quorum and plan" "Controls that were active" "Time-stamps, key and log" "What was verified" "How to check it"
	pdfdetach -save 1 -o "$work/$n.attached" "$work/$n-first.pdf" >/dev/null
	check "$n: the twin is in it" cmp -s "$work/$n.json" "$work/$n.attached"
	# The controls are told from it by a byte or two: no structure is promised, and a name is not in the place where its character is.
	sed 's/Marked true/Marked null/' "$work/$n-first.pdf" >"$work/$n-unmarked.pdf"
	sed 's|<pdfaid:conformance>A<|<pdfaid:conformance>Z<|' "$work/$n-first.pdf" >"$work/$n-other.pdf"
	asked+=(3a "$work/$n-first.pdf" ua1 "$work/$n-first.pdf" 3a "$work/$n-unmarked.pdf" ua1 "$work/$n-unmarked.pdf" 3a "$work/$n-other.pdf")
done
java -cp "$work:$(<"$work/classpath")" Main "${asked[@]}" >"$work/answers"
while read -r flavour file answer why; do
	file=$(basename "$file" .pdf)
	case $file in
	*-first) check "$file: veraPDF says $answer of $flavour $why" test "$answer" = true ;;
	*) check "control: $file: veraPDF says $answer of $flavour" test "$answer" = false ;;
	esac
done <"$work/answers"
check "veraPDF answered everything" test "$(wc -l <"$work/answers")" -eq $((${#asked[@]} / 2))
[ "$failed" -eq 0 ]
