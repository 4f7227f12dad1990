"""Proofs of people, as docs/evidence-format.md has them: ID tokens, passkeys and device keys. Of the algorithms, ES256 alone."""

import base64
import datetime
import hashlib
import json

from canonical import canonical
from ecdsa import der_signature, ecdsa


def b64url(text):
    raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != text:
        raise ValueError("it is not base64url in its one form")
    return raw


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
