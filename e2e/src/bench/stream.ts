/**
 * `npm run bench`, `make bench SUITE=stream`: latency, capacity, loss and density of a stream.
 * docs/performance.md explains the method and each name. STREAM=latency,capacity,loss,cpu picks parts.
 */

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { launchChromium } from "../harness/chromium.js";
import { BINARIES, ROOT } from "../harness/places.js";
import { Stack } from "../harness/stack.js";
import { deepQueue, steps } from "./capacity.js";
import { hard, steady } from "./loss.js";
import { overhead } from "./overhead.js";
import { median } from "./quantiles.js";
import { Report } from "./report.js";

const SEED = 21;

/** Input to picture: a command of the product, whose figures are taken as they are. */
function latency(report: Report): void {
  const out = join(ROOT, "target/bench/latency");
  execFileSync(join(BINARIES, "nearlight"), ["bench", "latency", "--up", "--out", out], { cwd: ROOT, stdio: ["ignore", "inherit", "inherit"] });
  const figures = JSON.parse(readFileSync(join(out, "report.json"), "utf8")) as Record<string, unknown>;
  for (const [name, value] of Object.entries(figures)) {
    if (name.startsWith("stream.") && typeof value === "number") report.add(name, value);
  }
}

/** Beside a Cubic flow, on the virtual clock: the median of some seeds. */
function cubic(report: Report): void {
  const shares = [1, 2, 3, 4, 5].map((seed) => {
    const args = ["run", "--release", "--locked", "--quiet", "-p", "nearlight-sim", "--example", "stream", "--", "cubic", String(seed)];
    const said = execFileSync("cargo", args, { cwd: ROOT, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
    return Number(/^cubic:.* share (\d+) %$/m.exec(said)?.[1]);
  });
  report.add("stream.cubic_share_percent", median(shares));
}

async function capacity(stack: Stack, browser: Browser, report: Report): Promise<void> {
  await steps(stack, browser, report, "steps_8_4_8", [8, 4.8]);
  await steps(stack, browser, report, "steps_10_2_10", [10, 2]);
  await deepQueue(stack, browser, report);
}

async function loss(stack: Stack, browser: Browser, report: Report): Promise<void> {
  await steady(stack, browser, report, "loss0", {});
  await steady(stack, browser, report, "loss2", { loss: "2%" });
  await steady(stack, browser, report, "loss5", { loss: "5%" });
  await steady(stack, browser, report, "bursts10", { burst: "10 every 2s" });
  await hard(stack, browser, report);
}

async function impaired(report: Report, measure: (stack: Stack, browser: Browser, report: Report) => Promise<void>): Promise<void> {
  const stack = await Stack.up({ name: "bench-stream", path: SEED });
  const browser = await launchChromium();
  try {
    await measure(stack, browser, report);
    const { down, up } = await stack.path.report();
    // A relay that is late or full measures itself.
    report.add("stream.relay_late_p99_ms", Math.max(down.late_ms.p99, up.late_ms.p99));
    if (down.overflowed + down.unsent + up.overflowed + up.unsent > 0) throw new Error("the relay lost packets of its own");
  } catch (error) {
    console.error(stack.logTail());
    throw error;
  } finally {
    await browser.close();
    await stack.down();
  }
}

const PARTS: Record<string, (report: Report) => Promise<void> | void> = {
  latency,
  capacity: async (report) => {
    cubic(report);
    await impaired(report, capacity);
  },
  loss: (report) => impaired(report, loss),
  cpu: overhead,
};

const wanted = process.env["STREAM"]?.split(",") ?? Object.keys(PARTS);
const report = new Report();
for (const part of wanted) {
  const measure = PARTS[part];
  if (!measure) throw new Error(`STREAM takes ${Object.keys(PARTS).join(", ")}, not ${part}`);
  await measure(report);
  // Each part's figures are kept, whatever becomes of the next.
  report.write();
}
report.finish();
