/**
 * The path between a stack's node and its players: `loadtest path` on a port that the node's answers
 * name, so that every browser goes through it without knowing. Conditions change while players play.
 */

import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { BINARIES } from "./places.js";
import { Hopeless, until } from "./until.js";

/** Conditions of one direction, as `docs/loadtest.md` has them; what is not named stays. */
export interface Conditions {
  loss?: string;
  burst?: string;
  delay?: string;
  jitter?: string;
  jitter_shape?: "uniform" | "exponential";
  rate?: string;
  queue?: string;
}

/** Of both: `down` is from the node to the players. */
export interface Change {
  down?: Conditions;
  up?: Conditions;
}

export interface Counters {
  offered: number;
  delivered: number;
  lost_queue: number;
  lost_random: number;
  lost_burst: number;
  offered_bytes: number;
  delivered_bytes: number;
}

interface Way extends Counters {
  overflowed: number;
  unsent: number;
  queue_ms: { p50: number; p95: number; p99: number; max: number };
  late_ms: { p50: number; p95: number; p99: number; max: number };
}

/** Everything since the first packet. */
export interface PathReport {
  elapsed_us: number;
  clients: number;
  down: Way;
  up: Way;
}

interface Part extends Counters {
  rate_kbps: number | null;
  backlog_ms: number;
  /** Waits in the bottleneck's queue: milliseconds, rounded down, and packets. */
  queue_bins_ms: [number, number][];
}

/** A tenth of a second. */
export interface PathSample {
  elapsed_us: number;
  span_us: number;
  down: Part;
  up: Part;
}

type Line = ({ event: "ready" } & { listen: string }) | ({ event: "changed" | "report" } & PathReport) | { event: "refused"; detail: string };

/** No loss, no limit, no delay. */
const CLEAN: Required<Conditions> = { loss: "0%", burst: "none", delay: "0ms", jitter: "0ms", jitter_shape: "uniform", rate: "unlimited", queue: "100ms" };

export class Path {
  private readonly lines: Line[] = [];

  private constructor(
    private readonly relay: ChildProcess,
    private readonly samplesFile: string,
  ) {}

  /** A clean path from `listen` to the node at the port `to` of the same address. It ends with this process. */
  static async open(listen: { address: string; port: number }, to: number, directory: string, seed: number): Promise<Path> {
    const program = join(BINARIES, "loadtest");
    if (!existsSync(program)) throw new Error(`${program} is missing: build it (cargo build --release) or set NEARLIGHT_BIN_DIR`);
    const samples = join(directory, "path-samples.jsonl");
    const args = ["path", "--listen", `${listen.address}:${listen.port}`, "--to", `${listen.address}:${to}`, "--seed", String(seed), "--samples", samples, "--stdin"];
    const relay = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] });
    const path = new Path(relay, samples);
    if (!relay.stdout) throw new Error("the relay has no stdout");
    createInterface(relay.stdout).on("line", (line) => path.lines.push(JSON.parse(line) as Line));
    await path.next("ready", 0);
    return path;
  }

  /** Changes the path from the next packet on; answers what it did up to now. */
  async change(change: Change): Promise<PathReport> {
    const from = this.lines.length;
    this.relay.stdin?.write(`${JSON.stringify(change)}\n`);
    return this.next("changed", from);
  }

  /** As it was at the beginning. */
  clean(): Promise<PathReport> {
    return this.change({ down: CLEAN, up: CLEAN });
  }

  /** What it did up to now. */
  report(): Promise<PathReport> {
    return this.change({});
  }

  /** Every tenth of a second so far. */
  samples(): PathSample[] {
    const text = readFileSync(this.samplesFile, "utf8");
    // The last line may be under way.
    return text.slice(0, text.lastIndexOf("\n") + 1).split("\n").filter(Boolean).map((line) => JSON.parse(line) as PathSample);
  }

  async close(): Promise<void> {
    this.relay.stdin?.end();
    await until("the relay to end", () => this.relay.exitCode !== null || this.relay.signalCode !== null);
  }

  private async next<E extends "ready" | "changed">(event: E, from: number): Promise<Extract<Line, { event: E }> & PathReport> {
    return until(`the relay to say ${event}`, () => {
      const said = this.lines.slice(from).find((line) => line.event === event || line.event === "refused");
      if (said?.event === "refused") throw new Hopeless(`the relay refused: ${said.detail}`);
      if (this.relay.exitCode !== null) throw new Hopeless(`the relay exited with ${this.relay.exitCode}`);
      return said as (Extract<Line, { event: E }> & PathReport) | undefined;
    });
  }
}
