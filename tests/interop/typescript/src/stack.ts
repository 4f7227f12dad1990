// The local stack: its addresses, tokens for its people and machines, and a browser that logs in by itself.

import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Actor } from "./signing.js";

const run = promisify(execFile);

interface Info {
  temporal: { address: string };
  issuers: Record<string, { url: string; client: string; evidenceClient: string }>;
  people: { issuer: string; login: string; subject: string }[];
}

export class Stack {
  private constructor(
    private readonly devstack: string,
    private readonly data: string,
    readonly info: Info,
  ) {}

  static async open(devstack: string, data: string): Promise<Stack> {
    return new Stack(devstack, data, JSON.parse(await readFile(join(data, "stack.json"), "utf8")) as Info);
  }

  // kind and name are a flag of "devstack token": as acme/alice, machine acme/procurement, platform starter/acme.
  async token(kind: "as" | "machine" | "platform", name: string): Promise<string> {
    const { stdout } = await run(this.devstack, ["token", "--data", this.data, `--${kind}`, name]);
    return stdout.trim();
  }

  issuer(person: string): { url: string; evidenceClient: string } {
    const found = this.info.issuers[person.split("/")[0] ?? ""];
    if (!found) throw new Error(`the stack has no issuer of ${person}`);
    return found;
  }

  actor(person: string): Actor {
    const [issuer, login] = person.split("/");
    const found = this.info.people.find((p) => p.issuer === issuer && p.login === login);
    if (!found) throw new Error(`the stack has no ${person}`);
    return { iss: this.issuer(person).url, sub: found.subject };
  }

  browser(person: string): (url: string) => Promise<void> {
    return async (url) => {
      await run(this.devstack, ["login", "--data", this.data, "--as", person, url]);
    };
  }
}
