"""How a signing ended, and what was intended, by docs/evidence-format.md, as far as history.json and statement.json show them."""

import base64
import hashlib
import json

import rules
from canonical import canonical
from proofs import instant

MINUTE = 60  # how far clocks can be apart
EARLY = ("rejected", "expired", "withdrawn", "refused")


def steps(raw):
    """The activities of a history in the order in which they were asked for: name, input, result and when; each begins and ends once."""
    found, last = {}, 0
    for e in json.loads(raw)["events"]:
        at, kind, number = instant(e["eventTime"]), e["eventType"].removeprefix("EVENT_TYPE_"), int(e["eventId"])
        if at < last - MINUTE:
            raise ValueError(f"event {number} is from before what came before it")
        last = max(last, at)
        attributes = next(v for k, v in e.items() if k.endswith("EventAttributes"))
        if kind == "ACTIVITY_TASK_SCHEDULED":
            found[number] = {"name": attributes["activityType"]["name"], "input": value(attributes.get("input")), "asked": at, "number": number}
        elif kind.startswith("ACTIVITY_TASK_") and kind != "ACTIVITY_TASK_CANCEL_REQUESTED":
            step = found[int(attributes["scheduledEventId"])]
            if "over" in step or (kind == "ACTIVITY_TASK_STARTED") == ("begun" in step) and not (kind == "ACTIVITY_TASK_TIMED_OUT" and "begun" not in step):
                raise ValueError(f"event {number} begins or ends an activity that had, or had not begun")
            step["begun" if kind == "ACTIVITY_TASK_STARTED" else "over"] = at
            if kind == "ACTIVITY_TASK_COMPLETED":
                step["result"], step["ended"] = value(attributes.get("result")), number
    return list(found.values()), last


def value(payloads):
    try:
        return json.loads(base64.b64decode(payloads["payloads"][0]["data"]))
    except (KeyError, IndexError, TypeError, ValueError):
        return None


def intent(predicate, asked):
    """The intent is locked as it is, and names the key that signed."""
    said = predicate.get("intent")
    if said is None:
        return
    bare = {k: v for k, v in said.items() if k != "stored"}
    if hashlib.sha256(canonical(bare).encode()).hexdigest() != said["stored"]["sha256"]:
        raise ValueError("the intent that is locked is another one")
    if "signature" in predicate and predicate["signature"]["key"] != said["key"]:
        raise ValueError("the intent names another key than the one that signed")
    if said["context"] != predicate["contextDigest"] or any(s["input"]["contextDigest"] != said["context"] for s in asked if s["name"] == "Intend"):
        raise ValueError("the intent is about another transaction")


def follows(files):
    """Raises where the ending, and the reason that is given for it, don't follow from what happened."""
    predicate = json.loads(files["statement.json"])["predicate"]
    outcome, detail = predicate["outcome"], predicate.get("detail", "")
    asked, closed = steps(files["history.json"])
    keyed = any(s["name"] == "Sign" for s in asked)
    if outcome in EARLY and keyed:
        raise ValueError(f"the key was asked in what ended as {outcome}")
    refusal = predicate.get("intake", {}).get("refusal")
    if outcome == "refused" and (refusal is None or detail != f"{refusal['code']}: {refusal['message']}"):
        raise ValueError("it gives another reason than intake did")
    if "context" not in predicate:
        return
    requester = predicate["context"]["requester"]
    taken_back = [w["reason"] for w in predicate.get("withdrawals", []) if "refusal" not in w and w["sender"] == f"{requester['iss']}#{requester['sub']}"]
    if outcome == "withdrawn" and detail not in taken_back or outcome in ("rejected", "expired") and taken_back:
        raise ValueError("it gives another reason than its requester did, or its requester withdrew it")
    for s in asked:
        if s["name"] == "CheckWithdrawal" and (s["input"]["requester"] != requester or s["input"]["tenant"] != predicate["context"]["tenant"] or s["input"]["saga"] != predicate["saga"]):
            raise ValueError("a withdrawal was checked for another transaction")
    counted = [d for d in predicate["decisions"] if d["counted"]]
    no = [f"stage {d['stage']}, by {d['actor']['iss']}#{d['actor']['sub']}: {d.get('reason', '')}" for d in counted if d["verdict"] == "reject"]
    if outcome == "rejected" and detail not in no:
        raise ValueError("nobody rejected it for the reason that it gives")
    if outcome == "failed" and predicate["closing"] == "completed":
        failed(detail, keyed, any(s["name"] == "Sign" and s.get("result") for s in asked))
    if outcome == "expired":
        expired(predicate["plan"], counted, detail, closed)


def failed(detail, keyed, answered):
    part = detail.split(": ")[0]
    if part == "intake did not work" or part == "the key could not sign" and (not keyed or answered) or part.startswith("the intent to sign could not") and keyed:
        raise ValueError("it says that a part did not work which the history doesn't show")


def expired(plan, counted, detail, closed):
    """The stage that was due first, of the first step that lacks its quorum, was late."""
    approvals = [{"stage": d["stage"], "actor": d.get("onBehalfOf", d)["actor"], "at": d["at"], "skip": d["verdict"] == "break-glass"} for d in counted if d["verdict"] != "reject"]
    step = []
    for i, stage in enumerate(plan["stages"]):
        if not stage.get("beside") and step:
            break
        if not rules.quorum(stage, approvals):
            step.append(stage)
        elif not step and i + 1 == len(plan["stages"]):
            raise ValueError("each stage had its quorum, so none was late")
    late = min(step, key=lambda s: instant(s["deadline"]))
    had = len([a for a in approvals if a["stage"] == late["name"] and not a["skip"]])
    if had < late["quorum"] and detail != f"stage {late['name']} had {had} of {late['quorum']} approvals at its deadline":
        raise ValueError("another stage was late than the frozen plan and what counted say")
    if closed < instant(late["deadline"]) - MINUTE:
        raise ValueError("it ended before the deadline")


def check(files):
    """The checks of this module, and which of countersign's they belong to."""
    follows(files)
    predicate = json.loads(files["statement.json"])["predicate"]
    if "contextDigest" in predicate:
        intent(predicate, steps(files["history.json"])[0])
