/** Apps that fail: each session ends with a reason that a person understands, and leaves nothing. */

import assert from "node:assert/strict";
import { inspect } from "../harness/docker.js";
import { launchMortalChromium } from "../harness/chromium.js";
import { Player } from "../harness/player.js";
import { Rig } from "../harness/rig.js";
import type { EndReason } from "../../../client-web/src/wire/types.js";

const rig = Rig.forThisFile({ name: "failures-app", runtime: "docker" });

rig.test("an app whose image is missing ends with that reason, and the page says it", async () => {
  const player = await rig.player();
  const session = await player.create({ app: "image-missing" });
  const end = await player.reachEnd(session.id);
  assert.equal(end.reason, "image-missing");
  assert.match(end.detail, /image/);
  await player.page.goto(session.play_path);
  await player.phase("ended");
  assert.equal(await player.reason(), "image-missing");
  assert.match(await player.page.locator("body").innerText(), /image/i);
});

rig.test("an app that exits at once ends as one that failed to start", async () => {
  const player = await rig.player();
  const session = await player.create({ app: "exits-at-once" });
  assert.equal((await player.reachEnd(session.id)).reason, "app-start-failed");
});

const CRASHES: [string, string, EndReason][] = [
  ["aborts in the middle", "F5", "app-crashed"],
  ["exits with an error in the middle", "F7", "app-crashed"],
  ["exits by itself", "F6", "app-exited"],
  ["takes more memory than it may", "F8", "app-out-of-memory"],
];
for (const [what, key, reason] of CRASHES) {
  rig.test(`an app that ${what} ends the session with ${reason}`, async () => {
    const player = await rig.player();
    const session = await player.play({ app: "calibrate" });
    await player.picture.watch();
    const { container } = await rig.stack.edgeSession(session.id);
    await player.page.keyboard.press(key);
    assert.equal((await player.reachEnd(session.id)).reason, reason);
    assert.ok(container);
    assert.equal(inspect(container), undefined, "the container is removed");
    await player.phase("ended");
    assert.equal(await player.reason(), reason);
  });
}

rig.test("a browser that vanishes: the session is kept for its grace, then ended", async () => {
  const mortal = await launchMortalChromium();
  const player = await Player.arrive(rig.stack, mortal.browser);
  const session = await player.create({ app: "brief-grace" });
  await player.open(session);
  const { container } = await rig.stack.edgeSession(session.id);
  assert.ok(container);
  await mortal.kill();
  const { operator } = rig.stack;
  await operator.reach(session.id, ["detached"], { within_ms: 60_000 });
  assert.ok(inspect(container)?.State.Running, "the container runs on through the grace");
  assert.equal((await operator.reachEnd(session.id)).reason, "detached-timeout");
  assert.equal(inspect(container), undefined, "the container is removed");
});
