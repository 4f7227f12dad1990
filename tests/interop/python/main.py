"""Takes one signing from its start to its locked evidence on the local stack.

    main.py DEVSTACK DATA REQUEST.json DECISION.json ENDING.json

It prints a line per check, writes the custodian's result to ENDING.json, and exits 1 when a check failed.
"""

import asyncio
import json
import pathlib
import sys
import time
from collections.abc import Awaitable, Callable

from temporalio.client import Client
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from decision import digest, draft, signed
from proof import prove
from signing import connect, decide, ending, start_signing, status, withdraw
from stack import Stack

REASON = "Price < 1 000 € & delivery by “May”:\n\tyes – Österreich 🖋 \\ \"as agreed\""


class Failed(Exception):
    pass


def ok(what: str) -> None:
    print(f"ok   python: {what}", flush=True)


def want(what: str, holds: bool, found: object) -> None:
    if not holds:
        raise Failed(f"{what}: found {found}")
    ok(what)


async def denied(what: str, call: Awaitable) -> None:
    try:
        await call
    except RPCError as e:
        want(what, e.status == RPCStatusCode.PERMISSION_DENIED, e)
    else:
        raise Failed(f"{what}: it was allowed")


async def until(what: str, ask: Callable[[], Awaitable]):
    last: object = "no answer"
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            if (found := await ask()) is not None:
                return found
        except Exception as e:  # the saga may not have been started yet
            last = e
        await asyncio.sleep(0.05)
    raise Failed(f"{what} did not come within 30 s: {last}")


async def run(stack: Stack, request: dict, vector: dict, ending_file: str) -> None:
    async def client(kind: str, name: str) -> Client:
        return await connect(stack.info["temporal"]["address"], request["tenant"], stack.token(kind, name))

    procurement = await client("machine", "acme/procurement")
    platform = await client("platform", "starter/acme")
    alice, carol = await client("as", "acme/alice"), await client("as", "hart/carol")

    async def opened(stage: str):
        now = await status(platform, request)
        return now if now.get("stage") == stage else None

    async def decision(person: str, stage: str) -> dict:
        now = await until(f"stage {stage}", lambda: opened(stage))
        decided = draft(request, now, stage, stack.actor(person), "approve", REASON)
        issuer = stack.issuer(person)
        token = await asyncio.to_thread(prove, issuer["url"], issuer["evidenceClient"], digest(decided), stack.browser(person))
        return signed(decided, token)

    async def record(id: str) -> dict:
        async def ask():
            return next((d for d in (await status(platform, request))["decisions"] or [] if d["id"] == id), None)

        return await until("the decision's record", ask)

    want("the example's digest is as documented", digest(vector["decision"]) == vector["digest"], digest(vector["decision"]))
    await start_signing(procurement, request)
    ok("a machine starts a signing with plain JSON")
    try:
        await start_signing(procurement, request)
        raise Failed("the same request started twice")
    except WorkflowAlreadyStartedError:
        ok("the same request starts only once")

    by_alice = await decision("acme/alice", "legal")
    await denied("the requester may not query", status(procurement, request))
    await denied("a partner may not withdraw", withdraw(carol, (await status(platform, request))["saga"], "not-hers", ""))
    await denied("a machine may not decide", decide(procurement, by_alice))
    await decide(carol, by_alice | {"id": "sent-by-carol"})
    other = await record("sent-by-carol")
    want("another person's decision is refused", other.get("refusal", {}).get("code") == "other-sender", other)

    await decide(alice, by_alice)
    first = await record(by_alice["id"])
    want("alice's approval counts", "refusal" not in first, first)
    await decide(carol, await decision("hart/carol", "counsel"))
    end = await asyncio.wait_for(ending(platform, request), 60)
    pathlib.Path(ending_file).write_text(json.dumps(end, indent=2))
    want("carol's approval completes it", end["outcome"] == "completed" and end["evidence"]["mode"] == "COMPLIANCE", end)
    print(json.dumps(end))


def main(devstack: str, data: str, request_file: str, vector_file: str, ending_file: str) -> None:
    request, vector = (json.loads(pathlib.Path(f).read_text()) for f in (request_file, vector_file))
    try:
        asyncio.run(run(Stack(devstack, data), request, vector, ending_file))
    except Failed as e:
        print(f"FAIL python: {e}")
        sys.exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
