/**
 * `make bench SUITE=broker`: what a placement costs, how many sessions a second a broker creates on each
 * engine of the ledger and how long each takes, what control streams cost and how a fleet comes back, and
 * what a stream notices of the death of broker and ledger, and how much sooner a session starts where a desktop
 * is ready. docs/performance.md explains each name. BROKER=create picks a part: placement, day, create, fleet,
 * kill or warm.
 */

import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { launchChromium } from "../harness/chromium.js";
import { account, heal, strike } from "../harness/outage.js";
import { Player } from "../harness/player.js";
import { Postgres } from "../harness/postgres.js";
import { BINARIES, ROOT, Stack } from "../harness/stack.js";
import { window } from "../harness/until.js";
import { median } from "./quantiles.js";
import { Report } from "./report.js";
import { warm } from "./warm.js";
import { worst, type Window } from "./windows.js";

const RATE = Number(process.env["BROKER_RATE"] ?? 1520);
const SECONDS = Number(process.env["BROKER_SECONDS"] ?? 60);

/** What `loadtest sessions` says. */
interface Created {
  readonly created: number;
  readonly created_per_s: number;
  readonly ms_p50: number;
  readonly ms_p99: number;
  readonly missing: number;
  readonly durability: Readonly<Record<string, string>>;
  readonly fdatasync_ms_p50: number;
  readonly disk: string;
  readonly broker_cores: number;
}

const STREAMS = Number(process.env["BROKER_STREAMS"] ?? 5000);
/** Seconds after a restart from which on creating a session takes its usual time again. */
const BACK_IN_TARGET_S = 90;

/** What `loadtest fleet` says. */
interface Streams {
  readonly rss_kib_per_stream: number;
  readonly rss_after_storm: number;
  readonly attach_cpu_ms: number;
  readonly restart_over_backoff_cap: number;
  readonly creates: readonly Window[];
}

/** On the disk of the repository, for that is where the ledger's syncs are to be measured. */
function scratch(name: string): string {
  return mkdtempSync(join(ROOT, "target/bench/", `${name}-`));
}

/** What `loadtest` reports. One that found a fault reports all the same, and the bench fails once its figures are out. */
function reported(args: readonly string[]): string {
  const { status, stdout, error } = spawnSync(join(BINARIES, "loadtest"), args, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
  if (error) throw error;
  if ((status !== 0 && status !== 1) || !stdout.trim()) throw new Error(`loadtest ended with ${status}`);
  if (status === 1) process.exitCode = 1;
  return stdout;
}

function create(engine: string, ledger: readonly string[], report: Report): void {
  const data = scratch(engine);
  try {
    const args = ["sessions", "--rate", String(RATE), "--seconds", String(SECONDS), "--data", data, ...ledger];
    const said = reported(args);
    const measured = JSON.parse(said) as Created;
    console.log(`${engine}: ${JSON.stringify(measured.durability)}, ${measured.disk}, fdatasync ${measured.fdatasync_ms_p50} ms`);
    report.add(`broker.create_per_s_${engine}`, measured.created_per_s);
    report.add(`broker.create_ms_p50_${engine}`, measured.ms_p50);
    report.add(`broker.create_ms_p99_${engine}`, measured.ms_p99);
    report.add(`broker.create_missing_${engine}`, measured.missing);
    report.add(`broker.create_cores_${engine}`, measured.broker_cores);
  } finally {
    rmSync(data, { recursive: true, force: true });
  }
}

function onPostgres(report: Report): void {
  const ledger = Postgres.start(scratch("server"));
  try {
    create("postgres", ["--ledger", ledger.url], report);
  } finally {
    ledger.drop();
  }
}

/** The longest time between two frames' arrivals in the browser, milliseconds, over `ms` from now on. */
function longestGap(player: Player, ms: number): Promise<number> {
  return player.page.evaluate(async (ms) => {
    const video = document.querySelector("video");
    if (!video) throw new Error("the page has no video");
    const until = performance.now() + ms;
    let last = performance.now();
    let longest = 0;
    while (performance.now() < until) {
      const received = await new Promise<number>((resolve) => {
        video.requestVideoFrameCallback((now, { receiveTime }) => resolve(receiveTime ?? now));
      });
      longest = Math.max(longest, received - last);
      last = received;
    }
    return longest;
  }, ms);
}

const KILLS = 5;
const GAP_MS = 10_000;

/** What a player's stream notices of the death of its broker and of the ledger: longest gaps, kill over control. */
async function kill(report: Report): Promise<void> {
  const ledger = Postgres.start(scratch("killed"));
  const stack = await Stack.up({ name: "bench-kill", env: { NEARLIGHT_LEDGER: ledger.url } });
  const browser = await launchChromium();
  const [control, struck, back]: [number[], number[], number[]] = [[], [], []];
  let notEncoded = 0;
  try {
    const player = await Player.arrive(stack, browser);
    const session = await player.play({ app: "calibrate" });
    await window(GAP_MS);
    for (let n = 0; n < KILLS; n++) {
      control.push(await longestGap(player, GAP_MS));
      const before = account(await stack.edgeSession(session.id));
      const gap = longestGap(player, GAP_MS);
      await window(GAP_MS / 2);
      const died = strike(stack, ledger);
      struck.push(await gap);
      const after = account(await stack.edgeSession(session.id));
      notEncoded += after.missing + after.dropped - before.dropped;
      back.push(await heal(stack, ledger, player, died));
      await window(GAP_MS / 2);
    }
    console.log(`longest gaps, control and kill, ms, and s until a new session: ${JSON.stringify({ control, struck, back })}`);
    report.add("broker.kill_gap_over_control", median(struck.map((gap, n) => gap / (control[n] ?? 0))));
    report.add("broker.kill_gap_ms", median(struck));
    report.add("broker.kill_frames_not_encoded", notEncoded);
    report.add("broker.kill_new_session_s", Math.max(...back));
    await player.end(session.id);
  } finally {
    await browser.close();
    await stack.down();
    ledger.drop();
  }
}

/** What control streams cost, and how a fleet comes back. */
function fleet(report: Report): void {
  const data = scratch("fleet");
  try {
    const args = ["fleet", "--streams", String(STREAMS), "--data", data];
    const said = reported(args);
    const measured = JSON.parse(said) as Streams;
    console.log(said);
    report.add("broker.rss_kib_per_stream", measured.rss_kib_per_stream);
    report.add("broker.rss_after_storm", measured.rss_after_storm);
    report.add("broker.attach_cpu_ms", measured.attach_cpu_ms);
    report.add("broker.restart_over_backoff_cap", measured.restart_over_backoff_cap);
    const late = measured.creates.filter(({ from_s }) => from_s >= BACK_IN_TARGET_S);
    report.add("broker.restart_create_ms_p99", worst(late));
    report.add("broker.restart_create_failed", late.reduce((sum, { failed }) => sum + failed, 0));
  } finally {
    rmSync(data, { recursive: true, force: true });
  }
}

/** Decisions among 100,000 nodes: an example of the simulator, whose figures are taken as they are. */
function placement(report: Report): void {
  const args = ["run", "--release", "--locked", "--quiet", "-p", "nearlight-sim", "--example", "placement"];
  const said = execFileSync("cargo", args, { cwd: ROOT, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
  for (const [name, value] of Object.entries(JSON.parse(said) as Record<string, unknown>)) {
    if (name.startsWith("broker.") && typeof value === "number") report.add(name, value);
  }
}

/** What `loadtest day` says. */
interface Day {
  readonly real_s: number;
  readonly decisions_per_s: number;
  readonly report: {
    readonly wait_ms: { readonly p99: number };
    readonly wait_ms_of: Readonly<Record<"rare", { readonly p99: number }>>;
    readonly regret_ms: { readonly p99: number };
    readonly eta: { readonly late: number };
  };
}

/** A fleet's day on a virtual clock. A broken invariant fails the run. */
function day(report: Report): void {
  const args = ["day", "--nodes", "100000", "--hours", "24", "--seed", "1"];
  const said = execFileSync(join(BINARIES, "loadtest"), args, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
  const measured = JSON.parse(said) as Day;
  report.add("broker.day_real_s", measured.real_s);
  report.add("broker.day_decisions_per_s", measured.decisions_per_s);
  report.add("broker.day_wait_ms_p99", measured.report.wait_ms.p99);
  report.add("broker.day_rare_wait_ms_p99", measured.report.wait_ms_of.rare.p99);
  report.add("broker.day_regret_ms_p99", measured.report.regret_ms.p99);
  report.add("broker.day_eta_late", measured.report.eta.late);
}

const report = new Report();
const part = process.env["BROKER"];
if (part === undefined || part === "placement") placement(report);
if (part === undefined || part === "day") day(report);
if (part === undefined || part === "create") {
  create("sqlite", [], report);
  onPostgres(report);
}
if (part === undefined || part === "fleet") fleet(report);
if (part === undefined || part === "kill") await kill(report);
if (part === undefined || part === "warm") await warm(report);
report.finish();
