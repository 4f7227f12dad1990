#!/usr/bin/env python3
"""Gives the bundles of our vectors, whole, broken and forged, to DSS and to `countersign audit verify`, and compares the answers.

    forged.py CLASSPATH COUNTERSIGN WORK VECTORS

Both look at container, manifest, seal and time, and must say the same of these. What a bundle says inside is for countersign alone: a forgery that the tenant's own key sealed in good order
is taken by DSS, and refused by the check that VECTORS/bundles.json names. Needs java and Python's standard library.
"""

import gzip
import json
import pathlib
import subprocess
import sys

import agree

SHARED = {"container", "manifest", "seal", "time"}  # the checks that DSS makes as well
# Where they are apart about these, and it is meant: by vector.
APART = {
    "a byte of the end": "DSS skips bytes of the ZIP's own that no signature covers; here they have one value",
    "the roots are of somebody else": "DSS has one set of roots; here those of signers and of time-stamps don't stand in for each other",
}


def main():
    classpath, command, work, vectors = sys.argv[1:]
    work, vectors = pathlib.Path(work), pathlib.Path(vectors)
    work.mkdir()
    cases = []
    for n, v in enumerate(json.loads((vectors / "bundles.json").read_text())):
        body = (vectors / v["file"]).read_bytes()
        body = gzip.decompress(body) if v["file"].endswith(".gz") else body
        path = work / f"{n}.asice"
        path.write_bytes(agree.flip(body, v["flip"]) if "flip" in v else body)
        cases.append((v, path, [vectors / v[ca] for ca in ("tenantCA", "tsaCA")]))
    listed = work / "forged.tsv"
    listed.write_text("".join(f"{v['about']}\t{path}\t-\t{roots[0]}\t{roots[1]}\n" for v, path, roots in cases))
    java = ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m", "-cp", classpath]
    ran = subprocess.run([*java, pathlib.Path(__file__).with_name("Main.java"), listed], stdout=subprocess.PIPE, text=True, check=True)
    answers = {a["case"]: a for a in map(json.loads, ran.stdout.splitlines())}

    failed, apart, beyond = 0, [], 0
    agree.row("case", "DSS", "countersign", "")
    for v, path, roots in cases:
        about, answer = v["about"], answers[v["about"]]
        quantum = ["--pq-key", vectors / v["postQuantumKey"]] if "postQuantumKey" in v else []
        ran = subprocess.run([command, "audit", "verify", path, "--tenant-ca", roots[0], "--tsa-ca", roots[1], "--json", *quantum], capture_output=True, text=True, check=False, timeout=60)
        fails = [f["check"] for f in json.loads(ran.stdout)["findings"] if f["state"] == "fail"]
        own, took = not SHARED & set(fails), answer["passed"]
        if took != own:
            apart.append(about)
            said = APART.get(about, "UNEXPLAINED")
        elif took and fails:
            beyond += 1
            said = "agree about the seal; the rest is ours alone"
        else:
            said = "agree"
        agree.row(about, agree.verdict(answer), "refuses it: " + ", ".join(fails) if fails else "takes it", said)
        if sorted(fails) != sorted(v["fails"]):
            failed += 1
            print(f"FAIL dss forged: {about}: countersign's checks {fails} fail, want {v['fails']}")
    if sorted(apart) != sorted(APART) or beyond < 10:
        failed += 1
        print(f"FAIL dss forged: they are apart about {apart}, want {list(APART)}; and {beyond} forgeries have a good seal")
    if not failed:
        print(f"ok   dss forged: of {len(cases)} vectors, DSS and countersign are apart about {len(apart)}, as meant; {beyond} forgeries with a good seal are refused for what is inside")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
