/** Sessions of a node whose operator said what its line carries: there are no more than fit. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Session } from "../../../client-web/src/wire/types.js";
import { Stack } from "../harness/stack.js";
import { until } from "../harness/until.js";

test("where the uplink is configured a third session waits until there is room on it", { timeout: 180_000 }, async () => {
  const needs = `[needs]\ncpu_milli = 500\nmem_mib = 256\nkbps_min = 8000`;
  const game = `id = "fills-the-line"\ntitle = "Fills the line"\nsummary = "Needs 8 Mbit/s."\npicture = "/apps/calibrate.webp"\nshelf = "tool"
[launch]\nimage = "nearlight/calibrate:1"\ncommand = ["/usr/bin/calibrate", "--mode", "paced", "--scene", "plain"]\n${needs}
[needs.display]\nwidth = 640\nheight = 360\nhz = 60\n[time]\nidle_s = 900\nmax_s = 3600\ngrace_s = 60\n`;
  const stack = await Stack.up({
    name: "stream-uplink-configured",
    runtime: "docker",
    config: ["[edge-node.rtc]", "uplink_mbit = 20"],
    apps: () => ({ "fills-the-line.toml": game }),
  });
  try {
    const { operator } = stack;
    const request = { app: "fills-the-line" };
    const [first, second] = [await operator.start(request), await operator.start(request)];
    const third = await operator.create(request);
    const state = async (): Promise<Session["state"]> => (await operator.session(third.id)).state;
    await until("the third to wait for the uplink", async () => {
      const now = await state();
      return now.phase === "queued" && now.waits_for === "uplink";
    }, { instead: state });
    await operator.end(first.id);
    await operator.reach(third.id, ["ready"]);
    assert.equal((await operator.session(second.id)).state.phase, "ready", "the second was left alone");
    for (const { id } of [second, third]) await operator.end(id);
    await until("nothing to be left", async () => (await stack.liveSessions()).length === 0);
  } finally {
    await stack.down();
  }
});
