/**
 * `npm run soak`: cycles until SOAK_CYCLES (default 50) are done or SOAK_HOURS (default none) are
 * over, from SOAK_SEED (default: the time; it is printed, and repeats the run). Then native viewers
 * attach, play and leave: SOAK_CHURN times (default 10,000; 0 for none), and for SOAK_CHURN_MINUTES
 * (default 30) at least; the memory of agent, workers and broker may grow by 5 percent
 * each, and the broker's by what its ledger has grown besides: it has a row of each attachment for as long as its session
 * lasts, and keeps what it wrote of the file in memory. One Nearlight lives through all of it.
 */

import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { launchChromium } from "./harness/chromium.js";
import { against, loadtest, type Churned } from "./harness/loadtest.js";
import { Random } from "./harness/random.js";
import { cycle, holdings, holdNoMoreThan } from "./harness/soaking.js";
import { Stack } from "./harness/stack.js";

function setting(name: string, otherwise: number): number {
  const text = process.env[name];
  if (text === undefined || text === "") return otherwise;
  const value = Number(text);
  if (!Number.isFinite(value) || value < 0) throw new Error(`${name} is ${text}, and must be a number`);
  return value;
}

/** The size of the broker's ledger, its log apart. */
function ledgerKib(stack: Stack): number {
  const ask = "import sqlite3, sys; print(sqlite3.connect(f'file:{sys.argv[1]}?mode=ro', uri=True, timeout=30).execute('PRAGMA page_count').fetchone()[0] * 4)";
  return Number(execFileSync("python3", ["-c", ask, join(stack.data, "broker/ledger.sqlite")], { encoding: "utf8" }));
}

const hours = setting("SOAK_HOURS", 0);
const cycles = setting("SOAK_CYCLES", hours > 0 ? Number.MAX_SAFE_INTEGER : 50);
const churn = setting("SOAK_CHURN", 10_000);
const churnMinutes = setting("SOAK_CHURN_MINUTES", 30);
const random = new Random(setting("SOAK_SEED", Date.now() % 2 ** 32));
const deadline = hours > 0 ? performance.now() + hours * 3_600_000 : Infinity;

console.log(`seed ${random.seed}: repeat with SOAK_SEED=${random.seed}`);
const stack = await Stack.up({ name: "soak" });
try {
  const browser = await launchChromium();
  try {
    let first: ReturnType<typeof holdings> | undefined;
    let done = 0;
    while (done < cycles && performance.now() < deadline) {
      await cycle(stack, browser, random);
      done += 1;
      first ??= holdings(stack);
      const { "edge-node": edge, "session-broker": broker } = holdings(stack);
      const mib = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`;
      console.log(
        `cycle ${done}: edge-node ${edge.openFiles} files ${mib(edge.residentBytes)}, session-broker ${broker.openFiles} files ${mib(broker.residentBytes)}`,
      );
    }
    if (first) await holdNoMoreThan(stack, first);
    console.log(`${done} cycles, nothing left behind`);
  } finally {
    await browser.close();
  }
  if (churn > 0) {
    const broker = ["--broker-pid", String(stack.role("session-broker").pid)];
    const plan = [...broker, "--cycles", String(churn), "--at-least", `${churnMinutes}min`, "--growth-max", "5%", "--sessions", "4"];
    const ledger = ledgerKib(stack);
    const report = await loadtest<Churned>(["churn", ...against(stack), "--seed", String(random.seed), ...plan]);
    const kept = ledgerKib(stack) - ledger;
    console.log(JSON.stringify({ ...report, ledger_grown_kib: kept }));
    const { broker: resident } = report.memory;
    // A page of the file is kept once by the connection that writes, and once by those that read.
    const isLedgers = resident !== undefined && resident.late_kib - 2 * kept <= 1.05 * resident.early_kib;
    const faults = report.faults.filter((fault) => !(isLedgers && fault.startsWith("memory of broker")));
    if (faults.length > 0) throw new Error(`native viewers: ${faults.join("; ")}`);
    const grown = Object.entries(report.memory).map(([role, { percent }]) => `${role} ${percent.toFixed(1)}`);
    console.log(`${report.cycles} native viewers came and went, memory grew by (percent) ${grown.join(", ")}`);
  }
} catch (error) {
  console.error(`seed ${random.seed}\n${stack.logTail()}`);
  throw error;
} finally {
  await stack.down();
}
