/** An app whose image is not on the node: the player sees how far it is, in bytes and layers, and then the picture. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after } from "node:test";
import { isHere, Registry } from "../harness/registry.js";
import { Rig } from "../harness/rig.js";
import { ARTEFACTS, ROOT } from "../harness/stack.js";
import { until } from "../harness/until.js";

const MIB = 1024 * 1024;
const BALLAST = 24 * MIB;

let registry: Registry | undefined;
let image = "";

/** `calibrate` from an image that is in the registry alone; as much of it comes out as a third. */
async function pulled(): Promise<Record<string, string>> {
  registry = await Registry.start();
  image = registry.image("nearlight/calibrate:1", "pulled", BALLAST);
  // The node fetches what the catalogue names ahead of sessions, and gets so far.
  registry.letThrough(BALLAST / 3);
  const calibrate = readFileSync(join(ROOT, "configs/apps/calibrate.toml"), "utf8");
  return { "pulled.toml": calibrate.replace(/^id = .*$/m, 'id = "pulled"').replace(/^image = .*$/m, `image = "${image}"`) };
}

const rig = Rig.forThisFile({ name: "pull", runtime: "docker", apps: pulled });
// After the rig's own: the node fetches until it is down.
after(() => registry?.stop());

interface Shown {
  readonly value: number;
  readonly words: string;
}

rig.test("a player sees the image come, in bytes and layers, and then the picture", async () => {
  assert.ok(!isHere(image));
  const player = await rig.player();
  const session = await player.create({ app: "pulled" });
  await player.page.goto(session.play_path);
  const pulling = player.page.locator("[data-step=pulling] .pulling");
  const shown = async (): Promise<Shown> => ({
    value: await pulling.locator("progress").evaluate((bar) => (bar as HTMLProgressElement).value),
    words: (await pulling.locator("small").textContent()) ?? "",
  });
  const halted = await until("a part of it to be there", async () => {
    const now = await shown();
    return now.value > 0 && now.value < 1 && /^[\d.]+ \S+ of [\d.]+ \S+, \d+ of \d+ layers$/.test(now.words) && now;
  }, { within_ms: 60_000, instead: () => shown().catch(String) });
  const [, done, layers] = /(\d+) of (\d+) layers$/.exec(halted.words) ?? [];
  assert.ok(Number(done) < Number(layers), halted.words);
  await player.page.screenshot({ path: join(ARTEFACTS, "pull.png") });
  const { state } = await player.session(session.id);
  assert.ok(state.phase === "starting" && state.progress.step === "pulling");
  assert.ok(state.progress.total_bytes >= BALLAST, "the bytes are the image's");
  assert.ok(state.progress.done_bytes > 0 && state.progress.done_bytes < state.progress.total_bytes);

  // A little more comes, and the page says so.
  registry?.letThrough(BALLAST / 3);
  await until("more of it to be there", async () => (await shown()).value > halted.value, { instead: () => shown().catch(String) });
  registry?.letThrough(Infinity);
  await player.enter();
  assert.ok(isHere(image));
  await player.picture.watch();
  await player.end(session.id);
}, 240_000);
