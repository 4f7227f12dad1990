"""The store, by Amazon's own SDK: puts a document, reads a bundle, and tries to break its lock.

    storage.py put DATA FILE REQUEST.json ID OUT.json    uploads FILE and writes the request ID for it
    storage.py get DATA ENDING.json OUT                  reads the locked bundle by version
    storage.py lock DATA ENDING.json                     prints a line per check
"""

import datetime
import hashlib
import json
import os
import pathlib
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError


def client(data: str, profile: str):
    info = json.loads(pathlib.Path(data, "stack.json").read_text())
    os.environ["AWS_SHARED_CREDENTIALS_FILE"] = info["aws"]["credentialsFile"]
    s3 = info["s3"]
    config = Config(s3={"addressing_style": "path"}, connect_timeout=5, read_timeout=30)
    return boto3.Session(profile_name=profile, region_name=s3["region"]).client("s3", endpoint_url=s3["endpoint"], config=config)


def put(data: str, file: str, template: str, request: str, out: str) -> None:
    # A comment at its end makes each run's document unlike any other, so that its digest is found once.
    body = pathlib.Path(file).read_bytes() + f"% {request}\n".encode()
    digest = hashlib.sha256(body).hexdigest()
    asked = json.loads(pathlib.Path(template).read_text())
    asked["request"] = request
    key = f"{asked['tenant']}/documents/{digest}.pdf"
    stored = client(data, f"{asked['tenant']}-starter").put_object(
        Bucket="documents", Key=key, Body=body, Tagging=f"tenant={asked['tenant']}"
    )
    asked["document"] = {"bucket": "documents", "key": key, "versionId": stored["VersionId"], "sha256": digest}
    pathlib.Path(out).write_text(json.dumps(asked, indent=2))


def locked(ending: str) -> tuple[dict, dict]:
    evidence = json.loads(pathlib.Path(ending).read_text())["evidence"]
    o = evidence["object"]
    return {"Bucket": o["bucket"], "Key": o["key"], "VersionId": o["versionId"]}, evidence


def get(data: str, ending: str, out: str) -> None:
    where, evidence = locked(ending)
    body = client(data, "acme-starter").get_object(**where)["Body"].read()
    if hashlib.sha256(body).hexdigest() != evidence["object"]["sha256"]:
        sys.exit("the stored bundle is not the one that the ending names")
    pathlib.Path(out).write_bytes(body)


def lock(data: str, ending: str) -> None:
    where, evidence = locked(ending)
    failed = 0

    def check(what: str, holds: bool, found: object) -> None:
        nonlocal failed
        failed += not holds
        print(f"ok   lock: {what}" if holds else f"FAIL lock: {what}: found {found}")

    now = datetime.datetime.now(datetime.timezone.utc)
    retention = client(data, "acme-worker").get_object_retention(**where)["Retention"]
    until = datetime.datetime.fromisoformat(evidence["retainUntil"].replace("Z", "+00:00"))
    check("the version is under COMPLIANCE", retention["Mode"] == "COMPLIANCE", retention)
    check("the lock lasts until the instant that the ending names", retention["RetainUntilDate"] == until > now, retention)
    soon = {"Mode": "COMPLIANCE", "RetainUntilDate": now + datetime.timedelta(seconds=5)}
    for profile in ("acme-worker", "admin"):
        c = client(data, profile)
        for what, call in {
            "delete the version": lambda: c.delete_object(**where),
            "delete the version with bypass": lambda: c.delete_object(**where, BypassGovernanceRetention=True),
            "shorten the lock": lambda: c.put_object_retention(**where, Retention=soon, BypassGovernanceRetention=True),
        }.items():
            found: object = "it was allowed"
            try:
                call()
            except ClientError as e:
                found = e.response["ResponseMetadata"]["HTTPStatusCode"], e.response["Error"]["Code"]
            check(f"{profile} can't {what}: 403", isinstance(found, tuple) and found[0] == 403, found)
    # The same call works where nothing is locked, so it is the lock that refused above.
    c, free = client(data, "admin"), {"Bucket": "documents", "Key": "acme/documents/unlocked"}
    version = c.put_object(**free, Body=b"unlocked")["VersionId"]
    gone = c.delete_object(**free, VersionId=version)["ResponseMetadata"]["HTTPStatusCode"]
    check("admin can delete a version that isn't locked", gone in (200, 204), gone)
    sha256 = hashlib.sha256(client(data, "acme-starter").get_object(**where)["Body"].read()).hexdigest()
    check("after all this the version is still the same", sha256 == evidence["object"]["sha256"], sha256)
    sys.exit(failed > 0)


if __name__ == "__main__":
    {"put": put, "get": get, "lock": lock}[sys.argv[1]](*sys.argv[2:])
