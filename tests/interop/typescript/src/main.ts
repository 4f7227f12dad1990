// Takes one signing from its start to its locked evidence on the local stack, with what must be refused on the way.
//
//   node dist/main.js DEVSTACK DATA REQUEST.json DECISION.json ENDING.json
//
// It prints a line per check, writes the custodian's result to ENDING.json, and exits 1 when a check failed.

import { readFile, writeFile } from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";
import { isGrpcServiceError, WorkflowExecutionAlreadyStartedError, type Client } from "@temporalio/client";
import { digest, draft, signed, type Decision, type SignedDecision } from "./decision.js";
import { prove } from "./proof.js";
import { connect, decide, ending, startSigning, status, withdraw, type DecisionRecord, type Ending, type Request, type Status } from "./signing.js";
import { Stack } from "./stack.js";

const permissionDenied = 7; // gRPC
const reason = "Price < 1 000 € & delivery by “May”:\n\tyes – Österreich 🖋 \\ \"as agreed\"";

let failed = 0;

async function check(what: string, holds: () => Promise<unknown>): Promise<void> {
  try {
    await holds();
    console.log(`ok   typescript: ${what}`);
  } catch (error) {
    failed++;
    console.log(`FAIL typescript: ${what}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function want(holds: boolean, found: unknown): void {
  if (!holds) throw new Error(`found ${JSON.stringify(found)}`);
}

async function denied(call: Promise<unknown>): Promise<void> {
  let fault: unknown;
  try {
    await call;
  } catch (error) {
    fault = error;
  }
  for (let e = fault; e instanceof Error; e = e.cause) if (isGrpcServiceError(e) && e.code === permissionDenied) return;
  throw new Error(`wanted PERMISSION_DENIED, got ${fault instanceof Error ? fault.message : "an answer"}`);
}

async function until<T>(what: string, ask: () => Promise<T | undefined>): Promise<T> {
  let last: unknown = "no answer";
  for (const end = Date.now() + 30_000; Date.now() < end; await pause(50)) {
    try {
      const found = await ask();
      if (found !== undefined) return found;
    } catch (error) {
      last = error; // the saga may not have been started yet
    }
  }
  throw new Error(`${what} did not come within 30 s`, { cause: last });
}

async function main(): Promise<void> {
  const [devstack, data, requestFile, vectorFile, endingFile] = process.argv.slice(2);
  if (!devstack || !data || !requestFile || !vectorFile || !endingFile) throw new Error("usage: main.js DEVSTACK DATA REQUEST.json DECISION.json ENDING.json");
  const stack = await Stack.open(devstack, data);
  const request = JSON.parse(await readFile(requestFile, "utf8")) as Request;
  const as = async (kind: "as" | "machine" | "platform", name: string): Promise<Client> =>
    connect(stack.info.temporal.address, request.tenant, await stack.token(kind, name));
  const procurement = await as("machine", "acme/procurement");
  const platform = await as("platform", "starter/acme");
  const alice = await as("as", "acme/alice");
  const ben = await as("as", "acme/ben");
  const carol = await as("as", "hart/carol");

  const open = (stage: string): Promise<Status> =>
    until(`stage ${stage}`, async () => {
      const now = await status(platform, request);
      return now.stage === stage ? now : undefined;
    });
  const decision = async (person: string, stage: string): Promise<SignedDecision> => {
    const decided = draft(request, await open(stage), stage, stack.actor(person), "approve", reason);
    const issuer = stack.issuer(person);
    return signed(decided, await prove(issuer.url, issuer.evidenceClient, digest(decided), stack.browser(person)));
  };
  const record = (sent: SignedDecision): Promise<DecisionRecord> =>
    until("the decision's record", async () => (await status(platform, request)).decisions?.find((d) => d.id === sent.id));
  const refused = async (by: Client, sent: SignedDecision, id: string, code: string): Promise<void> => {
    await decide(by, { ...sent, id });
    const found = await record({ ...sent, id });
    want(found.refusal?.code === code, found);
  };

  const vector = JSON.parse(await readFile(vectorFile, "utf8")) as { decision: Decision; digest: string };
  await check("the example's digest is as documented", async () => want(digest(vector.decision) === vector.digest, digest(vector.decision)));
  await check("a machine starts a signing with plain JSON", () => startSigning(procurement, request));
  await check("the same request starts only once", async () => {
    const fault = await startSigning(procurement, request).catch((error: unknown) => error);
    want(fault instanceof WorkflowExecutionAlreadyStartedError, fault);
  });
  await check("a partner may not start", () => denied(startSigning(carol, { ...request, request: `${request.request}-b` })));
  const legal = await open("legal");
  want(legal.saga.workflow === `saga/acme/${request.request}`, legal.saga);
  await check("the requester may not query", () => denied(status(procurement, request)));
  await check("a partner may not withdraw", () => denied(withdraw(carol, legal.saga, "not-hers", "")));

  const byAlice = await decision("acme/alice", "legal");
  await check("a machine may not decide", () => denied(decide(procurement, byAlice)));
  await check("another person's decision is refused", () => refused(carol, byAlice, "sent-by-carol", "other-sender"));
  await check("a decision changed after its proof is refused", () =>
    refused(alice, { ...byAlice, decision: { ...byAlice.decision, reason: "other words" } }, "changed-by-alice", "token-other-decision"));
  const byBen = await decision("acme/ben", "legal");
  await check("a person without the stage's role is refused", () => refused(ben, byBen, "sent-by-ben", "not-entitled"));
  // Ben may request, so the server lets his signal pass. The policy knows that this request is not his, and the signing goes on.
  await withdraw(ben, legal.saga, "not-his", "");

  await check("alice's approval counts", async () => {
    await decide(alice, byAlice);
    want((await record(byAlice)).refusal === undefined, await record(byAlice));
  });
  await check("carol's approval completes it", async () => {
    await decide(carol, await decision("hart/carol", "counsel"));
    const end: Ending = await ending(platform, request);
    await writeFile(endingFile, JSON.stringify(end, null, 2));
    want(end.outcome === "completed" && end.evidence.mode === "COMPLIANCE", end);
    console.log(JSON.stringify(end));
  });
  await Promise.all([procurement, platform, alice, ben, carol].map((client) => client.connection.close()));
}

try {
  await main();
} catch (error) {
  failed++;
  console.log(`FAIL typescript: the run: ${error instanceof Error ? `${error.message} ${String(error.cause ?? "")}` : String(error)}`);
}
process.exitCode = failed === 0 ? 0 : 1;
