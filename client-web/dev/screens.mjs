// Looks at every page: `npm run screens [folder]`. A mock broker answers, and a second page of the
// same browser plays the edge: it streams a canvas, answers pings and sends marks and notices.
// Chromium is the system's (CHROMIUM, default /usr/bin/chromium).
import { mkdirSync } from "node:fs";
import { chromium } from "playwright-core";
import { createServer } from "vite";
import { edge } from "./edge.mjs";

const out = process.argv[2] ?? "screens";
mkdirSync(out, { recursive: true });
const server = await createServer({ mode: "mock", server: { port: 0, strictPort: false }, logLevel: "error" });
await server.listen();
const base = server.resolvedUrls?.local[0] ?? "";
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-features=WebRtcHideLocalIpsWithMdns", "--autoplay-policy=document-user-activation-required"],
});

const wide = { width: 1440, height: 900 };
const phone = { width: 390, height: 844 };

async function visit(path, viewport, then, options = {}) {
  const context = await browser.newContext({ viewport, deviceScaleFactor: viewport === phone ? 2 : 1, hasTouch: viewport === phone, baseURL: base, permissions: ["clipboard-read", "clipboard-write"], ...options });
  const page = await context.newPage();
  page.on("pageerror", (error) => console.error(path, error.message));
  page.on("console", (line) => line.type() === "error" && !/status of|ERR_/.test(line.text()) && console.error(path, line.text()));
  try {
    await then(page, context);
  } catch (error) {
    console.error(path, error.message);
    await page.screenshot({ path: `${out}/failed-${path.replaceAll("/", "")}.png` });
  } finally {
    await context.close();
  }
}
const SENDER = {
  kbps_target: 11_800, kbps_path: 14_200, rtt_ms: 14, queue_ms: 3, loss_permille: 4, width: 1280, height: 720, fps_max: 60,
  encoder: "x264enc", limited_by: "nothing", repair: "rtx",
};
const still = (page) => page.waitForTimeout(700);
const shot = async (page, name) => {
  await still(page);
  await page.screenshot({ path: `${out}/${name}.png` });
};
const phase = (page, name) => page.waitForSelector(`html[data-phase="${name}"]`, { timeout: 15_000 });

for (const [size, viewport] of [["wide", wide], ["phone", phone]]) {
  await visit("/", viewport, async (page, context) => {
    await context.addCookies([{ name: "running", value: "1", url: base }]);
    await page.goto("/");
    await page.waitForSelector("[data-app]");
    await still(page);
    await page.screenshot({ path: `${out}/lobby-${size}.png`, fullPage: true });
  });
  await visit("line check", viewport, async (page, context) => {
    const host = await edge(context, page, base);
    await page.goto("/");
    await page.waitForSelector('[data-line="checking"]');
    await shot(page, `line-checking-${size}`);
    await page.waitForSelector('[data-line]:not([data-line="checking"])');
    await shot(page, `line-checked-${size}`);
    const verdict = { grade: "poor", fault: "wifi" };
    const figures = { trips: { min_ms: 4.2, median_ms: 9, jitter_ms: 61 }, pings_sent: 56, loss_permille: 21, kbps: 18_400, train_loss_permille: 0 };
    await page.evaluate((check) => localStorage.setItem("nearlight.line-checks", JSON.stringify([["nod_1", check]])), { verdict, figures, atMs: Date.now() });
    await page.reload();
    await page.waitForSelector(".line-word");
    await page.locator("#nodes").scrollIntoViewIfNeeded();
    await shot(page, `line-poor-${size}`);
    await host.drop();
    await page.locator('[data-node] [data-action="check-line"]').first().click();
    await page.waitForSelector('[data-line="failed"]');
    await page.evaluate(() => scrollTo(0, 0));
    await shot(page, `line-failed-${size}`);
  });
  await visit("watch", viewport, async (page, context) => {
    const host = await edge(context, page, base);
    await page.goto("/watch/away");
    await shot(page, `watch-waiting-${size}`);
    await page.goto("/watch/live");
    await phase(page, "watching");
    console.log(size, "watching", await page.evaluate(() => [document.querySelector("[data-hint]")?.textContent, document.querySelector("#stage-audio").paused]));
    await shot(page, `watching-${size}`);
    await host.watcherNotice({ notice: "detached", reason: "link-revoked" });
    await phase(page, "ended");
    await shot(page, `watch-over-${size}`);
  });
  await visit("offline", viewport, async (page, context) => {
    await context.route("**/v1/**", (route) => route.abort());
    await page.goto("/");
    await shot(page, `lobby-offline-${size}`);
  });
  for (const scenario of ["queued", "pulling", "picture", "ended", "crashed", "foreign", "elsewhere", "missing"]) {
    await visit(scenario, viewport, async (page) => {
      await page.goto(`/play/ses_${scenario}`);
      await shot(page, `${scenario}-${size}`);
    });
  }
  await visit("play", viewport, async (page, context) => {
    const host = await edge(context, page, base);
    await page.goto("/");
    await page.click('[data-app="freedoom"] [data-action="play"]');
    await phase(page, "playing");
    await page.keyboard.press("KeyA");
    await page.mouse.move(300, 300);
    await page.mouse.wheel(0, 240);
    await page.mouse.click(320, 320, { button: "right" });
    await shot(page, `playing-tip-${size}`);
    await page.keyboard.press("Control+Alt+KeyS");
    await host.notice({ notice: "stream", stream: SENDER });
    await host.notice({ notice: "watchers", count: 3 });
    await page.waitForTimeout(3_000);
    await page.keyboard.press("KeyB");
    await page.evaluate(() => navigator.clipboard.writeText("pasted text"));
    await page.keyboard.press("Control+KeyV");
    await page.mouse.move(640, 4);
    await page.waitForTimeout(1_200);
    await shot(page, `playing-stats-${size}`);
    console.log(size, "the edge saw", JSON.stringify(await host.seen()));
    console.log(size, "stats", await page.locator("#nearlight-stats").textContent());
    await host.notice({ notice: "ending-soon", reason: "idle-timeout", in_s: 58 });
    if (viewport === phone) await page.tap(".handle");
    else await host.notice({ notice: "pointer-lock", wanted: true });
    await shot(page, `playing-hints-${size}`);
    await page.evaluate(() => document.querySelector('[data-action="settings"]').click());
    await shot(page, `settings-${size}`);
    await page.keyboard.press("Escape");
    await host.notice({ notice: "pointer-lock", wanted: false });
    await page.evaluate(() => document.querySelector('[data-action="share"]').click());
    await page.click('[data-action="make-link"]');
    await page.waitForSelector("[data-watch-link]");
    await shot(page, `share-${size}`);
    await page.keyboard.press("Escape");
    await host.notice({ notice: "stream", stream: { ...SENDER, queue_ms: 160, kbps_target: 900, limited_by: "capacity" } });
    await page.keyboard.press("Control+Alt+KeyS");
    await page.waitForSelector('[data-hint="fault"]');
    await shot(page, `playing-fault-${size}`);
    await host.drop();
    await phase(page, "reconnecting");
    await page.waitForTimeout(2_000);
    await shot(page, `reconnecting-${size}`);
    host.back();
    await phase(page, "playing");
    console.log(size, "reconnected");
    await host.notice({ notice: "detached", reason: "taken-over" });
    await phase(page, "detached");
    await shot(page, `taken-over-${size}`);
    await page.click('[data-action="take-over"]');
    await phase(page, "playing");
    await host.notice({ notice: "ended", reason: "app-exited" });
    await phase(page, "ended");
    await shot(page, `ended-after-play-${size}`);
  });
}
await browser.close();
await server.close();
