#!/usr/bin/env python3
"""Gives DSS's own samples to DSS and to `countersign audit verify`, and compares the answers.

    samples.py CLASSPATH COUNTERSIGN WORK BUNDLE TENANT_CA TSA_CA

Each container is given as it is. Each signature of a document (CMS) is put into the bundle as its seal, so that both read it. None of them is
evidence of this tenant, whole or broken, so neither may take one; and countersign must say which check failed, in time, whatever it is given.
The bundle itself is asked about as well: both must take it, or the comparison would prove nothing. Needs java and Python's standard library.
"""

import collections
import json
import pathlib
import subprocess
import sys
import zipfile

import agree

CONTAINERS = (".asice", ".asics", ".sce", ".scs", ".zip", ".bdoc")
LEAST = 100  # samples: fewer means that the archives changed their form


def extracted(jar, work):
    """The samples of an archive: name and file."""
    with zipfile.ZipFile(jar) as z:
        for info in z.infolist():
            if info.is_dir() or info.filename.endswith(".class") or not info.filename.startswith(("validation/", "signable/")):
                continue
            path = work / jar.stem / info.filename
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(z.read(info))
            yield info.filename, path


def verify(command, path, roots):
    """What countersign says: its exit code, and the checks that failed."""
    ran = subprocess.run(
        [command, "audit", "verify", path, "--tenant-ca", roots[0], "--tsa-ca", roots[1], "--json"], capture_output=True, text=True, check=False, timeout=60
    )
    try:
        return ran.returncode, [f["check"] for f in json.loads(ran.stdout)["findings"] if f["state"] == "fail"]
    except (json.JSONDecodeError, KeyError):
        return ran.returncode, []


def main():
    classpath, command, work, bundle, *roots = sys.argv[1:]
    work = pathlib.Path(work)
    entries = agree.read(bundle)
    whole = agree.write(work / "whole.asice", entries)
    cases = [("the bundle", whole)]
    for jar in sorted((work / "samples").glob("*.jar")):
        for name, path in extracted(jar, work):
            if name.lower().endswith(CONTAINERS):
                cases.append((name, path))
            elif (body := path.read_bytes())[:1] == b"\x30" and jar.name.startswith("dss-cades"):
                target = work / "seals" / f"{len(cases)}.asice"
                target.parent.mkdir(exist_ok=True)
                cases.append((name + " as the seal", agree.write(target, [(n, body if n == agree.SEAL else b) for n, b in entries])))

    listed = work / "samples.tsv"
    listed.write_text("".join(f"{label}\t{path}\t-\t{roots[0]}\t{roots[1]}\n" for label, path in cases))
    java = ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m", "-cp", classpath]
    ran = subprocess.run([*java, pathlib.Path(__file__).with_name("Main.java"), listed], stdout=subprocess.PIPE, text=True, check=True)
    answers = {a["case"]: a for a in map(json.loads, ran.stdout.splitlines())}

    failed, checks = 0, collections.Counter()
    agree.row("case", "DSS", "countersign", "")
    for label, path in cases:
        expected = path == whole
        code, faults = verify(command, path, roots)
        dss = answers[label]["passed"]
        good = (code, dss) == ((0, True) if expected else (6, False)) and (expected or len(faults) > 0)
        checks.update(faults[:1])
        agree.row(label, agree.verdict(answers[label]), "takes it" if code == 0 else "refuses it: " + ", ".join(faults), "agree" if good else "APART")
        if not good:
            failed += 1
            print(f"FAIL dss samples: {label}: DSS {'takes' if dss else 'refuses'} it, countersign ends with {code} {faults}")
    several = len(cases) > LEAST
    failed += not several
    if not several:
        print(f"FAIL dss samples: there are only {len(cases)}, want more than {LEAST}")
    if not failed:
        named = ", ".join(f"{n} by {check}" for check, n in checks.most_common())
        print(f"ok   dss samples: DSS and countersign take the bundle and refuse {len(cases) - 1} samples of DSS, valid and broken ({named})")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
