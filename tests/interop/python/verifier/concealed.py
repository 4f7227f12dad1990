"""The concealed form of a bundle, read and revealed by docs/evidence-format.md alone: HKDF (RFC 5869), AES-256 (FIPS 197) in counter mode."""

import hashlib
import hmac
import json
import struct

from canonical import canonical

MAGIC = b"countersign concealed bundle v1\n"


def for_bundle(master, digest):
    """The key for one bundle, of a person's key and the SHA-256 of the bundle."""
    pseudorandom = hmac.new(bytes.fromhex(digest), master, hashlib.sha256).digest()
    return hmac.new(pseudorandom, MAGIC + b"\x01", hashlib.sha256).digest()


def double(a):
    return (a << 1 ^ (0x11B if a & 0x80 else 0)) & 0xFF


def times(a, b):
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a, b = double(a), b >> 1
    return product


def box():
    """The substitution box: the inverse in GF(2^8), and an affine transformation."""
    values = []
    for a in range(256):
        b = next((b for b in range(256) if times(a, b) == 1), 0)
        turned = b
        for shift in range(1, 5):
            turned ^= (b << shift | b >> (8 - shift)) & 0xFF
        values.append(turned ^ 0x63)
    return values


SBOX = box()


def expand(key):
    """The 15 round keys of AES-256."""
    words = [list(key[i : i + 4]) for i in range(0, 32, 4)]
    constant = 1
    for i in range(8, 60):
        word = words[-1]
        if i % 8 == 0:
            word = [SBOX[b] for b in word[1:] + word[:1]]
            word[0] ^= constant
            constant = double(constant)
        elif i % 8 == 4:
            word = [SBOX[b] for b in word]
        words.append([a ^ b for a, b in zip(words[i - 8], word)])
    return [sum(words[i : i + 4], []) for i in range(0, 60, 4)]


def encrypt(rounds, block):
    """One block: the state is column after column."""
    state = [a ^ b for a, b in zip(block, rounds[0])]
    for number, key in enumerate(rounds[1:], 1):
        state = [SBOX[state[(i + 4 * (i % 4)) % 16]] for i in range(16)]
        if number < 14:
            mixed = []
            for c in range(0, 16, 4):
                a, b, d, e = state[c : c + 4]
                mixed += [
                    double(a) ^ double(b) ^ b ^ d ^ e, a ^ double(b) ^ double(d) ^ d ^ e,
                    a ^ b ^ double(d) ^ double(e) ^ e, double(a) ^ a ^ b ^ d ^ double(e),
                ]
            state = mixed
        state = [a ^ b for a, b in zip(state, key)]
    return bytes(state)


def read(raw):
    """The header and the body of a concealed form."""
    if not raw.startswith(MAGIC) or len(raw) < len(MAGIC) + 4:
        raise ValueError("it doesn't begin as one")
    at = len(MAGIC) + 4
    (size,) = struct.unpack(">I", raw[len(MAGIC) : at])
    text, body = raw[at : at + size], raw[at + size :]
    if size > 16 << 20 or len(text) != size:
        raise ValueError("its header is cut")
    h = json.loads(text)
    if canonical(h).encode() != text or set(h) != {"v", "bundle", "bytes", "subjects", "sets", "runs"}:
        raise ValueError("its header is not canonical")
    if h["v"] != 1 or h["bytes"] != len(body) or h["subjects"] != sorted(h["subjects"]) or len(bytes.fromhex(h["bundle"])) != 32:
        raise ValueError("its header doesn't fit")
    for s in h["sets"]:
        if not s or s != sorted(s) or s[0] < 0 or s[-1] >= len(h["subjects"]):
            raise ValueError("it names people that it doesn't list")
    end = 0
    for gap, length, number in h["runs"]:
        if gap < 0 or length < 1 or not 0 <= number < len(h["sets"]) or end + gap + length > len(body):
            raise ValueError("a run is outside of it")
        end += gap + length
    return h, body


def reveal(raw, masters):
    """The bundle as far as people's keys open it, and what is lost: offsets and lengths."""
    h, body = read(raw)
    body, lost, at = bytearray(body), [], 0
    rounds = {name: expand(for_bundle(key, h["bundle"])) for name, key in masters.items()}
    for gap, length, number in h["runs"]:
        at += gap
        people = [h["subjects"][s] for s in h["sets"][number]]
        if all(p in rounds for p in people):
            for p in people:
                for i in range(at, at + length):
                    body[i] ^= encrypt(rounds[p], bytes(8) + struct.pack(">Q", i // 16))[i % 16]
        else:
            lost.append([at, length])
        at += length
    if not lost and hashlib.sha256(body).hexdigest() != h["bundle"]:
        raise ValueError("what comes out is not what was concealed")
    return h, bytes(body), lost
