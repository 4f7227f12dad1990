#!/usr/bin/env bash
# Checks an evidence bundle (ASiC-E with CAdES, ETSI EN 319 162-1) with strangers' tools alone: nothing of this project runs.
#
#   bundle.sh BUNDLE TENANT_CA TSA_CA [POST_QUANTUM_KEY]
#
# Each check is also made on a copy with one changed byte, where it must fail: a check that can't fail proves nothing. The
# certificates are judged as of the time-stamp, so that the check still works when they have expired.
#
# The post-quantum signature, where there is one, is checked by openssl 3.5 or later, or else by Python's package cryptography, 47 or later; with
# neither, that is said. With the tenant's key it must be there, and by that key.
#
# Needs: unzip (with zipinfo), openssl 3, python3 (its standard library), coreutils.
set -uo pipefail
export LC_ALL=C

if [ $# -ne 3 ] && [ $# -ne 4 ]; then
	echo "usage: bundle.sh BUNDLE TENANT_CA TSA_CA [POST_QUANTUM_KEY]" >&2
	exit 2
fi
for file in "$@"; do
	[ -r "$file" ] || { echo "couldn't read $file" >&2; exit 2; }
done
for tool in unzip zipinfo openssl python3 sha256sum od; do
	command -v "$tool" >/dev/null || { echo "$tool is missing; on Debian: apt-get install unzip openssl python3 coreutils" >&2; exit 2; }
done
case $(openssl version) in
"OpenSSL 3"* | "OpenSSL 4"*) ;;
*) echo "OpenSSL 3 or later is needed (openssl cms -cades), this is $(openssl version)" >&2; exit 2 ;;
esac

bundle=$(realpath "$1") tenant_ca=$(realpath "$2") tsa_ca=$(realpath "$3") quantum_key=${4:+$(realpath "$4")}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

pass() { passed=$((passed + 1)); echo "ok   bundle: $1"; }
fail() { failed=$((failed + 1)); echo "FAIL bundle: $1"; }

# must NAME COMMAND...: the command has to succeed.
must() {
	local name=$1
	shift
	if "$@" >"$work/said" 2>&1; then pass "$name"; else fail "$name: $(tail -n 3 "$work/said" | tr '\n' ' ')"; fi
}

# mustnt NAME COMMAND...: the negative control, the command has to fail.
mustnt() {
	local name=$1 word
	shift
	for word in "$@"; do
		# The copy could not be made: a refusal would prove nothing.
		[ -n "$word" ] || { fail "control: $name could not be tried"; return; }
	done
	if "$@" >"$work/said" 2>&1; then fail "control: $name is accepted"; else pass "control: $name is refused"; fi
}

# changed FILE OFFSET: prints the path of a copy whose byte at the offset is another one.
changed() {
	local copy byte
	copy=$(mktemp "$work/changed.XXXXXX")
	byte=$(od -An -v -tu1 -j "$2" -N 1 "$1") || return 1
	[ -n "$byte" ] || return 1
	cp "$1" "$copy"
	# shellcheck disable=SC2059 # the format is the byte
	printf "\\$(printf %03o $((byte ^ 1)))" | dd of="$copy" bs=1 seek="$2" conv=notrunc status=none
	cmp -s "$1" "$copy" && return 1
	echo "$copy"
}

# --- the container ----------------------------------------------------------------------------------------------------

# The mimetype comes first, stored, with no extra field and no data descriptor: file(1) and a hex dump can tell.
mimetype_first() {
	[ "$(zipinfo -1 "$1" | head -n 1)" = mimetype ] &&
		[ "$(od -An -v -tx1 -N 4 "$1" | tr -d ' ')" = 504b0304 ] &&
		[ "$(od -An -v -tx1 -j 6 -N 4 "$1" | tr -d ' ')" = 00000000 ] &&
		[ "$(od -An -v -tx1 -j 26 -N 4 "$1" | tr -d ' ')" = 08000000 ] &&
		[ "$(tail -c +31 "$1" | head -c 39)" = "mimetypeapplication/vnd.etsi.asic-e+zip" ]
}

must "unzip finds no fault" unzip -tqq "$bundle"
mustnt "a changed byte in the container" unzip -tqq "$(changed "$bundle" 40)"
must "mimetype is first, stored and right" mimetype_first "$bundle"
mustnt "mimetype with another method" mimetype_first "$(changed "$bundle" 8)"
mustnt "mimetype with another value" mimetype_first "$(changed "$bundle" 60)"

# A stranger's name must not leave the directory.
if zipinfo -1 "$bundle" | grep -qE '^/|(^|/)\.\.(/|$)|\\'; then
	fail "names stay inside the container"
	echo "$passed passed, $failed failed"
	exit 1
fi
pass "names stay inside the container"
must "it unpacks" unzip -qq "$bundle" -d "$work/out"
cd "$work/out" || exit 1

# --- every file's digest ----------------------------------------------------------------------------------------------

manifest=META-INF/ASiCManifest001.xml
seal=META-INF/signature001.p7s

# Writes the manifest's digests as sha256sum reads them.
listed() {
	python3 - "$1" <<'PY'
import base64, sys, xml.etree.ElementTree as tree
asic, ds = "{http://uri.etsi.org/02918/v1.2.1#}", "{http://www.w3.org/2000/09/xmldsig#}"
root = tree.parse(sys.argv[1]).getroot()
assert root.tag == asic + "ASiCManifest", root.tag
assert root.find(asic + "SigReference").get("URI") == "META-INF/signature001.p7s"
for r in root.findall(asic + "DataObjectReference"):
    assert r.find(ds + "DigestMethod").get("Algorithm") == "http://www.w3.org/2001/04/xmlenc#sha256"
    print(base64.b64decode(r.find(ds + "DigestValue").text, validate=True).hex() + "  " + r.get("URI"))
PY
}

# The manifest names every file but the container's own.
complete() { diff <(cut -c 67- "$1" | sort) <(zipinfo -1 "$bundle" | grep -v -e '^mimetype$' -e '^META-INF/' | sort); }

digest_of() { echo "$1  $2" | sha256sum --check --strict --quiet; }

must "the manifest can be read" listed "$manifest"
listed "$manifest" >"$work/digests" 2>/dev/null
must "the manifest names every file" complete "$work/digests"
sed '$d' "$work/digests" >"$work/shorter"
mustnt "a manifest that leaves a file out" complete "$work/shorter"
while read -r digest name; do
	must "digest of $name" digest_of "$digest" "$name"
	mustnt "$name with a changed byte" digest_of "$digest" "$(changed "$name" $(($(stat -c %s "$name") / 2)))"
done <"$work/digests"

# --- a signature and its time-stamp -----------------------------------------------------------------------------------

# parts P7S DIR: takes the signature value and the time-stamp token out of a CAdES signature. In a detached SignedData with
# one signer the signature value is the only OCTET STRING at depth 5; the token is the value of the unsigned attribute
# id-smime-aa-timeStampToken.
parts() {
	mkdir -p "$2" && openssl asn1parse -inform DER -in "$1" >"$2/dump" || return 1
	local from length
	read -r from length < <(awk -F'[:= ]+' '{ sub(/^ +/, "") } /:d=5 .*prim: OCTET STRING/ { n++; at = $1 + $5; len = $7 } END { if (n == 1) print at, len }' "$2/dump") || return 1
	tail -c +$((from + 1)) "$1" | head -c "$length" >"$2/value"
	read -r from length < <(awk -F'[:= ]+' '{ sub(/^ +/, "") } /:id-smime-aa-timeStampToken$/ { want = 1; next } want && /cons: SEQUENCE/ { print $1, $5 + $7; exit }' "$2/dump") || return 1
	tail -c +$((from + 1)) "$1" | head -c "$length" >"$2/token.der"
}

# stamped TOKEN: the instant of the time-stamp, in seconds since 1970.
stamped() { date -u -d "$(openssl ts -reply -token_in -in "$1" -text | sed -n 's/^Time stamp: //p')" +%s; }

# signature P7S CONTENT CA TIME
signature() { openssl cms -verify -binary -cades -inform DER -in "$1" -content "$2" -CAfile "$3" -purpose any -attime "$4" -out /dev/null; }

# timestamp TOKEN SIGNATURE_VALUE CA TIME
timestamp() { openssl ts -verify -token_in -in "$1" -data "$2" -CAfile "$3" -attime "$4"; }

# signed NAME P7S CONTENT: every check of one signature, with its controls.
signed() {
	local name=$1 p7s=$2 content=$3 dir at value
	dir=$(mktemp -d "$work/parts.XXXXXX")
	must "$name: signature value and time-stamp token can be taken out" parts "$p7s" "$dir"
	at=$(stamped "$dir/token.der" 2>/dev/null) || at=
	if [ -z "$at" ]; then
		fail "$name: the time-stamp token tells no time"
		return
	fi
	must "$name: openssl ts -verify" timestamp "$dir/token.der" "$dir/value" "$tsa_ca" "$at"
	mustnt "$name: time-stamp of another signature value" timestamp "$dir/token.der" "$(changed "$dir/value" 20)" "$tsa_ca" "$at"
	mustnt "$name: time-stamp with a changed byte" timestamp "$(changed "$dir/token.der" $(($(stat -c %s "$dir/token.der") - 5)))" "$dir/value" "$tsa_ca" "$at"
	mustnt "$name: time-stamp under another root" timestamp "$dir/token.der" "$dir/value" "$tenant_ca" "$at"

	must "$name: openssl cms -verify as of $(date -u -d "@$at" +%FT%TZ)" signature "$p7s" "$content" "$tenant_ca" "$at"
	mustnt "$name: changed content" signature "$p7s" "$(changed "$content" $(($(stat -c %s "$content") / 2)))" "$tenant_ca" "$at"
	value=$(awk -F'[:= ]+' '{ sub(/^ +/, "") } /:d=5 .*prim: OCTET STRING/ { print $1 + $5 }' "$dir/dump")
	mustnt "$name: changed signature value" signature "$(changed "$p7s" $((value + 20)))" "$content" "$tenant_ca" "$at"
	mustnt "$name: signature under another root" signature "$p7s" "$content" "$tsa_ca" "$at"
}

signed "seal of the bundle" "$seal" "$manifest"
# inside PDF DIR: takes the signature out of a signed PDF, and what it covers: everything but the place that it lies in.
inside() {
	mkdir -p "$2" && python3 - "$1" "$2" <<'PY'
import re, sys
body = open(sys.argv[1], "rb").read()
a, b, c, d = map(int, re.findall(rb"/ByteRange \[ (\d+) (\d+) (\d+) (\d+) ", body)[-1])
assert a == 0 and c + d == len(body) and body[b:b + 1] == b"<" and body[c - 1:c] == b">", "the signature doesn't cover all but itself"
der = bytes.fromhex(body[b + 1:c - 1].decode())
length = 4 + int.from_bytes(der[2:4], "big")
assert der[:2] == b"\x30\x82" and not any(der[length:]), "something follows the signature"
open(sys.argv[2] + "/document.p7s", "wb").write(der[:length])
open(sys.argv[2] + "/covered", "wb").write(body[:b] + body[c:])
PY
}

# approved PDF: it begins with the document that the statement names, and has the other digest that it names.
approved() {
	python3 - "$1" <<'PY'
import hashlib, json, sys
body, (document, signed) = open(sys.argv[1], "rb").read(), json.load(open("statement.json"))["subject"]
assert document["name"] == "document.pdf" and signed["name"] == "document-signed.pdf"
assert hashlib.sha256(body[: document["annotations"]["bytes"]]).hexdigest() == document["digest"]["sha256"]
assert hashlib.sha256(body).hexdigest() == signed["digest"]["sha256"]
PY
}

if [ -e document-signed.pdf ]; then
	must "the signed PDF begins with the approved document" approved document-signed.pdf
	mustnt "a signed PDF with a changed byte" approved "$(changed document-signed.pdf 100)"
	must "the signature can be taken out of the PDF" inside document-signed.pdf "$work/inside"
	signed "signature in the document" "$work/inside/document.p7s" "$work/inside/covered"
elif [ -e document.p7s ]; then
	signed "signature of the document" document.p7s document.pdf
else
	echo "     bundle: nothing was signed, so there is no document-signed.pdf"
fi

# --- the post-quantum signature ---------------------------------------------------------------------------------------

# It lists every file before it, and signs two lines: what it is, and the list's digest as sha512sum writes it.
quantum_listed() { diff <(cut -c 131- "$1") <(zipinfo -1 "$bundle" | grep -v -e '^mimetype$' -e '^META-INF/' -e '^postquantum/'); }
quantum_digests() { sha512sum --check --strict --quiet "$1"; }
quantum_parts() {
	python3 - postquantum/signature.json "$1" <<'PY'
import base64, json, sys
said = json.load(open(sys.argv[1], encoding="utf-8"))
open(sys.argv[2] + ".sig", "wb").write(base64.b64decode(said["signature"], validate=True))
open(sys.argv[2] + ".der", "wb").write(base64.b64decode(said["publicKey"], validate=True))
PY
	openssl base64 -in "$1.der" | sed -e '1i -----BEGIN PUBLIC KEY-----' -e '$a -----END PUBLIC KEY-----' >"$1.pem"
	{ echo "countersign post-quantum signature v1"; sha512sum postquantum/files.sha512; } >"$1.message"
}
by_openssl() { openssl pkeyutl -verify -pubin -inkey "$1" -rawin -in "$2" -sigfile "$3"; }
by_python() {
	python3 - "$@" <<'PY'
import sys
from cryptography.hazmat.primitives.serialization import load_pem_public_key
key, message, signature = (open(name, "rb").read() for name in sys.argv[1:])
load_pem_public_key(key).verify(signature, message)
PY
}
same_key() { diff <(grep -v -e ----- "$1" | tr -d '\n') <(grep -v -e ----- "$2" | tr -d '\n'); }

if [ -e postquantum/signature.json ]; then
	must "post-quantum signature: the list names every other file" quantum_listed postquantum/files.sha512
	must "post-quantum signature: the digests of the list" quantum_digests postquantum/files.sha512
	mustnt "a digest that is another one" quantum_digests "$(changed postquantum/files.sha512 0)"
	must "post-quantum signature: key, signature and message can be taken out" quantum_parts "$work/quantum"
	if [ -n "$quantum_key" ]; then
		must "post-quantum signature: it is by the given key" same_key "$work/quantum.pem" "$quantum_key"
	fi
	with=
	case $(openssl version) in
	"OpenSSL 3."[0-4].*) python3 -c "from cryptography.hazmat.primitives.asymmetric import mldsa" 2>/dev/null && with=by_python ;;
	*) with=by_openssl ;;
	esac
	if [ -n "$with" ]; then
		must "post-quantum signature: verified ($with)" $with "$work/quantum.pem" "$work/quantum.message" "$work/quantum.sig"
		mustnt "a post-quantum signature with a changed byte" $with "$work/quantum.pem" "$work/quantum.message" "$(changed "$work/quantum.sig" 100)"
		mustnt "a post-quantum signature over another message" $with "$work/quantum.pem" "$(changed "$work/quantum.message" 60)" "$work/quantum.sig"
	else
		echo "     bundle: there is neither openssl 3.5 nor Python's cryptography 47, so the post-quantum signature itself was not checked"
	fi
elif [ -n "$quantum_key" ]; then
	fail "there is no post-quantum signature"
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
