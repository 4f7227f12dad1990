"""Has the tenant's bundles time-stamped anew, with plain JSON, and keeps what a stranger needs to judge the evidence records.

    renewal.py DEVSTACK DATA OUT ENDING.json...

Each bundle is renewed three times: first, by a time-stamp over a time-stamp, and by one under another digest over file and record. It writes
OUT/N.asice for the N-th ending, its records OUT/N.1.ers to OUT/N.3.ers, and the revocation lists of the time-stamping authorities,
OUT/*.crl, as of after the last time-stamp.
"""

import asyncio
import json
import pathlib
import sys
import urllib.request
import uuid

from cryptography import x509
from temporalio.common import WorkflowIDReusePolicy

from signing import connect
from stack import Stack
from storage import client, get

DAYS = "175200h"  # 20 years, so that everything is due
ROUNDS = ({"within": DAYS}, {"within": DAYS}, {"within": "24h", "ending": ["sha512"]})


async def renew(stack: Stack, tenant: str, round: dict, requests: list[str]) -> dict[str, dict]:
    """One renewal, asked for by the tenant's owner. It returns where each request's record is locked."""
    token = await asyncio.to_thread(stack.token, "as", f"{tenant}/olivia")
    owner = await connect(stack.info["temporal"]["address"], tenant, token)
    workflow = f"renewal/{tenant}/{uuid.uuid4()}"
    await owner.start_workflow("Renewal", {"tenant": tenant, **round}, id=workflow, task_queue="signing", id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY)
    # Who asks may not read the result. The platform's own process may.
    token = await asyncio.to_thread(stack.token, "platform", f"starter/{tenant}")
    platform = await connect(stack.info["temporal"]["address"], tenant, token)
    status = await asyncio.wait_for(platform.get_workflow_handle(workflow, result_type=dict).result(), 120)
    renewed = {r["request"]: r["record"] for r in status["renewed"] if r["request"] in requests}
    if sorted(renewed) != sorted(requests):
        sys.exit(f"renewed were {sorted(renewed)}, want {sorted(requests)}: {status['problems']}")
    return renewed


def lists(authority: pathlib.Path) -> list[str]:
    certificate = x509.load_pem_x509_certificate(authority.read_bytes())
    points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    return [name.value for point in points for name in point.full_name]


async def main(devstack: str, data: str, out: str, *endings: str) -> None:
    stack, target = Stack(devstack, data), pathlib.Path(out)
    target.mkdir(parents=True, exist_ok=True)
    requests = {}
    for n, ending in enumerate(endings, 1):
        get(data, ending, str(target / f"{n}.asice"))
        key = json.loads(pathlib.Path(ending).read_text())["evidence"]["object"]["key"]
        tenant, request = key.split("/")[0], pathlib.PurePath(key).stem
        requests[request] = n
    store = client(data, f"{tenant}-starter")
    for nth, round in enumerate(ROUNDS, 1):
        for request, record in (await renew(stack, tenant, round, list(requests))).items():
            body = store.get_object(Bucket=record["bucket"], Key=record["key"], VersionId=record["versionId"])["Body"].read()
            (target / f"{requests[request]}.{nth}.ers").write_bytes(body)
        print(f"ok   renewal {nth}: each of {len(requests)} bundles has its evidence record locked beside it", flush=True)
    for authority in sorted(pathlib.Path(data).glob("tsa*/tsa.pem")):
        for n, url in enumerate(lists(authority)):
            with urllib.request.urlopen(url, timeout=10) as answer:
                (target / f"{authority.parent.name}-{n}.crl").write_bytes(answer.read())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
