#!/usr/bin/env python3
"""Checks tests/vectors by docs/evidence-format.md alone, with Python's standard library: a second implementation.

    vectors.py DIRECTORY [BUNDLE]...

It recomputes canonical JSON and digests, verifies keys and logins (ECDSA on P-256 written out below), and reads the bundles
as far as it goes without Temporal's and Cedar's formats: container, manifest, the files' digests, and what people proved.
"""

import base64
import datetime
import gzip
import hashlib
import io
import json
import pathlib
import sys
import xml.etree.ElementTree as tree
import zipfile
import zlib

# --- canonical JSON (RFC 8785) and digests ----------------------------------------------------------------------------


def canonical(value):
    """RFC 8785 of JSON without fractions: nothing that has a digest has any."""
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(canonical(n) + ":" + canonical(value[n]) for n in names) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, float) or isinstance(value, int) and abs(value) >= 1 << 53:
        raise ValueError(f"{value} is no number that has one form everywhere")
    return json.dumps(value, ensure_ascii=False)


def digest(domain, value):
    return hashlib.sha256(domain.encode() + b"\0" + canonical(value).encode()).hexdigest()


def b64url(text):
    raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != text:
        raise ValueError("it is not base64url in its one form")
    return raw


# --- ECDSA on P-256 with SHA-256 (FIPS 186-5, section 6.4.2) ----------------------------------------------------------

P = 2**256 - 2**224 + 2**192 + 2**96 - 1
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
G = (0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296, 0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5)


def add(a, b):
    if a is None or b is None:
        return a or b
    if a[0] == b[0] and (a[1] + b[1]) % P == 0:
        return None
    slope = (3 * a[0] * a[0] - 3) * pow(2 * a[1], -1, P) if a == b else (b[1] - a[1]) * pow(b[0] - a[0], -1, P)
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def times(k, point):
    out = None
    while k:
        out = add(out, point) if k & 1 else out
        point, k = add(point, point), k >> 1
    return out


def ecdsa(key, message, r, s):
    x, y = key
    if not (0 < r < N and 0 < s < N) or not (x < P and y < P) or (y * y - x * x * x + 3 * x - B) % P:
        return False
    w, e = pow(s, -1, N), int.from_bytes(hashlib.sha256(message).digest(), "big")
    point = add(times(e * w % N, G), times(r * w % N, key))
    return point is not None and point[0] % N == r


def der_signature(raw):
    """The two numbers of an ASN.1 ECDSA signature, in DER and nothing else."""

    def integer(at):
        if raw[at] != 2 or raw[at + 1] > 33:
            raise ValueError("it is no DER signature")
        return int.from_bytes(raw[at + 2 : at + 2 + raw[at + 1]], "big", signed=True), at + 2 + raw[at + 1]

    r, at = integer(2)
    s, end = integer(at)
    if raw[0] != 0x30 or raw[1] != len(raw) - 2 or end != len(raw):
        raise ValueError("it is no DER signature")
    return r, s


def jws(token, key):
    """Header and payload of a compact JWS of ES256, if its signature holds."""
    header, payload, signature = token.split(".")
    raw = b64url(signature)
    if json.loads(b64url(header))["alg"] != "ES256" or len(raw) != 64:
        raise ValueError("it is not signed by ES256")
    if not ecdsa(key, f"{header}.{payload}".encode(), int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")):
        raise ValueError("its signature does not hold")
    return json.loads(b64url(header)), json.loads(b64url(payload))


def jwk(key):
    if key["kty"] != "EC" or key["crv"] != "P-256":
        raise ValueError("this script knows P-256 alone")
    return tuple(int.from_bytes(b64url(key[c]), "big") for c in "xy")


# --- proofs -----------------------------------------------------------------------------------------------------------


def key_proof(want, enrolment, proof):
    """Whether the enrolled key signed the digest."""
    if proof["key"] != hashlib.sha256(b64url(enrolment["credential"])).hexdigest():
        return False
    public = b64url(enrolment["publicKey"])
    if enrolment["kind"] == "device":
        key = json.loads(public)
        thumbprint = hashlib.sha256(canonical({n: key[n] for n in ("crv", "kty", "x", "y")}).encode()).digest()
        header, payload = jws(proof["signature"], jwk(key))
        return (
            thumbprint == b64url(enrolment["credential"])
            and header == {"alg": "ES256", "typ": "countersign-proof+jws", "kid": enrolment["credential"]}
            and payload == {"digest": want}
        )
    # A COSE_Key of ES256 in canonical form: {1: 2, 3: -7, -1: 1, -2: x, -3: y}.
    if public[:10] != bytes.fromhex("a5010203262001215820") or public[42:45] != bytes.fromhex("225820") or len(public) != 77:
        return False
    key = int.from_bytes(public[10:42], "big"), int.from_bytes(public[45:], "big")
    client, auth = b64url(proof["clientDataJSON"]), b64url(proof["authenticatorData"])
    said = json.loads(client)
    return (
        said["type"] == "webauthn.get"
        and b64url(said["challenge"]).hex() == want
        and said["origin"] in enrolment["origins"]
        and not said.get("crossOrigin")
        and not said.get("topOrigin")
        and auth[:32] == hashlib.sha256(enrolment["relyingParty"].encode()).digest()
        and auth[32] & 5 == 5
        and not auth[32] & 0x40
        and ecdsa(key, auth + hashlib.sha256(client).digest(), *der_signature(b64url(proof["signature"])))
    )


def instant(text):
    """Seconds since 1970 of RFC 3339 in UTC, its nanoseconds kept as a fraction."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    seconds = datetime.datetime.fromisoformat(whole).replace(tzinfo=datetime.timezone.utc).timestamp()
    return int(seconds) + (int(fraction.ljust(9, "0")) / 1e9 if fraction else 0)


def id_token(want, actor, issued, token, issuer, key, at):
    """Whether the actor's own identity provider issued the token for this digest alone."""
    _, claims = jws(token, jwk(key))
    now, leeway = instant(at), 60
    return (
        claims["nonce"] == want
        and {"iss": claims["iss"], "sub": claims["sub"]} == actor
        and claims["iss"] == issuer["url"]
        and claims["aud"] in (issuer["evidenceAudience"], [issuer["evidenceAudience"]])
        and claims.get("azp", issuer["evidenceAudience"]) == issuer["evidenceAudience"]
        and now < claims["exp"]
        and claims["iat"] <= now + leeway
        and bool(claims.get("auth_time"))
        and issued - leeway <= claims["auth_time"] <= now + leeway
    )


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


def people(files):
    """What people proved of a bundle's decisions, and the digests of the statement. It returns how many decisions counted."""
    statement = json.loads(files["statement.json"])["predicate"]
    if digest("countersign context v1", statement["context"]) != statement["contextDigest"]:
        raise ValueError("the context doesn't have its digest")
    if digest("countersign plan v1", statement["plan"]) != statement["context"]["plan"]:
        raise ValueError("the plan doesn't have its digest")
    if digest("countersign request v1", statement["request"]) != statement["context"]["request"]:
        raise ValueError("the request doesn't have its fingerprint")
    if hashlib.sha256(files["policy/policy.cedar"]).hexdigest() != statement["context"]["policy"]:
        raise ValueError("the policy doesn't have its hash")
    issuers = {i["url"]: i for i in json.loads(files["identity/issuers.json"])}
    counted = 0
    for name in sorted(n for n in files if n.startswith("identity/decision-")):
        document = json.loads(files[name])
        signed, check = document["signed"], document.get("check")
        if not check or check["record"].get("refusal"):
            continue
        decision = signed["decision"]
        h = digest("countersign decision v1", decision)
        if h != check["record"]["digest"] or decision["context"] != statement["contextDigest"]:
            raise ValueError(f"{name} is about something else")
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


def fault(raw):
    """What this script finds wrong with a bundle, and the check that countersign makes of it; none where it finds nothing."""
    try:
        files = container(raw)
    except (ValueError, zipfile.BadZipFile, zlib.error) as why:
        return {"container"}, str(why)
    try:
        return set(), f"{len(files) - 3} files, {people(files)} decisions proven"
    except ValueError as why:
        return {"context", "decisions", "policy", "files"}, str(why)


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
    for v in load("keys.json"):
        result(holds(lambda v=v: key_proof(v["digest"], v["enrolment"], v["proof"])) == v["holds"], f"{v['about']} {'holds' if v['holds'] else 'is refused'}")
    for v in load("logins.json"):
        d = v["decision"]
        proven = holds(lambda v=v, d=d: id_token(digest("countersign decision v1", d), d["actor"], d["iat"], v["idToken"], v["issuer"], v["key"], v["at"]))
        result(proven == v["holds"], f"a login, {v['about']}, {'holds' if v['holds'] else 'is refused'}")
    seen = 0
    for v in load("bundles.json"):
        raw = bytearray(read(here / v["file"]))
        if "flip" in v:
            raw[v["flip"]] ^= 1
        checks, text = fault(bytes(raw))
        if v["fails"] and not checks:
            print(f"     vectors: bundle, {v['about']}: that is found where this script doesn't look")
            continue
        seen += bool(checks)
        result(bool(checks & set(v["fails"])) == bool(v["fails"]) and bool(checks) == bool(v["fails"]), f"bundle, {v['about']}: {text}")
    result(seen >= 6, f"{seen} of the broken bundles are found")
    for path in sys.argv[2:]:
        checks, text = fault(pathlib.Path(path).read_bytes())
        result(not checks, f"{pathlib.Path(path).name}: {text}")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
