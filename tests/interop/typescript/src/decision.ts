// What a person decides, and the digest that their identity provider binds to them.

import { createHash, randomUUID } from "node:crypto";
import canonicalize from "canonicalize";
import type { Actor, Request, Status, StoredObject } from "./signing.js";

export interface Decision {
  v: 1;
  tenant: string;
  signing: string;
  run: string;
  stage: string;
  context: string;
  document: StoredObject;
  verdict: "approve" | "reject";
  reason: string;
  actor: Actor;
  grants: string[];
  policy: string;
  iat: number;
  exp: number;
}

export interface SignedDecision {
  id: string;
  decision: Decision;
  proof: { idToken: string };
}

export function draft(request: Request, now: Status, stage: string, actor: Actor, verdict: "approve" | "reject", reason: string): Decision {
  const iat = Math.floor(Date.now() / 1000);
  return {
    v: 1,
    tenant: request.tenant,
    signing: now.saga.workflow,
    run: now.saga.run,
    stage,
    context: now.context,
    document: now.document,
    verdict,
    reason,
    actor,
    grants: [],
    policy: now.policy,
    iat,
    exp: iat + 600,
  };
}

// SHA-256 over the kind of the document, a zero byte and the RFC 8785 JSON, in hex.
export function digest(decision: Decision): string {
  return createHash("sha256").update("countersign decision v1\0").update(canonicalize(decision)!).digest("hex");
}

// The id makes a repeated signal count once.
export function signed(decision: Decision, idToken: string): SignedDecision {
  return { id: randomUUID(), decision, proof: { idToken } };
}
