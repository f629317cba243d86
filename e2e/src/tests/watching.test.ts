/** Watch links, the line check and the display that follows the window, in a real browser against a real node. */

import assert from "node:assert/strict";
import type { Page } from "playwright-core";
import type { Player } from "../harness/player.js";
import { Rig } from "../harness/rig.js";
import { until } from "../harness/until.js";

const rig = Rig.forThisFile({ name: "watching" });

const phaseOf = (page: Page): Promise<string> =>
  page.evaluate(() => [document.documentElement.dataset["phase"], document.documentElement.dataset["reason"]].join(" "));

const reaches = (page: Page, wanted: string): Promise<true> =>
  until(`the page to be ${wanted}`, async () => (await phaseOf(page)).startsWith(wanted) || undefined, { within_ms: 60_000, instead: () => phaseOf(page) });

const decoded = (page: Page): Promise<number> =>
  page.evaluate(() => {
    const text = document.getElementById("nearlight-stats")?.textContent;
    return text ? (JSON.parse(text) as { stream: { frames_decoded: number } }).stream.frames_decoded : 0;
  });

const click = (page: Page, action: string): Promise<void> =>
  page.evaluate((name) => document.querySelector<HTMLButtonElement>(`[data-action="${name}"]`)?.click(), action);

const inputs = async (player: Player): Promise<number> => (await player.picture.reading("a reading", () => true)).inputs;

rig.test("others watch on a link, and can do nothing else, until it is revoked", async () => {
  const player = await rig.player();
  await player.play({ app: "calibrate" });
  await player.picture.watch();
  // In full screen, where what is not within the player's element is not painted.
  await player.page.keyboard.press("F11");
  await player.page.waitForFunction(() => document.fullscreenElement !== null);
  await click(player.page, "share");
  await player.page.click('[data-action="make-link"]');
  await player.page.waitForSelector("[data-watch-link]");
  await until("the toast to be on the screen", () => player.page.evaluate(() => {
    const { x, y, width, height } = document.querySelector(".toast")?.getBoundingClientRect() ?? new DOMRect();
    return document.elementFromPoint(x + width / 2, y + height / 2)?.closest(".toast") !== null;
  }));
  await player.page.evaluate(() => document.exitFullscreen());
  const address = await player.page.evaluate(() => navigator.clipboard.readText());
  assert.match(address, /\/watch\/[A-Za-z0-9_-]{20,}$/);

  const context = await (await rig.browser()).newContext({ viewport: { width: 1000, height: 600 } });
  try {
    const page = await context.newPage();
    await page.goto(address);
    await reaches(page, "watching");
    assert.deepEqual(await context.cookies(), [], "a watcher is nobody's guest");
    await player.page.waitForFunction(() => document.querySelector('[data-action="share"] .badge')?.textContent === "1");

    const before = await inputs(player);
    await page.mouse.click(500, 300);
    await page.keyboard.press("KeyW");
    await player.page.keyboard.press("Escape");
    await player.page.keyboard.press("KeyA");
    await player.picture.reading("the player's own key", ({ inputs: n, code }) => n === before + 1 && code === 30);
    const start = await decoded(page);
    await player.page.keyboard.press("KeyA");
    await until("the watcher to see it go on", async () => (await decoded(page)) > start || undefined);

    await click(player.page, "share");
    await player.page.click('[data-action="revoke-link"]');
    await reaches(page, "ended link-ended");
    await page.reload();
    await reaches(page, "ended link-ended");
  } finally {
    await context.close();
  }
});

rig.test("the display follows the window, without another attachment", async () => {
  const player = await rig.player();
  await player.play({ app: "calibrate" });
  const attachment = await player.page.getAttribute("html", "data-attachment");
  const size = (): Promise<number[]> =>
    player.page.evaluate(() => {
      const video = document.querySelector<HTMLVideoElement>("#stage-video");
      return [video?.videoWidth ?? 0, video?.videoHeight ?? 0];
    });
  for (const [width, height] of [[1000, 700], [1280, 720]] as const) {
    await player.page.setViewportSize({ width, height });
    await until(`a picture of ${width} x ${height}`, async () => String(await size()) === String([width, height]) || undefined, { instead: size });
  }
  assert.equal(await player.page.getAttribute("html", "data-attachment"), attachment);
});

rig.test("the first visit checks the line", async () => {
  const { page } = await rig.player();
  await page.waitForSelector('[data-line]:not([data-line="checking"])');
  const kept = await page.evaluate(() => localStorage.getItem("nearlight.line-checks") ?? "");
  const [[, check]] = JSON.parse(kept) as [string, { figures: { trips: object | null; kbps: number | null } }][] as [[string, { figures: { trips: object | null; kbps: number | null } }]];
  assert.ok(check.figures.trips, "round trips were measured");
  assert.ok((check.figures.kbps ?? 0) > 1_000, `a loopback carries ${check.figures.kbps} kbit/s`);
});
