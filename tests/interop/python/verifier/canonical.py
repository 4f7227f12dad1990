"""Canonical JSON (RFC 8785) and digests, as docs/evidence-format.md has them."""

import hashlib
import json


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
