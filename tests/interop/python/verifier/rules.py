"""The rules of docs/evidence-format.md about grants and quorums, as vectors.py needs them."""

import re

from canonical import digest

NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
TENANT = re.compile(r"[a-z][a-z0-9-]{1,30}")
REQUEST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
DIGEST = re.compile(r"[0-9a-f]{64}")
DAY = 86400


def once_and_sorted(values):
    return all(a < b for a, b in zip(values, values[1:]))


def well_formed(g):
    purposes = g.get("purposes", [])
    cover = bool(purposes)
    return (
        g["v"] == 1
        and bool(TENANT.fullmatch(g["tenant"]))
        and all(g[who][part] for who in ("delegator", "grantee") for part in ("iss", "sub"))
        and g["delegator"] != g["grantee"]
        and bool(NAME.fullmatch(g["role"]))
        and bool(g["actions"])
        and set(g["actions"]) <= {"decide", "delegate"}
        and all(once_and_sorted(v) and len(v) <= 50 for v in (g["actions"], g["documents"], purposes))
        and [bool(g["documents"]), bool(g["request"]), cover].count(True) == 1
        and all(DIGEST.fullmatch(d) for d in g["documents"])
        and (not g["request"] or bool(REQUEST.fullmatch(g["request"])))
        and all(NAME.fullmatch(p) for p in purposes)
        and 0 <= g["nbf"] < g["exp"] <= g["nbf"] + (92 if cover else 90) * DAY
        and 0 <= g["depth"] <= (1 if cover else 3)
        and (g["depth"] == 0 or "delegate" in g["actions"])
        and 1 <= g["uses"] <= 100
        and (g["parent"] == "" or bool(DIGEST.fullmatch(g["parent"])))
        and (not cover or g["delegator"]["iss"] == g["grantee"]["iss"])
    )


def narrows(g, parent):
    purposes, above = set(g.get("purposes", [])), set(parent.get("purposes", []))
    return (
        g["parent"] == digest("countersign grant v1", parent)
        and g["tenant"] == parent["tenant"]
        and g["role"] == parent["role"]
        and g["delegator"] == parent["grantee"]
        and "delegate" in parent["actions"]
        and parent["depth"] >= 1
        and g["depth"] < parent["depth"]
        and parent["nbf"] <= g["nbf"]
        and g["exp"] <= parent["exp"]
        and g["uses"] <= parent["uses"]
        and set(g["actions"]) <= set(parent["actions"])
        and (not parent["request"] or g["request"] == parent["request"])
        and (not parent["documents"] or bool(g["documents"]) and set(g["documents"]) <= set(parent["documents"]))
        and purposes <= above
        and (not above or g["grantee"]["iss"] == parent["grantee"]["iss"])
    )


def chain(grants):
    if not 1 <= len(grants) <= 4 or grants[0]["parent"] or not all(map(well_formed, grants)):
        return False
    people = [grants[0]["delegator"]] + [g["grantee"] for g in grants]
    return all(narrows(g, p) for p, g in zip(grants, grants[1:])) and all(p not in people[:i] for i, p in enumerate(people))


def find(people, actor):
    return next((p for p in people if p["actor"] == actor), None)


def eligible(stage, who, at):
    """Who may decide in the stage at that instant; instants in UTC with as many digits compare as text."""
    found = find(stage["eligible"], who)
    later = stage.get("escalation")
    return found or (find(later["eligible"], who) if later and whole(at) >= whole(later["at"]) else None)


def whole(at):
    """An instant with nine digits of a fraction, so that instants compare as text."""
    seconds, _, fraction = at.rstrip("Z").partition(".")
    return seconds + "." + fraction.ljust(9, "0")


def holder(a):
    return a.get("delegators", [a["actor"]])[0]


def quorum(stage, approvals):
    kept = [share for share in stage.get("atLeast", []) for _ in range(share["count"])]
    places = kept + [{}] * (stage["quorum"] - len(kept))
    people = [eligible(stage, holder(a), a["at"]) for a in approvals if a["stage"] == stage["name"] and not a.get("skip")]
    if stage["quorum"] < 1:
        return False

    def fits(person, share):
        return share.get("role") in (None, *person.get("roles", [])) and share.get("issuer") in (None, person["actor"]["iss"])

    def seat(place, free):
        # Every way is tried: plans are small, and nothing could be plainer.
        return place == len(places) or any(fits(people[i], places[place]) and seat(place + 1, free - {i}) for i in free)

    return seat(0, frozenset(range(len(people))))


def broken(plan, approvals):
    glass = plan.get("breakGlass")
    who = [a["actor"] for a in approvals if a.get("skip") and glass and find(glass["eligible"], a["actor"])]
    return bool(glass) and glass["quorum"] >= 1 and len({(w["iss"], w["sub"]) for w in who}) >= glass["quorum"]


def satisfied(plan, approvals):
    stages = {s["name"]: s for s in plan["stages"] or []}
    voted = []
    for a in approvals:
        stage = stages.get(a["stage"])
        if stage is None:
            return False
        if a.get("skip"):
            if not plan.get("breakGlass") or not find(plan["breakGlass"]["eligible"], a["actor"]) or a.get("delegators"):
                return False
        elif not eligible(stage, holder(a), a["at"]):
            return False
        people = [a["actor"], *a.get("delegators", [])]
        if any(p["iss"] in stage.get("without", []) or p in voted for p in people):
            return False
        voted += people
    return bool(stages) and (broken(plan, approvals) or all(quorum(s, approvals) for s in stages.values()))
