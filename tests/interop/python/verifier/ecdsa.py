"""ECDSA on P-256 with SHA-256 (FIPS 186-5, section 6.4.2), written out: the standard library has none. Not in constant time, which checking needs not."""

import hashlib

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
