"""What a time-stamp token (RFC 3161) says, as docs/evidence-format.md has it. Its signature is not checked: the standard library has no CMS."""

import datetime

SHA256 = bytes.fromhex("608648016503040201")
TST_INFO = bytes.fromhex("060b2a864886f70d0109100104")  # id-ct-TSTInfo, with tag and length


def children(der):
    """The DER elements in a constructed one, as tag and content."""
    at = 0
    while at < len(der):
        tag, length, header = der[at], der[at + 1], 2
        if length > 127:
            header = 2 + (length & 127)
            length = int.from_bytes(der[at + 2 : at + header], "big")
        yield tag, der[at + header : at + header + length]
        at += header + length


def only(der, tag):
    ((found, content),) = children(der)
    if found != tag:
        raise ValueError("it is no time-stamp token")
    return content


def token(der):
    """The imprint, of SHA-256, and the time of a token, in seconds since 1970."""
    _, (_, wrapped) = children(only(der, 0x30))
    parts = list(children(only(wrapped, 0x30)))
    encapsulated = parts[2][1]
    if not encapsulated.startswith(TST_INFO):
        raise ValueError("it is no time-stamp token")
    _, (_, content) = children(encapsulated)
    info = list(children(only(only(content, 0x04), 0x30)))
    (_, algorithm), (_, imprint) = children(info[2][1])
    if next(children(algorithm)) != (6, SHA256):
        raise ValueError("its imprint is not of SHA-256")
    whole = info[4][1].decode().rstrip("Z").partition(".")[0]
    when = datetime.datetime.strptime(whole, "%Y%m%d%H%M%S").replace(tzinfo=datetime.timezone.utc)
    return imprint.hex(), when.timestamp()
