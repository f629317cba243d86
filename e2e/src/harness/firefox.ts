/** Stock Firefox, driven by puppeteer-core over WebDriver BiDi. */

import puppeteer, { type Browser, type Page } from "puppeteer-core";
import type { Session } from "../../../client-web/src/wire/types.js";
import { Picture } from "./picture.js";
import { installProbe } from "./probe.js";
import type { Stack } from "./stack.js";
import { until } from "./until.js";

export interface FirefoxPlayer {
  browser: Browser;
  page: Page;
  picture: Picture;
}

export async function launchFirefox(): Promise<FirefoxPlayer> {
  const browser = await puppeteer.launch({
    browser: "firefox",
    protocol: "webDriverBiDi",
    executablePath: process.env["FIREFOX"] ?? "/usr/bin/firefox-esr",
    headless: true,
    extraPrefsFirefox: {
      // A test machine has neither a network to reach nor anybody to ask.
      "app.update.enabled": false,
      "media.gmp-manager.updateEnabled": false,
      "datareporting.policy.dataSubmissionEnabled": false,
    },
  });
  const page = await browser.newPage();
  await page.setViewport({ width: 1280, height: 720 });
  await page.evaluateOnNewDocument(installProbe);
  const picture = new Picture({ evaluate: (body, argument) => page.evaluate(body as never, argument as never) });
  return { browser, page, picture };
}

/** Waits until the page plays, and reads the picture's barcode from then on. */
export async function enter({ page, picture }: FirefoxPlayer): Promise<void> {
  await until("the page to be playing", () => page.evaluate(() => document.documentElement.dataset["phase"] === "playing"), {
    within_ms: 90_000,
    instead: () => page.evaluate(() => ({ ...document.documentElement.dataset })),
  });
  await picture.isShown();
  await picture.watch();
}

/** A session of a guest of this browser, in front of it. */
export async function play(stack: Stack, player: FirefoxPlayer, app: string): Promise<string> {
  const { page } = player;
  await page.goto(stack.base);
  // The lobby makes this browser a guest; a second whoami beside its own would make it another one.
  await until("the lobby to have made a guest", () => page.evaluate(async () => (await fetch("/v1/sessions")).ok));
  const session = await page.evaluate(async (app) => {
    const answer = await fetch("/v1/sessions", {
      method: "POST",
      headers: { "content-type": "application/json", "idempotency-key": crypto.randomUUID() },
      body: JSON.stringify({ app }),
    });
    return (await answer.json()) as Session;
  }, app);
  stack.remember(session.id);
  await page.goto(stack.base + session.play_path);
  await enter(player);
  return session.id;
}
