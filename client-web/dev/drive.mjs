// Drives the built client in Chromium under the strictest content security policy, against a mock
// broker and an edge made of a browser page: `npm run drive`. What it asserts are the devices and
// the phases; the real node has its own tests in e2e/.
import assert from "node:assert/strict";
import { chromium } from "playwright-core";
import { preview } from "vite";
import { edge } from "./edge.mjs";

const CSP = "default-src 'self'; img-src 'self' data:; media-src 'self' blob:; frame-ancestors 'none'";
const server = await preview({ mode: "mock", preview: { port: 0 }, logLevel: "error" });
const base = server.resolvedUrls?.local[0] ?? "";
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-features=WebRtcHideLocalIpsWithMdns"],
});
const context = await browser.newContext({ baseURL: base, hasTouch: true, viewport: { width: 1280, height: 720 }, permissions: ["clipboard-read", "clipboard-write"] });
const page = await context.newPage();
const faults = [];
page.on("pageerror", (error) => faults.push(error.message));
page.on("console", (line) => /Content Security Policy|Uncaught/.test(line.text()) && faults.push(line.text()));
const host = await edge(context, page, base);
await context.route((url) => url.pathname === "/" || url.pathname.startsWith("/play/") || url.pathname.startsWith("/watch/"), async (route) => {
  const response = await route.fetch();
  await route.fulfill({ response, headers: { ...response.headers(), "content-security-policy": CSP, "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" } });
});

const phase = (name) => page.waitForSelector(`html[data-phase="${name}"]`, { timeout: 15_000 });
/** What the edge saw once `enough` of it came. */
async function saw(enough) {
  const until = Date.now() + 5_000;
  for (;;) {
    const seen = await host.seen();
    if (enough(seen)) return host.take();
    if (Date.now() > until) assert.fail(`the edge saw only ${JSON.stringify(seen)}`);
    await page.waitForTimeout(20);
  }
}
const step = async (name, run) => {
  await run();
  console.log("ok", name);
};

await step("the first visit checks the line, and the second knows it", async () => {
  await page.goto("/");
  await page.waitForSelector('[data-line="checking"]');
  await page.waitForSelector('[data-line]:not([data-line="checking"])');
  await page.reload();
  await page.waitForSelector('[data-node] .line-word');
  assert.equal(await page.locator("[data-line]").count(), 0);
});
await step("a check can be asked for, and skipped", async () => {
  await page.locator('[data-node] [data-action="check-line"]').first().click();
  await page.click('[data-action="skip-check"]');
  await page.waitForSelector("[data-line]", { state: "detached" });
});
await step("play from the lobby", async () => {
  await page.getByRole("button", { name: /freedoom/i }).first().click();
  await phase("playing");
  const first = await saw((seen) => seen.layout === 1 && seen.display > 0 && seen.wish > 0);
  assert.deepEqual([first.screen, first.wished], [[1280, 720, 60], [0, 0, 0]]);
});
await step("the screen and the wishes are told, and told again when they change", async () => {
  await page.setViewportSize({ width: 1000, height: 600 });
  assert.deepEqual((await saw((seen) => seen.display > 0)).screen, [1000, 600, 60]);
  await page.setViewportSize({ width: 1280, height: 720 });
  await saw((seen) => seen.display > 0);
  await page.keyboard.press("Control+Alt+KeyM");
  await page.click('[data-action="settings"]');
  await page.selectOption('[data-field="bitrate"]', "8000");
  assert.deepEqual((await saw((seen) => seen.wish > 0)).wished, [8000, 0, 0]);
  await page.click('[data-field="data-saver"]');
  assert.deepEqual((await saw((seen) => seen.wish > 0)).wished, [3000, 720, 60]);
  await page.click('[data-field="data-saver"]');
  await page.selectOption('[data-field="bitrate"]', "");
  await saw((seen) => seen.wish > 1);
});
await step("another video format is another attachment", async () => {
  const before = await page.getAttribute("html", "data-attachment");
  await page.selectOption('[data-field="codec"]', "VP9");
  await page.waitForFunction((old) => document.documentElement.dataset.phase === "playing" && document.documentElement.dataset.attachment !== old, before);
  await page.waitForFunction(() => JSON.parse(document.getElementById("nearlight-stats")?.textContent ?? "{}").stream?.codec === "VP9");
  await page.selectOption('[data-field="codec"]', "");
  await page.waitForFunction(() => JSON.parse(document.getElementById("nearlight-stats")?.textContent ?? "{}").stream?.codec === "H264");
  await page.keyboard.press("Escape");
  await host.take();
});
await step("keys, without a click first, each up as often as down", async () => {
  await page.keyboard.press("KeyW");
  await page.keyboard.press("Escape");
  assert.deepEqual((await saw((seen) => seen.key === 4)).keys, ["+17", "-17", "+1", "-1"]);
});
await step("pointer, buttons and wheel", async () => {
  await page.mouse.move(640, 360);
  await page.mouse.down();
  await page.mouse.down({ button: "right" });
  await page.mouse.up();
  await page.mouse.up({ button: "right" });
  await page.mouse.wheel(0, 120);
  assert.deepEqual((await saw((seen) => seen.button === 4 && seen.wheel === 1 && seen.absolute > 0)).buttons, ["+0", "+2", "-0", "-2"]);
});
await step("a finger is the left button, once", async () => {
  await page.touchscreen.tap(300, 300);
  await page.keyboard.press("KeyA");
  assert.deepEqual((await saw((seen) => seen.key === 2)).buttons, ["+0", "-0"]);
});
await step("focus that leaves lets everything go", async () => {
  await page.keyboard.down("KeyW");
  await page.evaluate(() => window.dispatchEvent(new Event("blur")));
  await page.keyboard.up("KeyW");
  const seen = await saw((one) => one.release > 0);
  assert.deepEqual(seen.keys, ["+17"]);
});
await step("Ctrl+V sends the text, then the key", async () => {
  await page.evaluate(() => navigator.clipboard.writeText("hello"));
  await page.keyboard.press("Control+KeyV");
  const seen = await saw((one) => one.key === 4);
  assert.equal(seen.text, "hello");
  assert.deepEqual(seen.keys, ["+29", "+47", "-47", "-29"]);
});
await step("the app's clipboard reaches the player's", async () => {
  await host.notice({ notice: "clipboard", text: "from the app" });
  await page.waitForFunction(async () => (await navigator.clipboard.readText()) === "from the app");
});
await step("the app's cursor", async () => {
  const png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==";
  await host.notice({ notice: "cursor", cursor: { kind: "image", png, hotspot_x: 0, hotspot_y: 0 } });
  await page.waitForFunction(() => getComputedStyle(document.querySelector(".surface")).cursor.includes("data:image/png"));
  await host.notice({ notice: "cursor", cursor: { kind: "named", name: "text" } });
  await page.waitForFunction(() => getComputedStyle(document.querySelector(".surface")).cursor === "text");
});
await step("composed text through the text field", async () => {
  await page.mouse.move(640, 4);
  await page.click('[data-action="type"]');
  await host.take();
  await page.keyboard.insertText("né漢🎮");
  assert.equal((await saw((seen) => seen.typed !== undefined)).typed, "né漢🎮");
  await page.mouse.click(640, 360);
});
await step("relative motion while the pointer is locked, and the pointer back afterwards", async () => {
  await host.notice({ notice: "pointer-lock", wanted: true });
  await page.mouse.click(640, 360);
  await page.waitForFunction(() => document.pointerLockElement !== null);
  await host.take();
  await page.mouse.move(700, 360, { steps: 6 });
  assert.ok((await saw((seen) => seen.relative > 0 && seen.dx >= 50)).dx <= 70);
  await host.notice({ notice: "pointer-lock", wanted: false });
  await page.waitForFunction(() => document.pointerLockElement === null);
});
await step("statistics, as JSON and as an overlay", async () => {
  await page.keyboard.press("Control+Alt+KeyS");
  await page.waitForSelector('[data-stage="network"]');
  await page.waitForFunction(() => {
    const { stream, latency } = JSON.parse(document.getElementById("nearlight-stats").textContent);
    return stream.frames_decoded > 0 && stream.codec !== null && latency.frame_ms !== null && latency.input_to_picture_ms !== null && stream.audio_energy > 0;
  });
});
await step("a watch link: made, watched with no input and no identity, counted, revoked", async () => {
  await page.keyboard.press("Control+Alt+KeyM");
  await page.click('[data-action="share"]');
  await page.click('[data-action="make-link"]');
  await page.waitForSelector("[data-watch-link]");
  const address = await page.evaluate(() => navigator.clipboard.readText());
  assert.equal(address, `${base}watch/live`);
  const guest = await context.newPage();
  const asked = [];
  guest.on("request", (request) => request.url().includes("/v1/") && asked.push(new URL(request.url()).pathname));
  await guest.goto(address);
  await guest.waitForSelector('html[data-phase="watching"]');
  await guest.mouse.click(640, 360);
  await guest.keyboard.press("KeyW");
  await guest.waitForFunction(() => JSON.parse(document.getElementById("nearlight-stats")?.textContent ?? "{}").stream?.frames_decoded > 30);
  assert.deepEqual(asked.filter((path) => !path.startsWith("/v1/watch/live")), []);
  const told = Object.keys(await host.seen()).filter((kind) => kind.startsWith("watcher") && kind !== "watcher ping");
  assert.deepEqual(told, []);
  await page.bringToFront();
  await host.notice({ notice: "watchers", count: 2 });
  await page.waitForFunction(() => document.querySelector('[data-action="share"] .badge')?.textContent === "2");
  await page.click('[data-action="revoke-link"]');
  await page.waitForSelector("[data-watch-link]", { state: "detached" });
  await host.watcherNotice({ notice: "detached", reason: "link-revoked" });
  await guest.waitForSelector('html[data-phase="ended"][data-reason="link-ended"]');
  await guest.goto(`${base}watch/wrong`);
  await guest.waitForSelector('html[data-phase="ended"][data-reason="not-found"]');
  await guest.close();
  await page.keyboard.press("Escape");
});
await step("a lost node: reconnecting, then playing again", async () => {
  const before = await page.getAttribute("html", "data-attachment");
  await host.drop();
  await phase("reconnecting");
  host.back();
  await phase("playing");
  assert.notEqual(await page.getAttribute("html", "data-attachment"), before);
});
await step("a reload gives its own attachment up and plays again", async () => {
  await page.reload();
  await phase("playing");
  await page.keyboard.press("KeyB");
  await saw((seen) => seen.keys?.includes("+48"));
});
await step("taken over, taken back, ended", async () => {
  await host.notice({ notice: "detached", reason: "taken-over" });
  await phase("detached");
  await page.getByRole("button", { name: /take over/i }).click();
  await phase("playing");
  await host.notice({ notice: "ended", reason: "app-crashed" });
  await phase("ended");
  assert.equal(await page.getAttribute("html", "data-reason"), "app-crashed");
  await page.getByRole("button", { name: /^play again/i }).waitFor();
});
assert.deepEqual(faults, [], "no errors, nothing refused by the policy");
await browser.close();
await server.close();
