/** The line check on a bad line: it names what is at fault, and stands in nobody's way. */

import assert from "node:assert/strict";
import type { Player } from "../harness/player.js";
import { Rig } from "../harness/rig.js";
import { until } from "../harness/until.js";

const SEED = 13;
const rig = Rig.forThisFile({ name: "line-check", runtime: "docker", path: SEED });

interface Verdict {
  line: string;
  fault: string | undefined;
}

async function verdict(player: Player): Promise<Verdict> {
  const shown = (): Promise<Verdict | undefined> =>
    player.page.evaluate(() => {
      const strip = document.querySelector<HTMLElement>("[data-line]");
      return strip ? { line: strip.dataset["line"] ?? "", fault: strip.dataset["fault"] } : undefined;
    });
  return until(
    "a verdict",
    async () => {
      const said = await shown();
      return said !== undefined && said.line !== "checking" && said;
    },
    { within_ms: 60_000, instead: shown },
  );
}

rig.test("a node that is far away is told apart from a bad line, and play is not in its way", async () => {
  await rig.stack.path.change({ down: { delay: "70ms" }, up: { delay: "70ms" } });
  const player = await rig.player();
  const far = await verdict(player);
  assert.equal(far.line, "poor");
  assert.equal(far.fault, "distance");

  await rig.stack.path.clean();
  await player.page.locator("[data-line] [data-action=check-line]").click();
  await until("another verdict", async () => {
    const { line, fault } = await verdict(player);
    return line !== "poor" || fault !== "distance";
  }, { within_ms: 60_000 });
  await player.page.locator("[data-app=calibrate] [data-action=play]").click();
  await player.enter();
});
