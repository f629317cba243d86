/** The line check on good and bad lines: it names what is at fault, and stands in nobody's way. */

import assert from "node:assert/strict";
import type { SessionList } from "../../../client-web/src/wire/types.js";
import type { Player } from "../harness/player.js";
import { Rig } from "../harness/rig.js";
import { until } from "../harness/until.js";

const SEED = 13;
const rig = Rig.forThisFile({ name: "line-check", runtime: "docker", path: SEED });

interface Verdict {
  line: string;
  /** "none" where nothing is. */
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

/** The check that a lobby makes by itself comes to `wanted`, or one that is asked for: a busy machine has its moments. */
async function comesTo(player: Player, wanted: Verdict): Promise<void> {
  let said = await verdict(player);
  await until(
    `a check to say ${wanted.line}, ${wanted.fault}`,
    async () => {
      if (said.line === wanted.line && said.fault === wanted.fault) return true;
      await player.page.locator("[data-line] [data-action=check-line]").click();
      said = await verdict(player);
      return false;
    },
    { within_ms: 90_000, instead: () => said },
  );
}

rig.test("a line that is narrow or loses packets is at fault by name, and a good one is called so", async () => {
  const { path } = rig.stack;
  await comesTo(await rig.player(), { line: "good", fault: "none" });
  for (const down of [{ rate: "2mbit" }, { loss: "25%" }]) {
    await path.change({ down });
    const player = await rig.player();
    await comesTo(player, { line: "poor", fault: "line" });
    await path.clean();
    await player.page.locator("[data-line] [data-action=check-line]").click();
    await comesTo(player, { line: "good", fault: "none" });
  }
});

rig.test("a node that is far away is told apart from a bad line, and play is not in its way", async () => {
  await rig.stack.path.change({ down: { delay: "70ms" }, up: { delay: "70ms" } });
  const player = await rig.player();
  const far = await verdict(player);
  assert.equal(far.line, "poor");
  assert.equal(far.fault, "distance");

  await rig.stack.path.clean();
  await player.page.locator("[data-line] [data-action=check-line]").click();
  await comesTo(player, { line: "good", fault: "none" });

  // A link to an app, of anybody: it shows the app, and starts nothing.
  await player.page.goto("/?app=no-such-thing");
  assert.match(await player.page.locator("[data-problem=no-such-app]").innerText(), /no-such-thing/);
  await player.page.goto("/?app=calibrate");
  const card = player.page.locator('[data-app=calibrate][data-named="true"]');
  await card.waitFor();
  await until("the focus to be on its button", () => card.locator("[data-action=play]").evaluate((button) => button === document.activeElement));
  assert.ok(await card.evaluate((shown) => shown.getBoundingClientRect().top < innerHeight && shown.getBoundingClientRect().bottom > 0));
  assert.deepEqual((await player.api<SessionList>("GET", "/v1/sessions")).body.sessions, []);
  await player.page.keyboard.press("Enter");
  await player.enter();
  await player.page.goBack();
  await player.page.locator("[data-session] [data-action=resume]").waitFor();
  assert.equal(new URL(player.page.url()).search, "");
  await player.page.goForward();
  await player.enter();
});
