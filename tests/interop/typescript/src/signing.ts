// Starts a signing, reads its status and sends decisions, with nothing but Temporal's own client and plain JSON.

import { Client, Connection } from "@temporalio/client";
import type { SignedDecision } from "./decision.js";

export interface Actor {
  iss: string;
  sub: string;
}

export interface StoredObject {
  bucket: string;
  key: string;
  versionId: string;
  sha256: string;
}

export interface Request {
  v: 1;
  tenant: string;
  request: string;
  purpose: string;
  title: string;
  document: StoredObject;
  deadlines?: Record<string, string>;
}

export interface DecisionRecord {
  id: string;
  stage: string;
  actor: Actor;
  refusal?: { code: string; message: string };
}

export interface Status {
  state: string;
  stage?: string;
  saga: { workflow: string; run: string };
  context: string;
  document: StoredObject;
  policy: string;
  decisions: DecisionRecord[] | null;
}

export interface Ending {
  outcome: string;
  meaning: string;
  detail?: string;
  context?: string;
  evidence: { object: StoredObject; mode: string; retainUntil: string };
}

// The token says who calls. Temporal stamps that on what the call causes; what a client calls itself counts for nothing.
export async function connect(address: string, namespace: string, token: string): Promise<Client> {
  const connection = await Connection.connect({ address, metadata: { authorization: `Bearer ${token}` } });
  return new Client({ connection, namespace });
}

// The same request id is the same signing: a second start fails with WorkflowExecutionAlreadyStartedError.
export async function startSigning(client: Client, request: Request): Promise<void> {
  await client.workflow.start("RequestSigning", {
    workflowId: `signing/${request.tenant}/${request.request}`,
    workflowIdReusePolicy: "REJECT_DUPLICATE",
    taskQueue: "signing",
    args: [request],
  });
}

export async function decide(client: Client, signed: SignedDecision): Promise<void> {
  await client.workflow.getHandle(signed.decision.signing, signed.decision.run).signal("decide", signed);
}

// saga is the status's: the server takes no signal from requesters and approvers that doesn't name the run.
export async function withdraw(client: Client, saga: Status["saga"], id: string, reason: string): Promise<void> {
  await client.workflow.getHandle(saga.workflow, saga.run).signal("withdraw", { id, reason });
}

// status is for the platform's own processes: requesters and approvers may not query.
export async function status(client: Client, request: Request): Promise<Status> {
  return client.workflow.getHandle(`saga/${request.tenant}/${request.request}`).query<Status>("status");
}

// ending waits until the evidence is locked, and is for the platform's own processes too.
export async function ending(client: Client, request: Request): Promise<Ending> {
  return client.workflow.getHandle(`signing/${request.tenant}/${request.request}`).result() as Promise<Ending>;
}
