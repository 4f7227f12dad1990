#!/usr/bin/env python3
"""Asks DSS and `verifier --renewal` about evidence records (RFC 4998) of bundles, whole and broken, and about DSS's own samples, and compares the answers case by case.

    records.py CLASSPATH BIN WORK RECORDS TENANT_CA TSA_CA OTHER_BUNDLE OTHER_TENANT_CA OTHER_TSA_CA

RECORDS is what ../python/renewal.py wrote, the other bundle one that holds by itself and has nothing to do with these. BIN has `verifier` and `renewals` (./renewals), WORK/samples DSS's test archives. DSS is asked with its own policy, unchanged,
and the revocation lists of the authorities. Needs java and Python's standard library.
"""

import base64
import collections
import hashlib
import io
import json
import pathlib
import re
import subprocess
import sys
import zipfile

from agree import children, flip, wrap

JAVA = ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m"]
CERTIFICATE = re.compile(rb"\x30\x82..\x30\x82..\xa0\x03\x02\x01\x02", re.S)
SIGNED_TIME = bytes.fromhex("060b2a864886f70d0109100104")  # id-ct-TSTInfo
LEAST = 100  # pairs of DSS's records and files: fewer means that its archives changed their form

# What our verifier leaves out or demands more than DSS, and nothing else may part the two: by what it says, and which change of form must have gone before.
APART = {
    "a hash-tree renewal digests the chains before it as they are written, and ours reads no such writing": (r"time-stamp \d+: the hash tree is not about this|time-stamp \d+: timestamp: token is for another imprint", "chains"),
    "the token names its certificate by SHA-1 alone; ours demands signing-certificate-v2 (RFC 5816)": (r"signing-certificate-v2 is missing", None),
    "the token carries OCSP answers, which ours doesn't read": (r"couldn't read the revocation lists", None),
    "the token is signed by RSASSA-PSS, which ours doesn't read": (r"algorithm 1\.2\.840\.113549\.1\.1\.10 ", None),
    "SHA-224, which ours doesn't take": (r"digest algorithm 2\.16\.840\.1\.101\.3\.4\.2\.4 is not accepted", None),
}

failed = 0


def result(good, text):
    global failed
    failed += not good
    print(("ok   " if good else "FAIL ") + "dss records: " + text)


def ask_dss(classpath, work, name, cases):
    """cases are name, record, files, roots and lists. The answers, by name."""
    listed = work / f"{name}.tsv"
    listed.write_text("".join("\t".join([label, str(record), *(",".join(map(str, part)) or "-" for part in parts)]) + "\n" for label, record, *parts in cases))
    ran = subprocess.run([*JAVA, "-cp", classpath, "Records", listed], stdout=subprocess.PIPE, text=True, check=True)
    (work / f"{name}.json").write_text(ran.stdout)
    return {a["case"]: a for a in map(json.loads, ran.stdout.splitlines())}


def ask_ours(verifier, bundle, record, signers, authorities):
    """Whether the record holds, and which checks failed, with what ours says of the record."""
    ran = subprocess.run([verifier, bundle, "--tenant-ca", signers, "--tsa-ca", authorities, "--renewal", record, "--json"], capture_output=True, text=True, check=False, timeout=60)
    findings = {f["check"]: f for f in json.loads(ran.stdout)["findings"]}
    renewal = findings.get("renewal", {"state": "missing", "detail": ""})
    return renewal["state"] == "pass" and ran.returncode == 0, [c for c, f in findings.items() if f["state"] == "fail"], renewal["detail"]


def part(stamp, tag):
    return next(f for f in children(stamp) if f[0] == tag)


def record_of(chains):
    """A record of these time-stamps in our form, so that nothing but what it says is wrong with it."""
    algorithms = dict.fromkeys(next(children(part(stamp, 0xA0))) for chain in chains for stamp in chain)
    return wrap(0x30, [b"\2\1\1", wrap(0x30, [wrap(0x30, [a]) for a in algorithms]), wrap(0x30, [wrap(0x30, chain) for chain in chains])])


def broken(records, work):
    """Each way to break the records of a bundle: name and record."""
    first, second, third = (r.read_bytes() for r in records)
    *_, sequence = children(third)
    (stamp1, stamp2), (stamp3,) = (list(children(chain)) for chain in children(sequence))

    def put(name, body):
        (work / f"{name}.ers").write_bytes(body)
        return work / f"{name}.ers"

    def swapped(record, old, new):
        """The record with a part of the same length in its place."""
        assert len(old) == len(new) and record.count(old) == 1
        return record.replace(old, new)

    tree, token = part(stamp1, 0xA2), part(stamp1, 0x30)
    values = list(children(next(children(tree))))
    assert record_of([[stamp1, stamp2], [stamp3]]) == third, "the records are not written as ours are, so the cases would prove nothing"
    assert len(values) == 2, "the bundles don't share their time-stamp: renew two"
    for n, value in enumerate(values):
        yield f"value {n + 1} of the hash tree flipped", put(f"value{n}", swapped(first, value, flip(value, 9)))
    yield "the hash tree cut out", put("treeless", record_of([[wrap(0x30, [part(stamp1, 0xA0), token])]]))
    info = token.index(SIGNED_TIME)
    imprint = token.index(bytes.fromhex("0440"), info)
    yield "the time-stamp's imprint flipped", put("imprint", swapped(first, token, flip(token, imprint + 12)))
    yield "the time-stamp's time flipped", put("time", swapped(first, token, flip(token, re.compile(rb"\x18.20\d{12}").search(token, info).start() + 15)))
    yield "the time-stamp's signature flipped", put("signature", swapped(first, token, flip(token, len(token) - 10)))
    yield "the archive time-stamp of the renewal instead", put("other-stamp", record_of([[stamp2]]))
    yield "the token of the renewal instead", put("other-token", record_of([[wrap(0x30, [part(stamp1, 0xA0), tree, part(stamp2, 0x30)])]]))
    yield "time-stamp renewal: the first time-stamp left out", put("second-alone", record_of([[stamp2], [stamp3]]))
    yield "time-stamp renewal: the two change places", put("places", record_of([[stamp2, stamp1], [stamp3]]))
    yield "hash-tree renewal: the first chain left out", put("third-alone", record_of([[stamp3]]))
    yield "hash-tree renewal: a time-stamp of the first chain left out", put("shorter", record_of([[stamp1], [stamp3]]))
    yield "hash-tree renewal: the chains change places", put("chains", record_of([[stamp3], [stamp1, stamp2]]))
    yield "hash-tree renewal: its token flipped", put("third-flipped", swapped(third, stamp3, flip(stamp3, len(stamp3) - 10)))
    yield "the record cut short", put("short", second[:-1])


def of_bundles(classpath, verifier, work, records, own, other):
    bundle, neighbour = records / "1.asice", records / "2.asice"
    rounds = [records / f"1.{n}.ers" for n in (1, 2, 3)]
    flipped = work / "flipped.asice"
    body = bundle.read_bytes()
    flipped.write_bytes(flip(body, len(body) // 2))
    # Both stacks are trusted throughout: so what refuses a record of another bundle is not that bundle.
    signers, authorities = work / "signers.pem", work / "authorities.pem"
    for file, n in ((signers, 1), (authorities, 2)):
        file.write_text(own[n].read_text() + other[n].read_text())
    roots, lists = [own[2], other[2]], sorted(records.glob("*.crl"))
    # name, record, file, and whether both must take it
    cases = [(f"renewal {n}", r, bundle, True) for n, r in enumerate(rounds, 1)]
    cases += [(f"renewal {n}, of the bundle that was stamped with it", r, neighbour, True) for n, r in enumerate(rounds, 1)]
    for n, r in enumerate(rounds, 1):
        cases += [(f"renewal {n}, of a bundle with a byte flipped", r, flipped, False), (f"renewal {n}, of another bundle", r, other[0], False)]
    cases += [(name, r, bundle, False) for name, r in broken(rounds, work)]
    answers = ask_dss(classpath, work, "renewals", [(name, r, [file], roots, lists) for name, r, file, _ in cases])
    unrevoked = ask_dss(classpath, work, "unlisted", [(name, r, [file], roots, []) for name, r, file, expected in cases if expected])

    print(f"     {'case':<62} {'DSS':<38} ours")
    for name, record, file, expected in cases:
        dss = answers[name]
        own, checks, said = ask_ours(verifier, file, record, signers, authorities)
        verdict = dss["indication"] + ("" if dss.get("subIndication", "null") == "null" else " " + dss["subIndication"])
        print(f"     {name:<62} {verdict:<38} {'holds' if own else 'refused'}: {said[:90]}")
        result(dss["passed"] == own == expected, f"{name}: DSS says {verdict}, ours {'takes' if own else 'refuses'} it; want both to {'take' if expected else 'refuse'} it")
        if file != flipped:
            result(checks == ([] if expected else ["renewal"]), f"{name}: of ours, the record's check alone decides: {checks}")
        if not expected:
            continue
        stamps = dss["stamps"]
        intact = dss["structure"] and all(s["imprintIntact"] and s["signatureIntact"] and s["treeIntact"] and s["indication"] == "PASSED" for s in stamps)
        result(intact and len(stamps) == int(name.split()[1].rstrip(",")), f"{name}: structure, imprints and all of {len(stamps)} archive time-stamps are intact, says DSS")
        found = [i["file"] for i in dss["imprints"] if i["type"] == "EVIDENCE_RECORD_ARCHIVE_OBJECT" and i["found"] and i["intact"]]
        result(found == [file.name], f"{name}: it is over {found}, says DSS")
        without = unrevoked[name]
        result(
            (without["indication"], without["subIndication"]) == ("INDETERMINATE", "CERTIFICATE_CHAIN_GENERAL_FAILURE")
            and {w.split(":")[0] for w in without["why"]} == {"ADEST_IBSVPTADC_ANS", "BBB_XCV_SUB_ANS", "BBB_XCV_IRDPFC_ANS"},
            f"{name}: without revocation lists DSS says {without['indication']}, because it finds none, and nothing else",
        )


def authority_of_theirs(classpath, renewals, work, records, root):
    """The same records where another authority is trusted. A verifier of bundles stops at the bundle's own time-stamp before it looks, so that of records is asked."""
    cases = [(f"renewal {n}, another root", records / f"1.{n}.ers", records / "1.asice") for n in (1, 2, 3)]
    answers = ask_dss(classpath, work, "roots", [(name, r, [file], [root], sorted(records.glob("*.crl"))) for name, r, file in cases])
    for name, record, file in cases:
        ran = subprocess.run([renewals], input=f"{name}\t{record}\t{file}\t{root}\n", stdout=subprocess.PIPE, text=True, check=True)
        own, dss = json.loads(ran.stdout)["asItIs"], answers[name]
        print(f"     {name:<62} {dss['indication'] + ' ' + dss['subIndication']:<38} refused: {own.get('why', '')[:90]}")
        result(not dss["passed"] and "unknown authority" in own.get("why", ""), f"{name}: refused by both")


def archived(jars):
    """DSS's records and files: name and bytes, those inside its containers as well."""
    records, files = {}, {f"the byte {n:#04x}": bytes([n]) for n in range(256)} | {"the digits 123456": b"123456"}  # what its tests make records of

    def walk(archive, before):
        for i in archive.infolist():
            if i.is_dir() or i.filename.endswith(".class"):
                continue
            name, body = before + i.filename, archive.read(i)
            files[name] = body
            if re.search(r"\.ers?$", name) or re.search(rb"<(\w+:)?EvidenceRecord[\s>]", body[:1000]):
                records[name] = body
            elif body[:2] == b"PK":
                try:
                    walk(zipfile.ZipFile(io.BytesIO(body)), name + "!")
                except (zipfile.BadZipFile, NotImplementedError):  # some are broken, and meant to be
                    pass

    for jar in jars:
        walk(zipfile.ZipFile(jar), re.sub(r"-[\d.]+-tests$", "", jar.stem) + "/")
    return records, files


def certificates(record):
    found = {record[m.start() : m.start() + 4 + int.from_bytes(record[m.start() + 2 : m.start() + 4], "big")] for m in CERTIFICATE.finditer(record)}
    return ["-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(c).decode() + "-----END CERTIFICATE-----\n" for c in sorted(found)]


def of_dss(classpath, renewals, work):
    """DSS's own records over each file among its samples whose digest occurs in one; what a record carries is trusted."""
    records, files = archived(sorted((work / "samples").glob("*.jar")))
    by_digest = {}
    for name, body in files.items():
        for algorithm in ("sha1", "sha224", "sha256", "sha384", "sha512"):
            by_digest.setdefault(hashlib.new(algorithm, body).digest(), name)
    dss, own, xml, homeless = [], [], [], 0
    for n, (name, body) in enumerate(sorted(records.items())):
        path = work / "dss" / f"{n}"
        path.mkdir(parents=True)
        (path / "record").write_bytes(body)
        if body.lstrip(b"\xef\xbb\xbf \r\n\t")[:1] == b"<":
            xml.append(name)
            own.append((name, path / "record", path / "record", path / "all.pem"))
            (path / "all.pem").write_text("")
            continue
        pems = certificates(body)
        (path / "all.pem").write_text("".join(pems))
        for i, pem in enumerate(pems):
            (path / f"{i}.pem").write_text(pem)
        fitting = sorted({file for digest, file in by_digest.items() if digest in body})
        homeless += not fitting
        for i, file in enumerate(fitting or ["the byte 0x00"]):
            (path / f"file{i}").write_bytes(files[file])
            label = f"{name} over {file}"
            dss.append((label, path / "record", [path / f"file{i}"], [path / f"{i}.pem" for i in range(len(pems))], []))
            own.append((label, path / "record", path / f"file{i}", path / "all.pem"))
    answers = ask_dss(classpath, work, "dss-records", dss)
    ran = subprocess.run([renewals], input="".join("\t".join(map(str, c)) + "\n" for c in own), stdout=subprocess.PIPE, text=True, check=True)
    ours = {a["case"]: a for a in map(json.loads, ran.stdout.splitlines())}

    agreed, apart = collections.Counter(), collections.defaultdict(list)
    for label, *_ in dss:
        took, mine = answers[label]["passed"], ours[label]
        reason = next((r for r, (said, form) in APART.items() if re.search(said, mine["ourForm"].get("why", "")) and (form is None or form in (mine["changed"] or []))), None)
        if mine["asItIs"]["passed"] and not (took and mine["ourForm"]["passed"]):
            result(False, f"{label}: ours takes it, DSS says {answers[label]['indication']}: {answers[label]['why']}")
        elif took == mine["ourForm"]["passed"]:
            agreed["taken by both" if took else "refused by both"] += 1
        elif took and reason:
            apart[reason].append(label)
        else:
            result(False, f"{label}: DSS says {answers[label]['indication']} {answers[label]['why']}, ours {mine['ourForm']}")
    taken = [x for x in xml if ours[x]["asItIs"]["passed"]]
    result(not taken and len(xml) > 0, f"each of {len(xml)} records in XML (RFC 6283), which ours doesn't read, is refused by it {taken or ''}")
    for reason, labels in apart.items():
        print(f"     {len(labels)} can't be compared: {reason}:")
        for label in labels:
            print(f"       {label}")
    compared = sum(agreed.values())
    result(
        agreed["taken by both"] > 20 and agreed["refused by both"] > 20 and len(dss) > LEAST,
        f"of {len(dss)} pairs of a record and a file of DSS, {compared} agree ({', '.join(f'{n} {what}' for what, n in sorted(agreed.items()))}; of {homeless} records no file is there),"
        f" {len(dss) - compared} can't be compared for {len(apart)} reasons",
    )
    unused = [r for r in APART if r not in apart]
    result(not unused, f"each reason not to compare is met {unused or ''}")


def main():
    classpath, *paths = sys.argv[1:]
    binaries, work, records, tenant_ca, tsa_ca, *other = map(pathlib.Path, paths)
    of_bundles(classpath, binaries / "verifier", work, records, (None, tenant_ca, tsa_ca), other)
    authority_of_theirs(classpath, binaries / "renewals", work, records, tenant_ca)
    of_dss(classpath, binaries / "renewals", work)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
