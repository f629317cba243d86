/**
 * One running Nearlight: `nearlight up` with its roles, on free ports, with a data directory of its
 * own. Whoever brings it up takes it down, and taking it down proves that nothing is left.
 */

import { spawn, type ChildProcess } from "node:child_process";
import { createWriteStream, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Api } from "./api.js";
import type { EdgeSession } from "./edge-session.js";
import { leftovers } from "./leftovers.js";
import { Path } from "./path.js";
import { ARTEFACTS, BINARIES, ROOT } from "./places.js";
import { freeTcpPort, freeUdpPort } from "./ports.js";
import { descendants, isAlive, signal, type Process } from "./processes.js";
import { LOOPBACK, makeRoots, writeApps, writeConfig, type StackOptions } from "./settings.js";
import { UdpTap } from "./tap.js";
import { Hopeless, until } from "./until.js";

export { ARTEFACTS, BINARIES, ROOT };
export type { EdgeSession, StackOptions };

const READY_WITHIN_MS = 120_000;
const DOWN_WITHIN_MS = 60_000;

export class Stack {
  /** Where browsers go. */
  base = "";
  /** Of the edge node's listener for its operator. */
  readonly admin: string;
  private seenSessions = new Set<string>();
  private between: Path | undefined;
  private listening: UdpTap | undefined;

  private constructor(
    readonly options: StackOptions,
    readonly data: string,
    readonly rtcPort: number,
    adminPort: number,
    private readonly up: ChildProcess,
    readonly log: string,
  ) {
    this.admin = `http://127.0.0.1:${adminPort}`;
  }

  static async up(options: StackOptions): Promise<Stack> {
    const program = join(BINARIES, "nearlight");
    if (!existsSync(program)) {
      throw new Error(`${program} is missing: build it (cargo build --release) or set NEARLIGHT_BIN_DIR`);
    }
    mkdirSync(ARTEFACTS, { recursive: true });
    const data = mkdtempSync(join(tmpdir(), "nearlight-e2e-"));
    if (options.roots) makeRoots(data, options.roots);
    const [rtcPort, adminPort, listenPort] = [await freeUdpPort(), await freeTcpPort(), await freeTcpPort()];
    const pathPort = options.path === undefined && !options.tapped ? 0 : await freeUdpPort();
    const config = writeConfig(data, adminPort, pathPort, options);
    const apps = options.apps ? writeApps(data, await options.apps()) : join(ROOT, "e2e/apps");
    const checkers = options.checkers === undefined ? [] : ["--checkers", String(options.checkers)];
    const log = join(ARTEFACTS, `${options.name}.log`);
    const child = spawn(
      program,
      ["up", "--listen", `127.0.0.1:${listenPort}`, "--data", data, "--rtc-port", String(rtcPort), "--config", config, "--apps", apps, ...checkers],
      { cwd: ROOT, stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...options.env } },
    );
    const stack = new Stack(options, data, rtcPort, adminPort, child, log);
    const file = createWriteStream(log);
    child.stderr?.pipe(file);
    let said = "";
    child.stdout?.on("data", (chunk: Buffer) => {
      said += chunk.toString();
      file.write(chunk);
    });
    try {
      stack.base = await until(
        "nearlight up to say ready",
        () => {
          if (child.exitCode !== null) throw new Hopeless(`nearlight up exited with ${child.exitCode}:\n${stack.logTail()}`);
          return /^ready (http:\/\/\S+)$/m.exec(said)?.[1];
        },
        { within_ms: READY_WITHIN_MS },
      );
      if (options.path !== undefined) stack.between = await Path.open({ address: options.pathAddress ?? LOOPBACK, port: pathPort }, rtcPort, data, options.path);
      else if (options.tapped) stack.listening = await UdpTap.open(pathPort, rtcPort);
    } catch (error) {
      signal(stack.pid, "SIGKILL");
      throw new Error(`${String(error)}\n${stack.logTail()}`);
    }
    return stack;
  }

  get pid(): number {
    if (this.up.pid === undefined) throw new Error("nearlight up has no pid");
    return this.up.pid;
  }

  /** The path to the players, of a stack that was brought up with one. */
  get path(): Path {
    if (!this.between) throw new Error("this stack has no path: ask for one in its options");
    return this.between;
  }

  /** What players send, of a stack that was brought up tapped. */
  get tap(): UdpTap {
    if (!this.listening) throw new Error("this stack is not tapped: ask for it in its options");
    return this.listening;
  }

  /** The operator's development key. */
  get key(): string {
    return readFileSync(join(this.data, "dev.key"), "utf8").trim();
  }

  /** The API as the operator. */
  get operator(): Api {
    return new Api(this.base, this.key);
  }

  /** A role's process under `nearlight up`. */
  role(program: "session-broker" | "edge-node"): Process {
    const found = descendants(this.pid).find((process) => process.program === program);
    if (!found) throw new Error(`no ${program} runs under nearlight up`);
    return found;
  }

  /** What the edge node says of its sessions, to its operator. */
  async edgeSessions(): Promise<EdgeSession[]> {
    const answer = await fetch(`${this.admin}/sessions`, { signal: AbortSignal.timeout(10_000) });
    const sessions = (await answer.json()) as EdgeSession[];
    for (const { session } of sessions) this.seenSessions.add(session);
    return sessions;
  }

  /** The sessions that have not ended for the broker, and those that the node has. */
  async liveSessions(): Promise<string[]> {
    const known = await this.operator.sessions();
    const live = known.filter(({ state }) => state.phase !== "ended").map(({ id }) => id);
    for (const id of live) this.seenSessions.add(id);
    return [...new Set([...live, ...(await this.edgeSessions()).map(({ session }) => session)])];
  }

  async edgeSession(id: string): Promise<EdgeSession> {
    const found = (await this.edgeSessions()).find(({ session }) => session === id);
    if (!found) throw new Error(`the edge node has no session ${id}`);
    return found;
  }

  /** The session, once its totals, which come once a second, know of its `count`th attachment. */
  async attached(id: string, count = 1): Promise<EdgeSession> {
    return until(`attachment ${count} of ${id} to be counted`, async () => {
      const session = await this.edgeSession(id);
      return (session.transport?.attachments ?? 0) >= count && session;
    });
  }

  /** The edge node's metrics, as text. */
  async edgeMetrics(): Promise<string> {
    return (await fetch(`${this.admin}/metrics`, { signal: AbortSignal.timeout(10_000) })).text();
  }

  /** Remembers a session for the final check that nothing of it is left. */
  remember(id: string): void {
    this.seenSessions.add(id);
  }

  /** What is there of this stack on the machine beyond `nearlight up` and its roles. */
  leftovers(): string[] {
    return leftovers(this.data, [...this.seenSessions]);
  }

  /** Ends it as Ctrl-C does, and proves that nothing is left. */
  async down(): Promise<void> {
    await this.between?.close();
    this.listening?.close();
    const roles = descendants(this.pid);
    signal(this.pid, "SIGINT");
    try {
      await until("nearlight up to drain and exit", () => this.up.exitCode !== null || this.up.signalCode !== null, {
        within_ms: DOWN_WITHIN_MS,
        instead: () => descendants(this.pid),
      });
    } catch (error) {
      for (const { pid } of [...descendants(this.pid), ...roles]) signal(pid, "SIGKILL");
      signal(this.pid, "SIGKILL");
      throw error;
    }
    const left = await until("nothing to be left", () => this.leftovers().length === 0 && !roles.some(({ pid }) => isAlive(pid)), {
      within_ms: 15_000,
      instead: () => ({ left: this.leftovers(), roles: roles.filter(({ pid }) => isAlive(pid)) }),
    });
    if (left && this.up.exitCode !== 0) {
      throw new Error(`nearlight up exited with ${this.up.exitCode ?? this.up.signalCode}:\n${this.logTail()}`);
    }
    rmSync(this.data, { recursive: true, force: true });
  }

  logTail(lines = 60): string {
    try {
      return readFileSync(this.log, "utf8").split("\n").slice(-lines).join("\n");
    } catch {
      return "(no log)";
    }
  }
}
