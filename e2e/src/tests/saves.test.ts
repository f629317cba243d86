/** Saves are on a node that takes no sessions: the lobby asks its player, and does what the player says. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { after } from "node:test";
import type { Session } from "../../../client-web/src/wire/types.js";
import type { Player } from "../harness/player.js";
import { Rig } from "../harness/rig.js";
import { SecondNode } from "../harness/second-node.js";
import { ARTEFACTS } from "../harness/stack.js";
import { until } from "../harness/until.js";

const APP = "keeps-saves";

let second: SecondNode | undefined;
// Before the rig's own: the second node goes before its broker does.
after(() => second?.down());

const rig = Rig.forThisFile({ name: "saves", runtime: "docker", config: ["[edge-node]", 'region = "home"'] });

/** Lets a node take no sessions, or take some again; once everyone sees it. */
async function drain(node: string, wanted: "draining" | "online"): Promise<void> {
  const { status } = await rig.stack.operator.request(wanted === "draining" ? "POST" : "DELETE", `/v1/nodes/${node}/drain`);
  assert.ok(status < 300, `drain answered ${status}`);
  await until(`the node to be ${wanted}`, async () => (await rig.stack.operator.nodes()).some(({ id, status }) => id === node && status === wanted));
}

/** Presses Play, and waits until the lobby asks. */
async function asked(player: Player): Promise<void> {
  await player.page.goto("/");
  const card = player.page.locator(`[data-app=${APP}]`);
  await card.locator("[data-action=play]").click();
  await card.locator("[data-problem=save-elsewhere]").waitFor();
  assert.equal(await card.locator("[data-choice=saves] button").count(), 2);
  assert.equal(new URL(player.page.url()).pathname, "/", "nothing was started");
}

/** Presses one of the two buttons, and answers the session that it makes. */
async function choose(player: Player, action: "wait-for-saves" | "begin-without-saves"): Promise<Session> {
  await player.page.locator(`[data-app=${APP}] [data-action=${action}]`).click();
  await player.page.waitForURL(/\/play\/ses_/);
  const id = /ses_[0-9a-z]+/.exec(player.page.url())?.[0] ?? "";
  rig.stack.remember(id);
  return player.session(id);
}

rig.test("a player whose saves are on a node that takes no sessions waits for it, or begins without them", async () => {
  second = await SecondNode.join(rig.stack, { name: "second", region: "away", config: ["[runtime]", 'kind = "docker"'] });
  const player = await rig.player();
  const first = await player.play({ app: APP, region: "home" });
  const home = (await player.session(first.id)).node ?? "";
  assert.notEqual(home, second.id);
  await player.end(first.id);

  await drain(home, "draining");
  await asked(player);
  await player.page.screenshot({ path: join(ARTEFACTS, "saves-choice.png") });
  const waits = await choose(player, "wait-for-saves");
  await player.reach(waits.id, ["queued"]);
  await drain(home, "online");
  await player.enter();
  assert.equal((await player.session(waits.id)).node, home, "it goes on where its saves are");
  await player.end(waits.id);

  await drain(home, "draining");
  await asked(player);
  const fresh = await choose(player, "begin-without-saves");
  await player.enter();
  assert.equal((await player.session(fresh.id)).node, second.id, "it begins on the other node at once");
  await player.end(fresh.id);
  await drain(home, "online");
});
