"""The form of a bundle's history and the places of its files, by docs/evidence-format.md, as far as history.json shows them."""

import base64
import json
import re

HEAD = ("document.pdf", "document-signed.pdf", "document.p7s")
NEEDED = ("history.pb", "history.json", "worker.json", "kms.json")
TAIL = ("postquantum/files.sha512", "postquantum/signature.json")
CLOSING = {f"EVENT_TYPE_WORKFLOW_EXECUTION_{how}" for how in ("COMPLETED", "TERMINATED", "FAILED", "CANCELED", "TIMED_OUT")}


def places(names):
    """Raises where the files of a bundle are not those that it has, in their one order."""
    decisions = [n for n in names if re.fullmatch(r"identity/decision-[0-9]{3,}\.json", n)]
    if decisions != [f"identity/decision-{i:03}.json" for i in range(1, len(decisions) + 1)]:
        raise ValueError("the decisions are not numbered in order")
    intake = [n for n in ("identity/issuers.json", "policy/policy.cedar", "policy/questions.json") if n in names]
    order = [*HEAD, "statement.json", *decisions, *intake, *NEEDED, *TAIL]
    there = [n for n in order if n in names]
    if there != names or len(intake) not in (0, 3) or not {"statement.json", *NEEDED} <= set(names):
        raise ValueError("its files are not all there, in their order, and no other")


def once(pairs):
    """An object each of whose members is there once, whatever its case."""
    if len({name.lower() for name, _ in pairs}) != len(pairs):
        raise ValueError("a member is there twice")
    return dict(pairs)


def form(raw):
    """Raises where a history doesn't begin and end once, or says something twice."""
    events = json.loads(raw, object_pairs_hook=once)["events"]
    kinds = [e["eventType"] for e in events]
    if [int(e["eventId"]) for e in events] != list(range(1, len(events) + 1)):
        raise ValueError("its events are not numbered without a gap")
    if [i for i, kind in enumerate(kinds) if kind == "EVENT_TYPE_WORKFLOW_EXECUTION_STARTED"] != [0]:
        raise ValueError("its first event, and no other, has to start it")
    if [i for i, kind in enumerate(kinds) if kind in CLOSING] != [len(kinds) - 1]:
        raise ValueError("its last event, and no other, has to close it")
    for event, kind in zip(events, kinds):
        attributes = next(v for k, v in event.items() if k.endswith("EventAttributes"))
        # What somebody signalled, and the input of its check, is theirs to write as they like.
        if kind == "EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED" or attributes.get("activityType", {}).get("name") in ("CheckDecision", "CheckWithdrawal"):
            continue
        for part in ("input", "result"):
            for payload in (attributes.get(part) or {}).get("payloads", []):
                if base64.b64decode(payload.get("metadata", {}).get("encoding", "")) == b"json/plain":
                    json.loads(base64.b64decode(payload["data"]), object_pairs_hook=once)
