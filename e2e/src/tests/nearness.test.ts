/** Two regions, each with a node and a beacon: the browser times both, and plays where it is nearest, or where it is told. */

import assert from "node:assert/strict";
import { after } from "node:test";
import { join } from "node:path";
import type { Session } from "../../../client-web/src/wire/types.js";
import type { Player } from "../harness/player.js";
import { freeTcpPort } from "../harness/ports.js";
import { Rig } from "../harness/rig.js";
import { SecondNode } from "../harness/second-node.js";
import { SlowTcp } from "../harness/slow-tcp.js";
import { ARTEFACTS } from "../harness/stack.js";
import { until } from "../harness/until.js";

/** Each way; the browser is to find it twice in each round trip. */
const SLOW_MS = 40;

const nearPort = await freeTcpPort();
const farPort = await freeTcpPort();
const slowPort = await freeTcpPort();

let far: SecondNode | undefined;
let slow: SlowTcp | undefined;
// Before the rig's own: the second node goes before its broker does.
after(async () => {
  await far?.down();
  await slow?.close();
});

const region = (name: string, title: string, port: number): string[] => [
  "[[session-broker.regions]]",
  `name = "${name}"`,
  `title = "${title}"`,
  `beacon = "http://127.0.0.1:${port}/v1/beacon"`,
];

const rig = Rig.forThisFile({
  name: "nearness",
  runtime: "docker",
  config: [
    "[edge-node]",
    'region = "near"',
    "[edge-node.beacon]",
    `listen = "127.0.0.1:${nearPort}"`,
    // The farther one first: it is not the order that decides.
    ...region("far", "Far away", slowPort),
    ...region("near", "Close by", nearPort),
  ],
});

/** The other region: its node, and the slow way to its beacon. */
async function openFar(): Promise<SecondNode> {
  slow = await SlowTcp.open(slowPort, farPort, SLOW_MS);
  const config = ["[beacon]", `listen = "127.0.0.1:${farPort}"`, "[runtime]", 'kind = "docker"'];
  far = await SecondNode.join(rig.stack, { name: "second", region: "far", config });
  return far;
}

interface Shown {
  ping: number;
  by: string | undefined;
  text: string;
}

/** What the lobby offers, once it has timed both. */
async function measured(player: Player): Promise<Map<string, Shown>> {
  const options = (): Promise<[string, Shown][]> =>
    player.page.evaluate(() =>
      [...document.querySelectorAll<HTMLOptionElement>("[data-field=region] option")]
        .filter(({ value }) => value !== "")
        .map(({ value, dataset, textContent }) => [value, { ping: Number(dataset["ping"]), by: dataset["by"], text: textContent ?? "" }]),
    );
  return new Map(
    await until(
      "both regions to be timed",
      async () => {
        const shown = await options();
        return shown.length === 2 && shown.every(([, { by }]) => by === "measured") && shown;
      },
      { within_ms: 30_000, instead: options },
    ),
  );
}

/** Presses Play in the lobby, and answers the session once it has a node. */
async function press(player: Player): Promise<Session> {
  await player.page.locator("[data-app=calibrate] [data-action=play]").click();
  await player.page.waitForURL(/\/play\/ses_/);
  const id = /ses_[0-9a-z]+/.exec(player.page.url())?.[0] ?? "";
  rig.stack.remember(id);
  return until("the session to be placed", async () => {
    const session = await player.session(id);
    return session.placed_in !== undefined && session;
  });
}

rig.test("the nearest region by the browser's own measure is played in, or the one that is chosen", async () => {
  const second = await openFar();
  const player = await rig.player();
  const shown = await measured(player);
  const [near, away] = [shown.get("near"), shown.get("far")];
  assert.ok(near && away);
  assert.ok(away.ping >= 2 * SLOW_MS, `${away.ping} ms to the far one`);
  assert.ok(near.ping < away.ping, `${near.ping} ms to the near one`);
  assert.match(near.text, /^Close by · (<1|\d+) ms measured$/);
  assert.deepEqual([...shown.keys()], ["near", "far"], "nearest first");
  await player.page.screenshot({ path: join(ARTEFACTS, "nearness-lobby.png") });

  const nearest = await press(player);
  assert.notEqual(nearest.node, second.id);
  assert.equal(nearest.placed_in?.region, "near");
  assert.equal(nearest.placed_in?.rtt_from, "measured");
  assert.equal(nearest.placed_in?.chosen, false);
  await player.end(nearest.id);

  await player.page.goto("/");
  await measured(player);
  await player.page.locator("[data-field=region]").selectOption("far");
  await player.page.reload();
  await measured(player);
  assert.equal(await player.page.locator("[data-field=region]").inputValue(), "far", "the device keeps the choice");
  const chosen = await press(player);
  assert.equal(chosen.node, second.id);
  assert.deepEqual([chosen.placed_in?.region, chosen.placed_in?.chosen, chosen.placed_in?.step], ["far", true, null]);
  await player.enter();

  // Its stream's own round trip counts for a browser of this network that has measured nothing.
  await until(
    "the stream's round trip to be known",
    async () => {
      const { body } = await player.api<{ regions: { name: string; rtt_from: string | null }[] }>("GET", "/v1/regions");
      return body.regions.some(({ name, rtt_from }) => name === "far" && rtt_from === "sessions");
    },
    { within_ms: 30_000 },
  );
  await player.end(chosen.id);
});
