"""What a person decides, and the digest that their identity provider binds to them."""

import hashlib
import time
import uuid

import rfc8785


def draft(request: dict, now: dict, stage: str, actor: dict, verdict: str, reason: str) -> dict:
    iat = int(time.time())
    return {
        "v": 1,
        "tenant": request["tenant"],
        "signing": now["saga"]["workflow"],
        "run": now["saga"]["run"],
        "stage": stage,
        "context": now["context"],
        "document": now["document"],
        "verdict": verdict,
        "reason": reason,
        "actor": actor,
        "grants": [],
        "policy": now["policy"],
        "iat": iat,
        "exp": iat + 600,
    }


def digest(decision: dict) -> str:
    """SHA-256 over the kind of the document, a zero byte and the RFC 8785 JSON, in hex."""
    return hashlib.sha256(b"countersign decision v1\0" + rfc8785.dumps(decision)).hexdigest()


def signed(decision: dict, id_token: str) -> dict:
    """The id makes a repeated signal count once."""
    return {"id": str(uuid.uuid4()), "decision": decision, "proof": {"idToken": id_token}}
