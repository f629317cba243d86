/** What is done with a ready job of the soak while roles are killed: it is called, commands run in it, files go in and come back. */

import assert from "node:assert/strict";
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { endpoint, type EndpointTicket } from "./jobs.js";
import type { Cycle } from "./job-soak-plan.js";
import { BACK_MS, session } from "./job-soak-strikes.js";
import type { Shelf } from "./job-soak-volumes.js";
import { BINARIES, type Stack } from "./stack.js";
import { Hopeless, until } from "./until.js";

const PROGRAM = join(BINARIES, "nearlight");
/** A command line that is neither done nor told by then hangs. */
const HANGS_MS = 60_000;
const CALL_MS = 10_000;
const COPY_BYTES = 300_000;

/** A job in use. */
export interface Use {
  readonly stack: Stack;
  readonly id: string;
  readonly cycle: Cycle;
  /** Its engine was killed: one that comes back ends what ran under the former one. */
  readonly mayBeOver: boolean;
}

/** What of a use has to be over once its job is. */
export interface Opened {
  readonly ticket: EndpointTicket | undefined;
  readonly command: ChildProcess | undefined;
  /** What was done to its end, for whoever counts. */
  readonly done: readonly string[];
}

/** Everything that the plan says, at once. */
export async function use(of: Use, shelf: Shelf): Promise<Opened> {
  const { hasPort, volume, exec, copies } = of.cycle;
  const [ticket, command, ...others] = await Promise.all([
    hasPort ? called(of) : undefined,
    exec === "open" ? opened(of) : undefined,
    exec === "short" ? commanded(of) : undefined,
    copies ? copied(of) : undefined,
    volume === undefined ? undefined : shelved(of, volume, shelf),
  ]);
  const done = [ticket && "called", command && "command left open", ...others].filter((what) => what !== undefined);
  return { ticket, command, done };
}

/** After the end of the job nothing that was opened works or goes on. */
export async function closed({ ticket, command }: Opened): Promise<void> {
  if (command) {
    await until("a command's caller to be told of its end", () => command.exitCode !== null || command.signalCode !== null, { within_ms: HANGS_MS });
    assert.notEqual(command.exitCode, 0, "a command that was cut off has not succeeded");
  }
  if (ticket) {
    let last: number | undefined;
    // A broker that has just started may have nothing to say yet.
    const status = await until("a broker to answer for an endpoint", async () => {
      last = (await call(ticket)).status;
      return last < 500 && last;
    }, { within_ms: BACK_MS, instead: () => ({ last }) });
    assert.ok(status >= 400, `a ticket of a job that is over is answered ${status}`);
  }
}

/** A command that was left open goes on until its job is ended, if nobody was killed. */
export function isOpen({ command }: Opened): void {
  if (command) assert.deepEqual([command.exitCode, command.signalCode], [null, null], "a command was cut off, and nobody was killed");
}

/** Tries until it works, for whoever was killed comes back. Nothing, if the job is over and may be. */
async function unlessOver<T>({ stack, id, mayBeOver }: Use, what: string, attempt: () => Promise<T | undefined>): Promise<T | undefined> {
  let tried: unknown;
  const done = await until(`${what} of ${id}`, async () => {
    try {
      const value = await attempt();
      if (value !== undefined) return { value };
    } catch (error) {
      if (error instanceof Hopeless) throw error;
      tried = String(error);
    }
    const { state } = await session(stack, id);
    if (state.phase !== "ended" && state.phase !== "ending") return undefined;
    if (!mayBeOver) throw new Hopeless(`${what}: nobody ended ${id}, and it is over: ${JSON.stringify(state)}`);
    return { value: undefined };
  }, { within_ms: BACK_MS, every_ms: 200, instead: () => ({ tried, log: stack.logTail(30) }) });
  return done.value;
}

const call = ({ url, ticket }: EndpointTicket): Promise<Response> =>
  fetch(url, { headers: { authorization: `Bearer ${ticket}` }, signal: AbortSignal.timeout(CALL_MS) });

/** It answers through its endpoint, and the address that works once is used. */
async function called(of: Use): Promise<EndpointTicket | undefined> {
  let spent = false;
  return unlessOver(of, "an answer", async () => {
    const ticket = await endpoint(of.stack, of.id);
    const answer = await call(ticket);
    if (answer.status !== 200 || (await answer.text()).length === 0) return undefined;
    // Who asks for it again has got no answer.
    if (!spent) {
      const visit = await fetch(ticket.open_url, { redirect: "manual", signal: AbortSignal.timeout(CALL_MS) });
      spent = visit.status < 400;
    }
    return spent ? ticket : undefined;
  });
}

interface Done {
  status: number | null;
  stdout: string;
  stderr: string;
}

const env = (stack: Stack): NodeJS.ProcessEnv => ({ ...process.env, NEARLIGHT_URL: stack.base, NEARLIGHT_TOKEN: stack.key });

/** Runs the command line. It may fail while roles are killed, and always ends. */
function nearlight(stack: Stack, args: string[]): Promise<Done> {
  return new Promise((resolve, reject) => {
    const child = execFile(PROGRAM, args, { env: env(stack), timeout: HANGS_MS }, (error, stdout, stderr) => {
      if (error?.killed) reject(new Hopeless(`nearlight ${args.join(" ")} hangs; it said ${stdout}${stderr}`));
      else resolve({ status: child.exitCode, stdout, stderr });
    });
    child.stdin?.end();
  });
}

const replica = ({ cycle }: Use): string[] => (cycle.replica === undefined ? [] : ["--replica", String(cycle.replica)]);

/** What a command says that ends well. */
async function said(of: Use, script: string): Promise<string> {
  const { status, stdout, stderr } = await nearlight(of.stack, ["session", "exec", ...replica(of), of.id, "--", "sh", "-c", script]);
  if (status !== 0) throw new Error(`${script}: status ${status}, ${stderr}`);
  return stdout;
}

async function commanded(of: Use): Promise<string | undefined> {
  const words = await unlessOver(of, "a command", () => said(of, "echo begun; sleep 1; echo done"));
  if (words === undefined) return undefined;
  assert.equal(words, "begun\ndone\n");
  return "command run";
}

/** A command that only the end of its job ends. */
function opened(of: Use): Promise<ChildProcess | undefined> {
  const args = ["session", "exec", ...replica(of), of.id, "--", "sh", "-c", "echo open; exec sleep 600"];
  return unlessOver(of, "a command that stays", async () => {
    const child = spawn(PROGRAM, args, { env: env(of.stack), stdio: ["ignore", "pipe", "ignore"] });
    let words = "";
    child.stdout.on("data", (chunk: Buffer) => (words += chunk.toString()));
    await until("a command that stays to run", () => words.includes("open") || child.exitCode !== null, { within_ms: HANGS_MS });
    return words.includes("open") ? child : undefined;
  });
}

/** A file goes in, and comes back as it was. */
async function copied(of: Use): Promise<string | undefined> {
  const dir = mkdtempSync(join(tmpdir(), "nearlight-soak-"));
  try {
    const [from, back] = [join(dir, "from"), join(dir, "back")];
    const bytes = randomBytes(COPY_BYTES);
    writeFileSync(from, bytes);
    const copy = async (a: string, b: string): Promise<true> => {
      const { status, stderr } = await nearlight(of.stack, ["session", "cp", ...replica(of), a, b]);
      if (status !== 0) throw new Error(`cp ${a} ${b}: status ${status}, ${stderr}`);
      return true;
    };
    const there = `${of.id}:/tmp/copy`;
    if (!(await unlessOver(of, "a copy into it", () => copy(from, there)))) return undefined;
    if (!(await unlessOver(of, "a copy out of it", () => copy(there, back)))) return undefined;
    assert.ok(readFileSync(back).equals(bytes), `what came back of ${of.id} is what went in`);
    return "file copied in and out";
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** It finds on its volume what jobs before it have written, and adds its own id. */
async function shelved(of: Use, volume: string, shelf: Shelf): Promise<string | undefined> {
  shelf.writes(volume, of.id);
  const file = "/work/jobs";
  const script = `touch ${file}; grep -qx ${of.id} ${file} || echo ${of.id} >> ${file}; sync ${file}; cat ${file}`;
  const words = await unlessOver(of, "its volume", () => said(of, script));
  if (words === undefined) return undefined;
  shelf.found(volume, of.id, words.split("\n").filter(Boolean));
  return "volume read and written";
}
