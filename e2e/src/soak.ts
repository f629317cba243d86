/**
 * `npm run soak`: cycles until SOAK_CYCLES (default 50) are done or SOAK_HOURS (default none) are
 * over, from SOAK_SEED (default: the time; it is printed, and repeats the run). Then native viewers
 * attach, play and leave: SOAK_CHURN times (default 10,000; 0 for none), and for SOAK_CHURN_MINUTES
 * (default 30) at least; the memory of agent, workers and broker may grow by 5 percent
 * each. One Nearlight lives through all of it.
 */

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
    const report = await loadtest<Churned>(["churn", ...against(stack), "--seed", String(random.seed), ...plan]);
    console.log(JSON.stringify(report));
    if (report.faults.length > 0) throw new Error(`native viewers: ${report.faults.join("; ")}`);
    const grown = Object.entries(report.memory).map(([role, { percent }]) => `${role} ${percent.toFixed(1)}`);
    console.log(`${report.cycles} native viewers came and went, memory grew by (percent) ${grown.join(", ")}`);
  }
} catch (error) {
  console.error(`seed ${random.seed}\n${stack.logTail()}`);
  throw error;
} finally {
  await stack.down();
}
