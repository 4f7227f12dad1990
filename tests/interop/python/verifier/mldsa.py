"""ML-DSA signatures with an empty context: FIPS 204, algorithms 3 and 8, in the plainest form. It is slow, and it is for public data alone."""

import hashlib

Q, N = 8380417, 256

# By the last byte of the object identifier (RFC 9881): k, l, gamma1, gamma2, tau, beta, omega, and the length of c~.
KINDS = {
    0x11: ("ML_DSA_44", 4, 4, 1 << 17, (Q - 1) // 88, 39, 78, 80, 32),
    0x12: ("ML_DSA_65", 6, 5, 1 << 19, (Q - 1) // 32, 49, 196, 55, 48),
    0x13: ("ML_DSA_87", 8, 7, 1 << 19, (Q - 1) // 32, 60, 120, 75, 64),
}

ZETAS = [pow(1753, int(f"{i:08b}"[::-1], 2), Q) for i in range(N)]


def ntt(w):
    w, m, length = list(w), 0, 128
    while length:
        for start in range(0, N, 2 * length):
            m += 1
            for j in range(start, start + length):
                t = ZETAS[m] * w[j + length] % Q
                w[j], w[j + length] = (w[j] + t) % Q, (w[j] - t) % Q
        length //= 2
    return w


def inverse_ntt(w):
    w, m, length = list(w), N, 1
    while length < N:
        for start in range(0, N, 2 * length):
            m -= 1
            for j in range(start, start + length):
                t = w[j]
                w[j], w[j + length] = (t + w[j + length]) % Q, -ZETAS[m] * (t - w[j + length]) % Q
        length *= 2
    return [x * 8347681 % Q for x in w]


def unpack(data, bits):
    number = int.from_bytes(data, "little")
    return [number >> bits * i & (1 << bits) - 1 for i in range(N)]


def pack(values, bits):
    return sum(v << bits * i for i, v in enumerate(values)).to_bytes(N * bits // 8, "little")


def matrix_entry(rho, row, column):
    """RejNTTPoly: 1,680 bytes are more than are ever needed."""
    stream, out = hashlib.shake_128(rho + bytes([column, row])).digest(1680), []
    for i in range(0, len(stream), 3):
        value = stream[i] | stream[i + 1] << 8 | (stream[i + 2] & 0x7F) << 16
        if value < Q and len(out) < N:
            out.append(value)
    return out


def challenge(seed, tau):
    """SampleInBall."""
    stream = hashlib.shake_256(seed).digest(8 + 1024)
    signs, at, c = int.from_bytes(stream[:8], "little"), 8, [0] * N
    for i in range(N - tau, N):
        while stream[at] > i:
            at += 1
        c[i], c[stream[at]] = c[stream[at]], 1 - 2 * (signs >> i + tau - N & 1)
        at += 1
    return c


def hints(data, k, omega):
    """HintBitUnpack, which has one form for each set of hints."""
    out, index = [[0] * N for _ in range(k)], 0
    for i in range(k):
        end, first = data[omega + i], index
        if end < index or end > omega:
            return None
        for index in range(first, end):
            if index > first and data[index - 1] >= data[index]:
                return None
            out[i][data[index]] = 1
        index = end
    return out if not any(data[index:omega]) else None


def use_hint(h, r, gamma2):
    r0 = r % (2 * gamma2)
    r0 -= 2 * gamma2 if r0 > gamma2 else 0
    r1, r0 = (0, r0 - 1) if r - r0 == Q - 1 else ((r - r0) // (2 * gamma2), r0)
    return (r1 + (h if r0 > 0 else -h)) % ((Q - 1) // (2 * gamma2))


def public_key(spki):
    """The kind of a SubjectPublicKeyInfo and its key."""
    kind = KINDS.get(spki[16]) if len(spki) > 22 else None
    size = 32 + 320 * kind[1] if kind else 0
    head = bytes.fromhex("3082") + (size + 18).to_bytes(2, "big") + bytes.fromhex("300b06096086480165030403") + spki[16:17] + bytes.fromhex("0382") + (size + 1).to_bytes(2, "big") + b"\0"
    if not kind or spki[:22] != head or len(spki) != 22 + size:
        raise ValueError("it is no public key of ML-DSA")
    return kind, spki[22:]


def verifies(spki, message, signature):
    (_, k, l, gamma1, gamma2, tau, beta, omega, short), key = public_key(spki)
    bits = gamma1.bit_length()
    if len(signature) != short + 32 * bits * l + omega + k:
        return False
    seed, rest = signature[:short], signature[short:]
    z = [[gamma1 - v for v in unpack(rest[32 * bits * i : 32 * bits * (i + 1)], bits)] for i in range(l)]
    h = hints(rest[32 * bits * l :], k, omega)
    if h is None or any(abs(v) >= gamma1 - beta for poly in z for v in poly):
        return False
    mu = hashlib.shake_256(hashlib.shake_256(key).digest(64) + b"\0\0" + message).digest(64)
    c, z, packed = ntt(challenge(seed, tau)), [ntt(poly) for poly in z], b""
    for row in range(k):
        t1 = ntt([v << 13 for v in unpack(key[32 + 320 * row : 352 + 320 * row], 10)])
        entries = [matrix_entry(key[:32], row, column) for column in range(l)]
        w = inverse_ntt([(sum(entries[s][i] * z[s][i] for s in range(l)) - c[i] * t1[i]) % Q for i in range(N)])
        packed += pack([use_hint(h[row][i], w[i], gamma2) for i in range(N)], ((Q - 1) // (2 * gamma2) - 1).bit_length())
    return hashlib.shake_256(mu + packed).digest(short) == seed
