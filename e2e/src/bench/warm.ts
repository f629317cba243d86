/** How much sooner a session shows its first picture where a desktop is ready. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { launchChromium } from "../harness/chromium.js";
import { desktopsReady, warmApp } from "../harness/desktops.js";
import { Player } from "../harness/player.js";
import { ROOT, Stack } from "../harness/stack.js";
import { median } from "./quantiles.js";
import type { Report } from "./report.js";

const STARTS = Number(process.env["BROKER_STARTS"] ?? 15);
const READY = 2;

interface Times {
  /** From the POST until the API says that the node has a picture, milliseconds. */
  readonly node: number[];
  /** From the POST until the browser shows it. */
  readonly shown: number[];
}

async function start(player: Player, app: string, times: Times): Promise<void> {
  const asked = performance.now();
  const session = await player.create({ app });
  const node = player.reach(session.id, ["ready", "playing"], { every_ms: 5 }).then(() => times.node.push(performance.now() - asked));
  await player.page.goto(session.play_path);
  await player.picture.isShown({ every_ms: 5 });
  times.shown.push(performance.now() - asked);
  await node;
  await player.end(session.id);
}

/** Cold and warm take turns on one node, so that what else the machine does meets both. */
export async function warm(report: Report): Promise<void> {
  const calibrate = readFileSync(join(ROOT, "configs/apps/calibrate.toml"), "utf8");
  const stack = await Stack.up({
    name: "bench-warm",
    runtime: "docker",
    apps: () => ({ "cold.toml": warmApp(calibrate, "cold", 0), "ready.toml": warmApp(calibrate, "ready", READY) }),
    config: ["[edge-node.warm]", `max = ${READY}`],
  });
  const browser = await launchChromium();
  const [cold, ready]: [Times, Times] = [{ node: [], shown: [] }, { node: [], shown: [] }];
  try {
    const player = await Player.arrive(stack, browser);
    for (let n = 0; n <= STARTS; n++) {
      for (const [app, times] of [["cold", cold], ["ready", ready]] as const) {
        await desktopsReady(stack, READY);
        // The first of each meets cold caches, and counts for neither.
        await start(player, app, n === 0 ? { node: [], shown: [] } : times);
      }
    }
  } finally {
    await browser.close();
    await stack.down();
  }
  console.log(`from the POST to a picture, ms: ${JSON.stringify({ cold, ready })}`);
  report.add("broker.start_cold_node_ms_p50", median(cold.node));
  report.add("broker.start_warm_node_ms_p50", median(ready.node));
  report.add("broker.start_warm_over_cold_node", median(ready.node) / median(cold.node));
  report.add("broker.start_cold_shown_ms_p50", median(cold.shown));
  report.add("broker.start_warm_shown_ms_p50", median(ready.shown));
  report.add("broker.start_warm_over_cold_shown", median(ready.shown) / median(cold.shown));
}
