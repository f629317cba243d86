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
async function choose(player: Player, where: string, action: "wait-for-saves" | "begin-without-saves"): Promise<Session> {
  const before = player.page.url();
  await player.page.locator(`${where} [data-action=${action}]`).click();
  await player.page.waitForURL((url) => url.href !== before && url.pathname.startsWith("/play/ses_"));
  const id = /ses_[0-9a-z]+/.exec(player.page.url())?.[0] ?? "";
  rig.stack.remember(id);
  return player.session(id);
}

/** A page that waits in line, whose events the broker refuses: it goes on by asking, and says so once the session is gone. */
async function losesItsSession(player: Player, session: Session): Promise<void> {
  const context = await (await rig.browser()).newContext({ baseURL: rig.stack.base });
  try {
    await context.addCookies(await player.context.cookies());
    let asked = 0;
    await context.route(`**/v1/sessions/${session.id}/events`, (route) => {
      asked += 1;
      return route.fulfill({ status: 429, body: "" });
    });
    const page = await context.newPage();
    const told = (): Promise<DOMStringMap> => page.evaluate(() => ({ ...document.documentElement.dataset }));
    await page.goto(session.play_path);
    await until("the page to wait in line", async () => asked >= 2 && (await told())["reason"] === "queued", { instead: told });
    // To the broker it is somebody else now.
    await context.clearCookies();
    await until("the page to say that it has no such session", async () => (await told())["reason"] === "not-found", { instead: told });
    assert.match(await page.locator("h1").innerText(), /no such session/i);
  } finally {
    await context.close();
  }
}

/** Ends a session where the lobby lists it: not by one click. */
async function endInLobby(player: Player, session: Session): Promise<void> {
  await player.page.goto("/");
  const end = player.page.locator(`[data-session=${session.id}] [data-action=end]`);
  await end.click();
  assert.equal(await end.innerText(), "Really end?");
  assert.notEqual((await player.session(session.id)).state.phase, "ended");
  await end.click();
  await player.reachEnd(session.id);
}

rig.test("a player whose saves are on a node that takes no sessions waits for it, or begins without them", async () => {
  second = await SecondNode.join(rig.stack, { name: "second", region: "away", config: ["[runtime]", 'kind = "docker"'] });
  const player = await rig.player();
  const first = await player.play({ app: APP, region: "home" });
  const home = (await player.session(first.id)).node ?? "";
  assert.notEqual(home, second.id);
  await player.end(first.id);

  // On the page of the session that is over, as in the lobby.
  await drain(home, "draining");
  await player.phase("ended");
  await player.page.locator("[data-action=play-again]").click();
  await player.page.locator(".panel [data-problem=save-elsewhere]").waitFor();
  await player.page.screenshot({ path: join(ARTEFACTS, "saves-choice.png") });
  const waits = await choose(player, ".panel", "wait-for-saves");
  await player.reach(waits.id, ["queued"]);
  await losesItsSession(player, waits);
  await drain(home, "online");
  await player.enter();
  assert.equal((await player.session(waits.id)).node, home, "it goes on where its saves are");
  await endInLobby(player, waits);

  await drain(home, "draining");
  await asked(player);
  const fresh = await choose(player, `[data-app=${APP}]`, "begin-without-saves");
  await player.enter();
  assert.equal((await player.session(fresh.id)).node, second.id, "it begins on the other node at once");
  await player.end(fresh.id);
  await drain(home, "online");
});
