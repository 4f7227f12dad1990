#!/usr/bin/env python3
"""Asks DSS and `countersign audit verify` about the same bundles, whole and broken, and compares the answers case by case.

    agree.py CLASSPATH COUNTERSIGN WORK BUNDLE TENANT_CA TSA_CA [BUNDLE TENANT_CA TSA_CA]...

The first bundle is also broken in each way that both can see: container, signatures, time-stamps. Of what countersign says,
only that is compared, so its checks `container`, `manifest`, `seal` and `time`. The document's own signature is handed to DSS alone: countersign
looks at it only inside a bundle. It is in the PDF itself, or, in bundles of v0.1.0, beside the document. Needs java and Python's standard library.
"""

import json
import pathlib
import re
import struct
import subprocess
import sys
import zipfile
import zlib

MANIFEST, SEAL = "META-INF/ASiCManifest001.xml", "META-INF/signature001.p7s"
# The one difference, and it is meant: bytes that no signature covers have one allowed value in a bundle.
APART = "the same files, compressed"
STAMP = bytes.fromhex("060b2a864886f70d010910020e")  # id-aa-signatureTimeStampToken, with tag and length


def read(path):
    with zipfile.ZipFile(path) as z:
        return [(i.filename, z.read(i)) for i in z.infolist()]


def write(path, entries):
    """Writes a container byte for byte as countersign does, so that what is wrong with it is what was changed and nothing else."""
    files, directory = b"", b""
    for name, body in entries:
        about = struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 33, zlib.crc32(body), len(body), len(body), len(name), 0)
        directory += b"PK\1\2" + struct.pack("<H", 20) + about + struct.pack("<HHHII", 0, 0, 0, 0, len(files)) + name.encode()
        files += b"PK\3\4" + about + name.encode() + body
    path.write_bytes(files + directory + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, len(entries), len(entries), len(directory), len(files), 0))
    return path


def compress(path, entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        for name, body in entries:
            z.writestr(name, body, zipfile.ZIP_STORED if name == "mimetype" else None)
    return path


def element(der, at):
    """The header's length and the whole length of the DER element there."""
    length, header = der[at + 1], 2
    if length > 127:
        header = 2 + (length & 127)
        length = int.from_bytes(der[at + 2 : at + header], "big")
    return header, header + length


def children(der):
    at, end = element(der, 0)
    while at < end:
        _, whole = element(der, at)
        yield der[at : at + whole]
        at += whole


def wrap(tag, parts):
    body = b"".join(parts)
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([tag]) + (bytes([len(body)]) if len(body) < 128 else bytes([128 | len(size)]) + size) + body


def unsigned(cms, change):
    """The CMS with its unsigned attributes given to change, and left out where that gives nothing."""
    oid, explicit = children(cms)
    (signed_data,) = children(explicit)
    *before, signers = children(signed_data)
    (signer,) = children(signers)
    *fields, attributes = children(signer)
    assert attributes[0] == 0xA1 and STAMP in attributes, "the last part of the SignerInfo is not its time-stamp"
    changed = change(attributes)
    signer = wrap(0x30, fields + ([changed] if changed else []))
    return wrap(0x30, [oid, wrap(0xA0, [wrap(0x30, before + [wrap(0x31, [signer])])])])


def flip(body, at):
    changed = bytearray(body)
    changed[at] ^= 1
    return bytes(changed)


def signature_value(cms):
    """Where the signature value lies: the last part of the SignerInfo before the unsigned attributes."""
    where = {}
    unsigned(cms, lambda attributes: where.setdefault("at", cms.index(attributes)) and None)
    return where["at"] - 10


def place(pdf):
    """Where the signature lies in a signed PDF, its angle brackets included."""
    return [int(n) for n in re.findall(rb"/ByteRange \[ 0 (\d+) (\d+) ", pdf)[-1]]


def own_signature(files):
    """The CMS of the document's own signature."""
    if "document.p7s" in files:
        return files["document.p7s"]
    pdf = files["document-signed.pdf"]
    start, end = place(pdf)
    der = bytes.fromhex(pdf[start + 1 : end - 1].decode())
    return der[: element(der, 0)[1]]


def inside(entries, work, tenant_ca, tsa_ca):
    """The signed PDF: name, file, content, roots, and whether DSS must take it."""
    pdf = dict(entries)["document-signed.pdf"]
    cms = own_signature({"document-signed.pdf": pdf})
    start, end = place(pdf)
    at, roots = pdf.index(b"/SubFilter /ETSI.CAdES.detached"), (tenant_ca, tsa_ca)

    def put(name, body):
        (work / name).write_bytes(body)
        return work / name

    def resigned(name, changed):
        return put(name, pdf[: start + 1] + changed.hex().encode().ljust(end - start - 2, b"0") + pdf[end - 1 :])

    good = put("signed.pdf", pdf)
    yield "document-signed.pdf", good, "-", roots, True
    yield "document-signed.pdf, a byte of the document", put("byte.pdf", flip(pdf, 12)), "-", roots, False
    yield "document-signed.pdf, a byte of the update", put("update.pdf", flip(pdf, at - 20)), "-", roots, False
    yield "document-signed.pdf, a byte of the signature value", resigned("value.pdf", flip(cms, signature_value(cms))), "-", roots, False
    yield "document-signed.pdf, its time-stamp cut out", resigned("no-token.pdf", unsigned(cms, lambda _: None)), "-", roots, False
    yield "document-signed.pdf, another root for the signer", good, "-", (tsa_ca, tsa_ca), False
    yield "document-signed.pdf, another root for the time-stamp", good, "-", (tenant_ca, tenant_ca), False


def broken(entries, work, tenant_ca, tsa_ca):
    """Each way to break a bundle: name, file, roots, and whether DSS and countersign must take it."""
    files = dict(entries)

    def changed(label, name, body):
        return write(work / f"{label}.asice", [(n, body if n == name else b) for n, b in entries])

    manifest, seal = files[MANIFEST], files[SEAL]
    roots = (tenant_ca, tsa_ca)
    whole = work / "whole.asice"
    token = {}
    unsigned(own_signature(files), lambda attributes: token.setdefault("other", attributes) and None)
    signing_time = seal.index(bytes.fromhex("06092a864886f70d010905")) + 15
    for name in (n for n in ("document.pdf", "document-signed.pdf", "statement.json", "history.pb", "document.p7s") if n in files):
        yield f"a byte of {name}", changed("byte-" + name, name, flip(files[name], len(files[name]) // 2)), roots, False, False
    yield "a byte of the manifest's digests", changed("manifest-digest", MANIFEST, flip(manifest, manifest.index(b"<ds:DigestValue>") + 20)), roots, False, False
    yield "a byte of the manifest's text", changed("manifest-text", MANIFEST, manifest.replace(b"application/pdf", b"application/pdg")), roots, False, False
    yield "a byte of the signature value", changed("value", SEAL, flip(seal, signature_value(seal))), roots, False, False
    yield "a byte of the signing time", changed("signing-time", SEAL, flip(seal, signing_time)), roots, False, False
    yield "a byte of the time-stamp", changed("token", SEAL, flip(seal, len(seal) - 10)), roots, False, False
    yield "the time-stamp cut out", changed("no-token", SEAL, unsigned(seal, lambda _: None)), roots, False, False
    yield "the time-stamp of another signature", changed("other-token", SEAL, unsigned(seal, lambda _: token["other"])), roots, False, False
    yield "the signature of the document as seal", changed("other-seal", SEAL, own_signature(files)), roots, False, False
    yield "a file added", write(work / "added.asice", entries[:-2] + [("annex.pdf", b"%PDF-1.7\n")] + entries[-2:]), roots, False, False
    yield "a file taken away", write(work / "removed.asice", [e for e in entries if e[0] != "statement.json"]), roots, False, False
    yield "no seal", write(work / "unsealed.asice", [e for e in entries if e[0] != SEAL]), roots, False, False
    yield "another root for the signer", whole, (tsa_ca, tsa_ca), False, False
    yield "another root for the time-stamp", whole, (tenant_ca, tenant_ca), False, False
    yield APART, compress(work / "compressed.asice", entries), roots, True, False


def detached(entries, work, tenant_ca, tsa_ca):
    """The document's own signature: name, signature, content, roots, and whether DSS must take it."""
    files = dict(entries)
    cms, document = files["document.p7s"], files["document.pdf"]

    def put(name, body):
        (work / name).write_bytes(body)
        return work / name

    good, pdf, roots = put("document.p7s", cms), put("document.pdf", document), (tenant_ca, tsa_ca)
    yield "document.p7s", good, pdf, roots, True
    yield "document.p7s, a byte of the document", good, put("changed.pdf", flip(document, len(document) // 2)), roots, False
    yield "document.p7s, a byte of the signature value", put("value.p7s", flip(cms, signature_value(cms))), pdf, roots, False
    yield "document.p7s, its time-stamp cut out", put("no-token.p7s", unsigned(cms, lambda _: None)), pdf, roots, False
    yield "document.p7s, another root for the signer", good, pdf, (tsa_ca, tsa_ca), False
    yield "document.p7s, another root for the time-stamp", good, pdf, (tenant_ca, tenant_ca), False


def verdict(answer):
    """What DSS says in a word or two."""
    signatures = answer.get("signatures", [])
    if not signatures:
        return answer.get("indication", "no signature")
    if len(signatures) > 1:
        return f"{len(signatures)} signatures"
    s = signatures[0]
    return s["indication"] + ("" if s["subIndication"] == "null" else " " + s["subIndication"])


def row(label, dss, own, agreement):
    print(f"     {label[-78:]:<78} {dss[:48]:<48} {own[:40]:<40} {agreement}")


def countersign(command, path, roots):
    """What countersign says of container, manifest, seal and time."""
    ran = subprocess.run([command, "audit", "verify", path, "--tenant-ca", roots[0], "--tsa-ca", roots[1], "--json"], capture_output=True, text=True, check=False)
    findings = {f["check"]: f for f in json.loads(ran.stdout)["findings"]}
    states = [findings.get(check, {"state": "missing"})["state"] for check in ("container", "manifest", "seal", "time")]
    return set(states) == {"pass"}, "; ".join(f["detail"] for f in findings.values() if f["state"] == "fail")


def main():
    classpath, command, work, *bundles = sys.argv[1:]
    work = pathlib.Path(work)
    work.mkdir(parents=True, exist_ok=True)
    cases, ours = [], {}
    for n in range(0, len(bundles), 3):
        path, tenant_ca, tsa_ca = bundles[n : n + 3]
        name = pathlib.Path(path).name
        cases.append((f"{name}", path, "-", (tenant_ca, tsa_ca), True))
        ours[name] = (True, path)
        if n:
            continue
        entries = read(path)
        write(work / "whole.asice", entries)
        if (work / "whole.asice").read_bytes() != pathlib.Path(path).read_bytes():
            print("FAIL dss: the corpus is not written as the bundle is, so its cases would prove nothing")
            return 1
        for label, file, roots, dss, own in broken(entries, work, tenant_ca, tsa_ca):
            cases.append((label, file, "-", roots, dss))
            ours[label] = (own, file)
        own = detached if "document.p7s" in dict(entries) else inside
        cases += own(entries, work, tenant_ca, tsa_ca)

    listed = work / "cases.tsv"
    listed.write_text("".join(f"{label}\t{file}\t{content}\t{roots[0]}\t{roots[1]}\n" for label, file, content, roots, _ in cases))
    java = ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m", "-cp", classpath]
    ran = subprocess.run([*java, pathlib.Path(__file__).with_name("Main.java"), listed], stdout=subprocess.PIPE, text=True, check=True)
    (work / "answers.json").write_text(ran.stdout)
    answers = {a["case"]: a for a in map(json.loads, ran.stdout.splitlines())}

    failed = 0

    def result(good, text):
        nonlocal failed
        failed += not good
        print(("ok   " if good else "FAIL ") + "dss: " + text)

    row("case", "DSS", "countersign", "")
    apart = []
    for label, _, content, roots, expected in cases:
        answer = answers[label]
        why = "; ".join(answer["why"])
        if ours.get(label, (False,))[0]:
            signature = answer["signatures"][0] if answer["signatures"] else {}
            # The first bundle is of this build, and others may be older.
            level = "CAdES-BASELINE-LT" if label == cases[0][0] else "CAdES-BASELINE-T"
            result(answer["container"] == "ASiC-E" and signature.get("format") == level, f"{label} is ASiC-E with {level}: {signature.get('format')}")
            strict = str(signature.get("withRevocation"))
            print(f"     dss: {label}: {signature.get('indication')}; with its own policy, that demands revocation data, {strict}")
            if label == cases[0][0]:
                result(strict.startswith("TOTAL_PASSED"), f"{label} is taken by DSS with its own policy")
            names = {n for n, _ in read(dict((c[0], c[1]) for c in cases)[label]) if n not in ("mimetype", SEAL)}
            result(set(signature.get("files", [])) == names, f"{label}: each of {len(names)} files is covered")
        if expected and answer["passed"]:
            stamps = answer["signatures"][0]["timestamps"]
            result(len(stamps) == 1 and stamps[0]["indication"] == "PASSED", f"{label}: its time-stamp holds")
        result(answer["passed"] == expected, f"{label} is {'taken' if answer['passed'] else 'refused'} by DSS" + (f" ({why})" if why else ""))
        if label in ours:
            own, file = ours[label]
            took, said = countersign(command, file, roots)
            agree = "" if own == expected else ", which is stricter"
            row(label, verdict(answer), "takes it" if took else "refuses it", "agree" if took == answer["passed"] else "apart")
            if took != answer["passed"]:
                apart.append(label)
            result(took == own, f"{label} is {'taken' if took else 'refused'} by countersign{agree}" + (f" ({said})" if said else ""))
        else:
            row(label, verdict(answer), "looks at it only inside a bundle", "")
    result(apart == [APART], f"of {len(ours)} cases that both see, they are apart about {apart}, want {[APART]} and no other")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
