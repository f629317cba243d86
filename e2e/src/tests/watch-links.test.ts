/** Watch links under other programs than ours: watchers are counted, and take part in nothing, whatever they send. */

import assert from "node:assert/strict";
import type { Browser, Page } from "playwright-core";
import type { NewWatchLink } from "../../../client-web/src/wire/types.js";
import { launchBlockingChromium } from "../harness/chromium.js";
import { Picture } from "../harness/picture.js";
import type { Player } from "../harness/player.js";
import { installProbe } from "../harness/probe.js";
import { Rig } from "../harness/rig.js";
import { until } from "../harness/until.js";

const rig = Rig.forThisFile({ name: "watch-links", runtime: "docker" });

/** Somebody with nothing but the link: no cookie, no account. */
class Watcher {
  readonly picture: Picture;

  private constructor(readonly page: Page) {
    this.picture = new Picture({ evaluate: (body, argument) => page.evaluate(body as never, argument as never) });
  }

  static async open(browser: Browser, base: string, url: string): Promise<Watcher> {
    const context = await browser.newContext({ baseURL: base, viewport: { width: 1280, height: 720 } });
    await context.addInitScript(installProbe);
    const page = await context.newPage();
    await page.goto(url);
    return new Watcher(page);
  }

  async phase(wanted: string): Promise<void> {
    const told = (): Promise<DOMStringMap> => this.page.evaluate(() => ({ ...document.documentElement.dataset }));
    await until(`the watcher's page to be ${wanted}`, async () => (await told())["phase"] === wanted, { within_ms: 60_000, instead: told });
  }

  close(): Promise<void> {
    return this.page.context().close();
  }
}

async function link(player: Player, session: string): Promise<NewWatchLink> {
  const { status, body } = await player.api<NewWatchLink>("POST", `/v1/sessions/${session}/watch-links`, { expires_s: 600 });
  assert.equal(status, 201, JSON.stringify(body));
  return body;
}

/** Waits until the player is told that so many watch. */
async function watchers(player: Player, count: number): Promise<void> {
  const told = async (): Promise<number | undefined> =>
    (await player.picture.notices()).flatMap((notice) => (notice.notice === "watchers" ? [notice.count] : [])).at(-1);
  await until(`the player to be told of ${count} watchers`, async () => ((await told()) ?? 0) === count, { instead: told });
}

rig.test("two watch on one link, are counted, and what they press reaches nobody", async () => {
  const player = await rig.player();
  const { id } = await player.play({ app: "calibrate" });
  await player.picture.watch();
  const { url } = await link(player, id);
  const browser = await rig.browser();
  const all = [await Watcher.open(browser, rig.stack.base, url), await Watcher.open(browser, rig.stack.base, url)];
  for (const watcher of all) {
    await watcher.phase("watching");
    await watcher.picture.isShown();
    await watcher.picture.watch();
  }
  await watchers(player, 2);
  const before = await player.picture.reading("a reading", () => true);
  const { transport } = await rig.stack.edgeSession(id);

  // What a page of ours would send if it were the player's, and what another program might.
  const key = [1, 1, 1, 0, 0, 0, ...Array<number>(8).fill(0), 30, 0, 1];
  for (const { page } of all) {
    await page.keyboard.press("KeyB");
    await page.mouse.click(640, 360);
    await page.evaluate((bytes) => {
      for (const channel of nearlightProbe.channels.values()) {
        if (channel.readyState === "open") channel.send(new Uint8Array(bytes));
      }
    }, key);
  }
  await player.page.keyboard.press("KeyA");
  const after = await player.picture.reading("the player's own press", ({ inputs }) => inputs !== before.inputs);
  assert.equal(after.inputs, (before.inputs + 1) % 256, "the player's press and no other");
  assert.equal(after.code, 30, "KeyA");
  for (const { picture } of all) await picture.reading("what the player pressed", ({ inputs }) => inputs === after.inputs);
  assert.equal((await rig.stack.edgeSession(id)).transport?.attachments, transport?.attachments, "the player was never sent away");

  await all[0]?.close();
  await watchers(player, 1);
  await all[1]?.close();
  await watchers(player, 0);
});

rig.test("only the owner makes links, and a link opens nothing but the picture", async () => {
  const [player, stranger] = [await rig.player(), await rig.player()];
  const { id } = await player.play({ app: "calibrate" });
  const refused = await stranger.api("POST", `/v1/sessions/${id}/watch-links`, { expires_s: 600 });
  assert.equal(refused.status, 404);
  const { url } = await link(player, id);
  const token = url.slice(url.lastIndexOf("/") + 1);
  for (const [method, path] of [["GET", `/v1/sessions/${id}`], ["POST", `/v1/sessions/${id}/tickets`], ["DELETE", `/v1/sessions/${id}`]] as const) {
    const answer = await fetch(rig.stack.base + path, { method, headers: { authorization: `Bearer ${token}` } });
    assert.equal(answer.status, 401, `${method} ${path}`);
  }

  // Whoever blocks all sites' data sees what needs no identity, and is told why the rest does not work.
  const { context, close } = await launchBlockingChromium(rig.stack.base);
  try {
    const page = await context.newPage();
    await page.goto(url);
    await until("the picture without any site data", () => page.evaluate(() => document.documentElement.dataset["phase"] === "watching"), { within_ms: 60_000 });
    assert.equal(
      await page.evaluate(() => {
        try {
          return sessionStorage.length;
        } catch (cause) {
          return cause instanceof DOMException ? cause.name : "";
        }
      }),
      "SecurityError",
    );
    await page.addInitScript(() => Reflect.deleteProperty(globalThis, "RTCPeerConnection"));
    await page.reload();
    await until("words for a browser without WebRTC", () => page.evaluate(() => /WebRTC is switched off/.test(document.body.innerText)));
    await page.goto("/");
    const problem = page.locator('[data-problem="unauthenticated"]');
    await problem.waitFor();
    assert.match(await problem.innerText(), /cookies/);
  } finally {
    await close();
  }
});
