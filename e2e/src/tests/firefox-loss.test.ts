/** Firefox on a lossy line: it offers neither FlexFEC nor RED, so what is lost is asked for again, or made up. */

import assert from "node:assert/strict";
import { addressOfThisMachine } from "../harness/ports.js";
import { launchFirefox, play } from "../harness/firefox.js";
import { assertNeverBackwards } from "../harness/picture.js";
import { Rig } from "../harness/rig.js";
import { until } from "../harness/until.js";

const SEED = 17;
const WAY = { delay: "20ms" };
const rig = Rig.forThisFile({ name: "firefox-loss", path: SEED, pathAddress: addressOfThisMachine() });

rig.test("Firefox asks again for what is lost, and the picture and the sound go on", async () => {
  const player = await launchFirefox();
  const { browser, picture } = player;
  const { path } = rig.stack;
  try {
    await path.change({ down: WAY, up: WAY });
    const id = await play(rig.stack, player, "bench-paced");
    const node = async () => (await rig.stack.edgeSession(id)).transport;
    const [before, { down }] = [await node(), await path.change({ down: { loss: "2%" } })];
    const sound = Number((await picture.inbound("audio"))["packetsReceived"]);
    await until("forty packets to be lost", async () => (await path.report()).down.lost_random - down.lost_random >= 40, { within_ms: 60_000 });
    await until("the node to have sent some of them again", async () => ((await node())?.retransmits ?? 0) > (before?.retransmits ?? 0), { instead: node });
    await until("the sound to go on", async () => Number((await picture.inbound("audio"))["packetsReceived"]) >= sound + 200);
    const { counter } = await picture.reading("a reading", () => true);
    await picture.reading("the picture to go on while packets are lost", (now) => now.counter >= counter + 120, { within_ms: 60_000 });
    // It takes neither FlexFEC nor RED, so asking again is all there is.
    const told = (await picture.notices()).flatMap((notice) => (notice.notice === "stream" ? [notice.stream.repair] : []));
    assert.deepEqual([...new Set(told)], ["rtx"]);
    await path.clean();
    const after = await picture.reading("a reading", () => true);
    await picture.reading("the picture to go on once none are lost", (now) => now.counter >= after.counter + 120, { within_ms: 60_000 });
    assertNeverBackwards((await picture.readings()).readings);
    assert.equal((await node())?.attachments, 1, "one attachment, never lost");
  } finally {
    await browser.close();
  }
});
