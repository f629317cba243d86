/** The line check on a bad line: it names what is at fault, and stands in nobody's way. */

import assert from "node:assert/strict";
import type { SessionList } from "../../../client-web/src/wire/types.js";
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
