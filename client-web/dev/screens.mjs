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
    await page.screenshot({ path: `${out}/failed.png` });
  } finally {
    await context.close();
  }
}
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
