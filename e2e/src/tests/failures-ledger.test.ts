/** The broker and its database die while somebody plays: the stream does not notice. */

import assert from "node:assert/strict";
import { after } from "node:test";
import { account, heal, strike } from "../harness/outage.js";
import { Postgres } from "../harness/postgres.js";
import { Rig } from "../harness/rig.js";

// A machine without PostgreSQL runs the rest of the tests; `make test` installs it.
const without = process.env["NEARLIGHT_WITHOUT_POSTGRES"] !== undefined;
const ledger = without ? undefined : Postgres.start();

if (ledger) {
  const rig = Rig.forThisFile({ name: "failures-ledger", runtime: "docker", env: { NEARLIGHT_LEDGER: ledger.url } });
  after(() => ledger.drop());

  rig.test("kill -9 of the broker and of the ledger while a stream runs: every commit is accounted for, and nothing has to attach again", async () => {
    const player = await rig.player();
    const session = await player.play({ app: "calibrate" });
    await player.picture.watch();
    const before = await rig.stack.attached(session.id);
    const died = strike(rig.stack, ledger);
    const shown = await player.picture.latest();
    await player.picture.reading("frames while there is neither broker nor ledger", ({ counter }) => counter > (shown?.counter ?? 0) + 240);
    await player.page.keyboard.press("KeyB");
    await player.picture.reading("input through the same stream", ({ code }) => code === 48);
    await heal(rig.stack, ledger, player, died);
    const during = await rig.stack.edgeSession(session.id);
    assert.equal(account(during).missing, 0, "every commit is accounted for");
    assert.ok((during.worker?.encoded ?? 0) > (before.worker?.encoded ?? 0) + 240);
    assert.equal(during.transport?.attachments, before.transport?.attachments, "the stream never had to attach again");
    assert.equal(during.container, before.container, "the same container");
    await player.reach(session.id, ["playing"]);
    await player.end(session.id);
  });
}
