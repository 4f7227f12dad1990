#!/usr/bin/env python3
"""Checks tests/vectors by docs/evidence-format.md alone, with Python's standard library: a second implementation.

    vectors.py DIRECTORY [BUNDLE]...

It recomputes canonical JSON and digests, judges chains and quorums, verifies keys and logins (on P-256), and reads bundles as far
as that goes without CMS, protobuf and Cedar: container, manifest, the files' digests and order, the form of the history, the post-quantum
signature, and what people proved.
"""

import base64
import gzip
import hashlib
import io
import json
import pathlib
import re
import sys
import xml.etree.ElementTree as tree
import zipfile
import zlib

sys.dont_write_bytecode = True

import concealed
import endings
import history
import mldsa
import rules
from canonical import canonical, digest
from proofs import id_token, instant, key_proof
from stamps import token


# --- a bundle ---------------------------------------------------------------------------------------------------------

MANIFEST, SEAL = "META-INF/ASiCManifest001.xml", "META-INF/signature001.p7s"
ASIC, DS = "{http://uri.etsi.org/02918/v1.2.1#}", "{http://www.w3.org/2000/09/xmldsig#}"


def container(raw):
    """The files of a container, after every entry was compared with the manifest."""
    with zipfile.ZipFile(io.BytesIO(raw)) as z:
        infos = z.infolist()
        names = [i.filename for i in infos]
        if names[0] != "mimetype" or names[-2:] != [MANIFEST, SEAL] or any(i.compress_type or i.extra or i.comment for i in infos):
            raise ValueError("its entries are not in order")
        files = {i.filename: z.read(i) for i in infos}
    if files["mimetype"] != b"application/vnd.etsi.asic-e+zip":
        raise ValueError("it is no ASiC-E")
    listed = {}
    for r in tree.fromstring(files[MANIFEST]).findall(ASIC + "DataObjectReference"):
        listed[r.get("URI")] = base64.b64decode(r.find(DS + "DigestValue").text, validate=True)
    if list(listed) != names[1:-2]:
        raise ValueError("the manifest names other files than the container has")
    for name, want in listed.items():
        if hashlib.sha256(files[name]).digest() != want:
            raise ValueError(f"{name} doesn't have its digest")
    return files


LIST, QUANTUM = "postquantum/files.sha512", "postquantum/signature.json"


def post_quantum(files, given):
    """Checks the signature of all other files, where there has to be one or is one: by the given key, if there is one."""
    controls = [c["id"] for c in json.loads(files["statement.json"])["predicate"]["controls"]]
    names = list(files)[1:-2]
    if QUANTUM not in files and LIST not in files:
        if given or "post-quantum-signature" in controls:
            raise ValueError("its post-quantum signature is gone")
        return
    if names[-2:] != [LIST, QUANTUM]:
        raise ValueError("its post-quantum signature is not in its place")
    lines = [f"{hashlib.sha512(files[n]).hexdigest()}  {n}\n" for n in names[:-2]]
    if files[LIST].decode() != "".join(lines):
        raise ValueError("the list has other digests than the files")
    said = json.loads(files[QUANTUM])
    key = base64.b64decode(said["publicKey"], validate=True)
    message = f"countersign post-quantum signature v1\n{hashlib.sha512(files[LIST]).hexdigest()}  {LIST}\n"
    if said["algorithm"] != mldsa.public_key(key)[0][0] or not mldsa.verifies(key, message.encode(), base64.b64decode(said["signature"], validate=True)):
        raise ValueError("its post-quantum signature doesn't hold")
    if given and key != given:
        raise ValueError("its post-quantum signature is by another key")


def signed_document(files, statement):
    """The signed PDF, where people approved one: it begins with the approved document, and its signature leaves out itself alone."""
    predicate, subjects = statement["predicate"], {s["name"]: s for s in statement["subject"]}
    if predicate["context"].get("signedAs") is None or predicate["outcome"] != "completed":
        return
    if predicate["context"]["signedAs"] != "PAdES-B-T" or "document-signed.pdf" not in files or {"document.pdf", "document.p7s"} & set(files):
        raise ValueError("the signature is not in the form that people approved")
    pdf, length = files["document-signed.pdf"], predicate["intake"]["document"]["bytes"]
    if hashlib.sha256(pdf[:length]).hexdigest() != predicate["request"]["document"]["sha256"] or length >= len(pdf):
        raise ValueError("the signed PDF doesn't begin with the approved document")
    if hashlib.sha256(pdf).hexdigest() != predicate["signature"]["object"]["sha256"] or subjects["document-signed.pdf"]["digest"] != {
        "sha256": predicate["signature"]["object"]["sha256"]
    }:
        raise ValueError("the signed PDF is not what was stored")
    found = re.search(rb"/SubFilter /ETSI\.CAdES\.detached /M \(D:(\d{14})\+00'00'\) /ByteRange \[ 0 (\d+) (\d+) (\d+) +\] /Contents <", pdf[length:])
    if not found:
        raise ValueError("the signed PDF has no signature of this form")
    start, end, rest = (int(n) for n in found.groups()[1:])
    if start != length + found.end() - 1 or pdf[end - 1 : end] != b">" or end + rest != len(pdf):
        raise ValueError("the signature in the PDF doesn't cover all but itself")
    if found[1].decode() != re.sub(r"[-:T]", "", predicate["intent"]["at"])[:14]:
        raise ValueError("the signature in the PDF claims another time than the intent's")
    visible_seal(predicate, pdf[length : start])


def visible_seal(predicate, update):
    """What the signature shows is what people approved of it: its words for who listens, its size, and the logo, byte for byte."""
    seal, field = predicate["context"].get("visibleSeal"), rb"/Subtype /Widget /FT /Sig /T \(Countersign\d+\) /F 132 /Rect \[ (.*?) \] "
    found = re.search(field + (b"/P " if seal is None else rb"/AP << /N (\d+) 0 R >> /TU <([0-9a-f]*)> /Contents <\3> "), update)
    if not found:
        raise ValueError("the signature shows something that nobody approved, or not what people approved")
    left, bottom, right, top = (float(n) for n in found[1].split())
    if seal is None:
        if (left, bottom, right, top) != (0, 0, 0, 0):
            raise ValueError("the signature shows something, and people approved an invisible one")
        return
    if seal["v"] != 1 or sorted((round(right - left), round(top - bottom))) != sorted((seal["width"], seal["height"])):
        raise ValueError("the visible seal is not as large as people approved")
    digest, at = predicate["contextDigest"], predicate["intent"]["at"]
    words = (f"{seal['name']}. Signed electronically. Request {predicate['request']['request']}. Intent to sign {at[:10]} {at[11:19]} UTC. "
             f"Transaction {' '.join(digest[i : i + 4] for i in range(0, 16, 4))}.")
    if bytes.fromhex(found[3].decode()).decode("utf-16") != words:
        raise ValueError("the visible seal says something else than people approved")
    logo = seal.get("logo")
    if logo and base64.b64decode(logo["pixels"], validate=True) not in update:
        raise ValueError("the visible seal has another logo than people approved")
    if not logo and b"/Subtype /Image" in update:
        raise ValueError("the visible seal has a logo that nobody approved")


def people(files):
    """What people proved of a bundle's decisions, and the digests of the statement. It returns how many decisions counted."""
    signed_document(files, json.loads(files["statement.json"]))
    statement = json.loads(files["statement.json"])["predicate"]
    if digest("countersign context v1", statement["context"]) != statement["contextDigest"]:
        raise ValueError("the context doesn't have its digest")
    if digest("countersign plan v1", statement["plan"]) != statement["context"]["plan"]:
        raise ValueError("the plan doesn't have its digest")
    if digest("countersign request v1", statement["request"]) != statement["context"]["request"]:
        raise ValueError("the request doesn't have its fingerprint")
    if hashlib.sha256(files["policy/policy.cedar"]).hexdigest() != statement["context"]["policy"]:
        raise ValueError("the policy doesn't have its hash")
    trusted = json.loads(files["identity/issuers.json"])
    version, named = statement["context"]["v"], statement["context"].get("issuers")
    if (version, named) != (1, None) and (version != 2 or named != digest("countersign issuers v1", trusted)):
        raise ValueError("the identity providers are not those of the context")
    issuers = {i["url"]: i for i in trusted}
    counted = 0
    for name in sorted(n for n in files if n.startswith("identity/decision-")):
        document = json.loads(files[name])
        signed, check = document["signed"], document.get("check")
        if not check or check["record"].get("refusal") and not check.get("stamp"):
            continue
        decision = signed["decision"]
        h = digest("countersign decision v1", decision)
        if "stamp" in check or statement["context"].get("stamped"):
            imprint, stamped = token(base64.b64decode(check["stamp"], validate=True))
            if imprint != h or stamped < instant(check["at"]) - 60:
                raise ValueError(f"{name} has a time-stamp of something else, or of before it was taken")
        if check["record"].get("refusal"):
            continue
        if h != check["record"]["digest"] or decision["context"] != statement["contextDigest"]:
            raise ValueError(f"{name} is about something else")
        lent = bool(decision.get("grants"))
        if decision["v"] != 1 or not 0 < decision["exp"] - decision["iat"] <= 900 or lent != ("onBehalfOf" in decision):
            raise ValueError(f"{name} is not a decision of the form that people can make")
        if int(instant(check["at"])) >= decision["exp"]:
            raise ValueError(f"{name} had expired")
        actor = decision["actor"]
        if check["sender"] != actor["iss"] + "#" + actor["sub"]:
            raise ValueError(f"{name} was sent by somebody else")
        if not id_token(h, actor, decision["iat"], signed["proof"]["idToken"], issuers[actor["iss"]], check["facts"]["key"], check["at"]):
            raise ValueError(f"{name} is not proven")
        if "key" in signed["proof"] and not key_proof(h, check["key"]["enrolment"]["enrolment"], signed["proof"]["key"]):
            raise ValueError(f"{name} is not signed by its key")
        counted += 1
    return counted


# --- the vectors ------------------------------------------------------------------------------------------------------


def holds(check):
    try:
        return bool(check())
    except (ValueError, KeyError, IndexError, TypeError):
        return False


def read(path):
    raw = path.read_bytes()
    return gzip.decompress(raw) if path.suffix == ".gz" else raw


def pem(path):
    return base64.b64decode("".join(line for line in path.read_text(encoding="ascii").splitlines() if "-----" not in line), validate=True)


def fault(raw, quantum=None):
    """What this script finds wrong with a bundle, and the check that countersign makes of it; none where it finds nothing."""
    try:
        files = container(raw)
    except (ValueError, zipfile.BadZipFile, zlib.error) as why:
        return {"container", "manifest"}, str(why)
    try:
        history.form(files["history.json"])
    except (ValueError, KeyError) as why:
        return {"history"}, str(why)
    try:
        history.places(list(files)[1:-2])
    except ValueError as why:
        return {"files"}, str(why)
    try:
        endings.check(files)
    except (ValueError, KeyError) as why:
        return {"outcome", "context", "statement", "history", "policy"}, str(why)
    try:
        post_quantum(files, quantum)
    except ValueError as why:
        return {"post-quantum signature"}, str(why)
    try:
        return set(), f"{len(files) - 3} files, {people(files)} decisions proven"
    except (ValueError, KeyError) as why:
        return {"context", "issuers", "decisions", "decision time", "id tokens", "own keys", "policy", "files", "document", "document signature"}, str(why)


def opened(v):
    """What this script makes of a concealed form: its digest, the bundle's, what comes out and what is lost."""
    raw = base64.b64decode(v["stored"], validate=True)
    try:
        h, body, lost = concealed.reveal(raw, {name: bytes.fromhex(key) for name, key in v["masters"].items()})
    except ValueError:
        return "", "", "", []
    return hashlib.sha256(raw).hexdigest(), h["bundle"], base64.b64encode(body).decode(), lost


def main():
    here = pathlib.Path(sys.argv[1])
    failed = 0

    def result(good, text):
        nonlocal failed
        failed += not good
        print(("ok   " if good else "FAIL ") + "vectors: " + text)

    def load(name):
        return json.loads((here / name).read_text(encoding="utf-8"))

    for v in load("digests.json"):
        result(canonical(v["value"]) == v["canonical"] and digest(v["domain"], v["value"]) == v["digest"], f"digest of {v['about']}")
    for v in load("chains.json"):
        result(rules.chain(v["grants"]) == v["holds"], f"chain, {v['about']}, {'holds' if v['holds'] else 'is refused'}")
    for v in load("quorums.json"):
        approvals = v["approvals"] or []
        good = rules.satisfied(v["plan"], approvals) == v["satisfied"] and rules.broken(v["plan"], approvals) == v["broken"]
        result(good, f"quorum, {v['about']}, {'is enough' if v['satisfied'] else 'is not enough'}")
    for v in load("keys.json"):
        result(holds(lambda v=v: key_proof(v["digest"], v["enrolment"], v["proof"])) == v["holds"], f"{v['about']} {'holds' if v['holds'] else 'is refused'}")
    for v in load("logins.json"):
        d = v["decision"]
        proven = holds(lambda v=v, d=d: id_token(digest("countersign decision v1", d), d["actor"], d["iat"], v["idToken"], v["issuer"], v["key"], v["at"]))
        result(proven == v["holds"], f"a login, {v['about']}, {'holds' if v['holds'] else 'is refused'}")
    for v in load("concealed.json"):
        result(opened(v) == (v["digest"], v["bundle"], v["revealed"], v["lost"]), f"a concealed bundle, {v['about']}{'' if v['digest'] else ', is refused'}")
    seen = 0
    for v in load("bundles.json"):
        raw = bytearray(read(here / v["file"]))
        if "flip" in v:
            raw[v["flip"]] ^= 1
        checks, text = fault(bytes(raw), pem(here / v["postQuantumKey"]) if "postQuantumKey" in v else None)
        if v["fails"] and not checks:
            print(f"     vectors: bundle, {v['about']}: that is found where this script doesn't look")
            continue
        seen += bool(checks)
        result(bool(checks & set(v["fails"])) == bool(v["fails"]) and bool(checks) == bool(v["fails"]), f"bundle, {v['about']}: {text}")
    result(seen >= 20, f"{seen} of the broken bundles are found")
    for path in sys.argv[2:]:
        checks, text = fault(pathlib.Path(path).read_bytes())
        result(not checks, f"{pathlib.Path(path).name}: {text}")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
