/** A checker as its operator sets one up: a key, a signed table, a token of the network's administrator, `checker run`. */

import assert from "node:assert/strict";
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { BINARIES, ROOT, type Stack } from "./stack.js";

const COMMAND_WITHIN_MS = 60_000;

export class Checker {
  #running: ChildProcess | undefined;

  private constructor(
    private readonly data: string,
    /** Its key, by id. */
    readonly id: string,
  ) {}

  /** Comes in, run by `operator`, and runs. */
  static async join(stack: Stack, operator: string): Promise<Checker> {
    const data = mkdtempSync(join(tmpdir(), "nearlight-checker-"));
    const said = await command(data, "init");
    const [key = "", id = ""] = [/public ([0-9a-f]{64})/, /key ([0-9a-f]{64})/].map((what) => what.exec(said)?.[1]);
    const table = join(data, "table.json");
    await command(data, "table", "--classes", join(ROOT, "configs/gpu-classes.json"), "--serial", "1", "--out", table);
    const made = await stack.operator.request<{ token: string }>("POST", "/v1/checker-tokens", { json: { operator } });
    assert.equal(made.status, 201);
    await command(data, "join", stack.base, "--token", made.body.token);
    const checker = new Checker(data, id);
    const flags = ["--table", table, "--table-key", key, "--bind", "127.0.0.1", "--url", stack.base];
    checker.#running = spawn(join(BINARIES, "checker"), ["--data", data, "run", ...flags], { stdio: ["ignore", "ignore", "inherit"] });
    return checker;
  }

  /** What `checker status` says. */
  status(): Promise<string> {
    return command(this.data, "status");
  }

  /** Ends it, if it runs, and takes its directory away. */
  leave(): void {
    this.#running?.kill("SIGKILL");
    rmSync(this.data, { recursive: true, force: true });
  }
}

async function command(data: string, ...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(join(BINARIES, "checker"), ["--data", data, ...args], { timeout: COMMAND_WITHIN_MS });
  return stdout;
}
