#!/usr/bin/env bash
# Signs PDFs that strangers made, most with a visible seal, and has strangers look at them: pyHanko with its difference analysis, openssl, veraPDF, the EU's DSS, and pdfsig where
# it is installed. None of the PDFs is in this repository: they come from pdfcpu's samples (in Go's module cache), from the sources of pikepdf
# and pypdf (PyPI), and from documentation of Debian, where this runs on it.
#
#   pades.sh TSA_URL TSA_CA WORK
#
# WORK is kept: what was downloaded into it is not downloaded again. Needs what run.sh needs.
set -uo pipefail
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
if [ $# -ne 3 ]; then
	echo "usage: pades.sh TSA_URL TSA_CA WORK" >&2
	exit 2
fi
tsa=$1 tsa_ca=$2
mkdir -p "$3" && work=$(cd "$3" && pwd) || exit 2
python=$work/python/bin/python out=$work/out
passed=0 failed=0
pass() { passed=$((passed + 1)); echo "ok   pades: $1"; }
fail() { failed=$((failed + 1)); echo "FAIL pades: $1"; }
quietly() {
	local what=$1
	shift
	"$@" >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; echo "couldn't $what" >&2; exit 1; }
}

# --- the PDFs ----------------------------------------------------------------------------------------------------------

[ -x "$python" ] || quietly "make a virtual environment" python3 -m venv "$work/python"
quietly "install pyHanko" "$python" -m pip install --quiet --requirement "$here/requirements.txt"
mkdir -p "$work/sources" "$work/debian"
for source in pikepdf==10.18.0 pypdf==7.1.1; do
	name=${source%%==*}
	[ -d "$work/sources/$name" ] && continue
	quietly "download the source of $name" "$python" -m pip download --quiet --no-deps --no-binary "$name" --dest "$work/sources" "$source"
	mkdir "$work/sources/$name" && tar -xzf "$work/sources/$name-${source##*==}.tar.gz" -C "$work/sources/$name"
done
if command -v dpkg-deb >/dev/null; then
	for package in asymptote-doc developers-reference gnuplot-doc ledger r-doc-pdf lilypond-doc-pdf; do
		[ -d "$work/debian/$package" ] && continue
		if (cd "$work/debian" && apt-get download "$package" >"$work/log" 2>&1); then
			dpkg-deb -x "$work/debian/${package}"_*.deb "$work/debian/$package" && rm "$work/debian/${package}"_*.deb
		else
			echo "     pades: $package can't be downloaded; apt-get update may help"
		fi
	done
fi
pdfcpu=$(cd "$here" && go mod download -json github.com/pdfcpu/pdfcpu | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
[ -d "$pdfcpu" ] || { echo "couldn't find pdfcpu in Go's module cache" >&2; exit 1; }
find "$pdfcpu/pkg/testdata" "$pdfcpu/pkg/samples/signatures" "$pdfcpu/pkg/samples/form/fill" "$pdfcpu/pkg/samples/annotation" "$work/sources" "$work/debian" \
	-type f -name '*.pdf' 2>/dev/null | sort >"$work/strangers"
# One of our own comes first: a certificate, which is PDF/A-3a and PDF/UA-1.
golden=$here/../../golden/histories/v0.1.0
quietly "make a certificate" go -C "$here" run github.com/countersign-dev/countersign/starter audit certificate "$golden/completed.asice" \
	--tenant-ca "$golden/tenant-ca.pem" --tsa-ca "$golden/tsa-ca.pem" --output "$work/certificate.pdf" --twin "$work/certificate.json"
# And two that certify it, as pyHanko does: they allow a signature, and no seal that is seen.
quietly "make a key" openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj '/CN=Certifier' -addext keyUsage=critical,digitalSignature,nonRepudiation \
	-keyout "$work/certifier.key" -out "$work/certifier.pem"
for permission in 2 3; do
	quietly "certify a PDF" "$python" "$here/certify.py" "$work/certificate.pdf" "$work/certifier.key" "$work/certifier.pem" "$permission" "$work/certified-$permission.pdf"
done
{ printf '%s\n' "$work/certificate.pdf" "$work/certified-2.pdf" "$work/certified-3.pdf"; cat "$work/strangers"; } >"$work/list"

# --- signing -----------------------------------------------------------------------------------------------------------

rm -rf "$out" && mkdir "$out"
quietly "build the signing command" go -C "$here" build -o "$work/pades" .
"$work/pades" "$tsa" "$tsa_ca" "$out" <"$work/list" >"$work/signed" || fail "signing"
grep '^signed ' "$work/signed" | cut -d ' ' -f 3- >"$work/originals"
count=$(wc -l <"$work/originals")
echo "     pades: $count PDFs signed, $(grep -c '^refused ' "$work/signed") refused"
if [ "$count" -ge 20 ]; then pass "at least 20 PDFs are signed"; else fail "only $count PDFs are signed"; fi
if grep -q 'our own verifier refuses' "$work/signed"; then fail "our own verifier takes each: $(grep 'our own verifier' "$work/signed" | head -n 3)"; else pass "our own verifier takes each"; fi

visible=$(wc -l <"$out/visible")
echo "     pades: $visible show a seal, $(wc -l <"$out/invisible") can't"
if [ "$visible" -ge $((count / 2)) ]; then pass "more than half of them show a seal"; else fail "only $visible show a seal"; fi
if [ "$(grep -c 'certified-[23].pdf: .* allows no new mark' "$out/invisible")" -eq 2 ]; then pass "certified PDFs show none"; else fail "a certified PDF shows a seal"; fi
# shown NAME: the seal can be read off the page by a stranger's tool.
shown() { pdftotext "$out/$1.pdf" - 2>/dev/null | grep -q '^Interop Łódź Αθήνα Київ$'; }
if command -v pdftotext >/dev/null; then
	if shown "$(head -n 1 "$out/visible")"; then pass "pdftotext reads a seal"; else fail "pdftotext reads no seal"; fi
fi

# among WHAT PATTERN: at least one of the signed PDFs is of a kind.
among() {
	local n
	n=$(tr '\n' '\0' <"$work/originals" | xargs -0 grep -laE "$2" | wc -l)
	if [ "$n" -gt 0 ]; then pass "among them: $n $1"; else fail "among them is none $1"; fi
}
among "with form fields" '/AcroForm'
among "with cross-reference streams" '/Type ?/XRef'
among "with a cross-reference table" '^xref'
among "hybrid" '/XRefStm'
among "linearised" '/Linearized'
among "signed already" '/ByteRange'
among "that say they are PDF/A" 'pdfaid:part'
if [ -n "$(tr '\n' '\0' <"$work/originals" | xargs -0 -I{} find {} -size +5M)" ]; then pass "among them: large ones"; else fail "among them is no large one"; fi

# refused WHAT WHY: PDFs that can't be signed are refused for the right reason.
refused() { if grep -q "^refused .*: $2" "$work/signed"; then pass "refused: $1"; else fail "none is refused: $1"; fi; }
refused "encrypted" "the PDF is encrypted"
refused "certified against changes" "the PDF is certified"
refused "a dynamic form" "the PDF is a dynamic form"
refused "broken" "the PDF's structure is broken"

# flipped FROM TO: a copy with one changed byte in the middle of the document.
flipped() {
	"$python" - "$1" "$2" <<'PY'
import sys
body = bytearray(open(sys.argv[1], "rb").read())
at = body.rindex(b"/SubFilter /ETSI.CAdES.detached") + 5
body[at] ^= 1
open(sys.argv[2], "wb").write(body)
PY
}

# --- strangers ---------------------------------------------------------------------------------------------------------

"$python" "$here/validate.py" "$out" "$out/ca.pem" "$tsa_ca" <"$work/signed" >"$work/pyhanko"
failed=$((failed + $(grep -c '^FAIL ' "$work/pyhanko"))) passed=$((passed + $(grep -c '^ok ' "$work/pyhanko")))
cat "$work/pyhanko"
read -r _ first original < <(grep '^signed ' "$work/signed" | head -n 1)
mkdir -p "$work/control" && cp "$out/visible" "$work/control/" && flipped "$out/$first.pdf" "$work/control/$first.pdf"
if echo "signed $first $original" | "$python" "$here/validate.py" "$work/control" "$out/ca.pem" "$tsa_ca" >"$work/log" 2>&1; then
	fail "control: pyHanko takes a changed byte"
else
	pass "control: pyHanko refuses a changed byte"
fi

cms() { openssl cms -verify -binary -cades -inform DER -in "$1.p7s" -content "$2" -CAfile "$out/ca.pem" -purpose any -out /dev/null 2>"$work/log"; }
bad=0
while read -r _ name path; do
	cms "$out/$name" "$out/$name.covered" || { bad=$((bad + 1)); fail "openssl: $path: $(tail -n 1 "$work/log")"; }
done < <(grep '^signed ' "$work/signed")
[ "$bad" -eq 0 ] && pass "openssl cms -verify of each CMS over its byte range"
if cms "$out/$first" "$original"; then fail "control: openssl takes other content"; else pass "control: openssl refuses other content"; fi

if command -v pdfsig >/dev/null; then
	bad=0
	while read -r _ name path; do
		pdfsig "$out/$name.pdf" 2>/dev/null | grep -q 'Signature is Valid' || { bad=$((bad + 1)); fail "pdfsig: $path"; }
	done < <(grep '^signed ' "$work/signed")
	[ "$bad" -eq 0 ] && pass "pdfsig finds each signature valid"
else
	echo "     pades: pdfsig is not installed (Debian: poppler-utils)"
fi

# classpath OF: what is needed to run it. Offline first: what is in Maven's cache never changes.
classpath() {
	local how
	for how in --offline --batch-mode; do
		mvn --batch-mode --quiet --file "$here/../$1/pom.xml" "$how" dependency:build-classpath -Dmdep.outputFile="$work/classpath" >"$work/log" 2>&1 && return
	done
	cat "$work/log" >&2
	echo "couldn't get $1 from Maven Central" >&2
	exit 1
}

# What is PDF/A or PDF/UA stays so with a seal. An invisible signature has no appearance, which PDF/A-1 wants, and a longer place than PDF/A-2 knows.
classpath verapdf
mkdir -p "$work/verapdf" && quietly "compile what asks veraPDF" javac -cp "$(<"$work/classpath")" -d "$work/verapdf" "$here/../verapdf/Main.java"
asked=()
while read -r _ name path; do
	grep -qx "$name" "$out/visible" || continue
	for said in pdfaid:part:'' pdfuaid:part:ua; do
		part=$(grep -aoE "${said%:*}[^0-9]{1,2}[1-4]" "$path" | head -n 1)
		level=$(grep -aoE 'pdfaid:conformance[^A-Z]{1,2}[ABU]' "$path" | head -n 1)
		[ -n "$part" ] || continue
		case $said in *ua) flavour=ua${part: -1} ;; *) flavour=${part: -1}$(echo "${level: -1}" | tr ABU abu) ;; esac
		asked+=("$flavour" "$path" "$flavour" "$out/$name.pdf")
	done
done < <(grep '^signed ' "$work/signed")
sed -E 's|/FontFile2( [0-9]+ 0 R/CIDSet)|/FontFileX\1|' "$out/001.pdf" >"$work/control/unembedded.pdf"
sed 's|/S /Form /P|/S /Note /P|' "$out/001.pdf" >"$work/control/untagged.pdf"
java -cp "$work/verapdf:$(<"$work/classpath")" Main "${asked[@]}" 3a "$work/control/unembedded.pdf" ua1 "$work/control/untagged.pdf" 2>"$work/log" | sed -E 's/ (true|false)( .*|)$/\t\1\2/' >"$work/said"
kept=0
while IFS=$'\t' read -r asked before && IFS=$'\t' read -r _ after; do
	case $asked in
	*/control/*) for answer in "$before" "$after"; do case $answer in false*) pass "control: veraPDF refuses it" ;; *) fail "control: veraPDF takes it" ;; esac; done ;;
	*)
		[ "$before" = true ] || continue
		kept=$((kept + 1))
		[ "$after" = true ] || fail "veraPDF: $asked: $after"
		;;
	esac
done <"$work/said"
if [ "$kept" -ge 5 ]; then pass "veraPDF: $kept that were PDF/A or PDF/UA are so with a seal"; else fail "only $kept are PDF/A or PDF/UA before they are signed"; fi

classpath dss
# One in eight, and each that is signed already or hybrid: DSS draws the pages of what it validates.
{
	grep '^signed ' "$work/signed" | awk 'NR % 8 == 1'
	grep '^signed .*/samples/signatures/' "$work/signed"
} | sort -u | while read -r _ name path; do
	[ "$(stat -c %s "$path")" -gt 4000000 ] || printf '%s\t%s\t-\t%s\t%s\n' "$path" "$out/$name.pdf" "$out/ca.pem" "$tsa_ca"
done >"$work/cases"
printf 'control\t%s\t-\t%s\t%s\n' "$work/control/$first.pdf" "$out/ca.pem" "$tsa_ca" >>"$work/cases"
java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx768m -cp "$(<"$work/classpath")" "$here/../dss/Main.java" "$work/cases" >"$work/answers" 2>"$work/log" || { tail -n 5 "$work/log"; fail "DSS ended"; }
"$python" - "$work/answers" "$work/cases" >"$work/dss" <<'PY'
import json, sys
answers = [json.loads(line) for line in open(sys.argv[1])]
assert len(answers) == len(open(sys.argv[2]).readlines()), "DSS did not answer each case"
for a in answers:
    s = (a.get("signatures") or [{}])[0]
    if a["case"] == "control":
        print("FAIL dss: control: a changed byte is taken" if a["passed"] else "ok   dss: control: a changed byte is refused")
        continue
    good = a["passed"] and s["format"] == "PAdES-BASELINE-T" and s["indication"] == "TOTAL_PASSED"
    print(("ok   dss: " if good else "FAIL dss: ") + f"{a['case'].rsplit('/', 1)[1]}: {s.get('format')} {s.get('indication')} {'; '.join(a['why'])}")
PY
[ $? -eq 0 ] || fail "DSS answered each case"
failed=$((failed + $(grep -c '^FAIL ' "$work/dss"))) passed=$((passed + $(grep -c '^ok ' "$work/dss")))
cat "$work/dss"
rm -rf "$out"/*.covered

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
