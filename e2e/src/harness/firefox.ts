/** Stock Firefox, driven by puppeteer-core over WebDriver BiDi. */

import puppeteer, { type Browser, type Page } from "puppeteer-core";
import { Picture } from "./picture.js";
import { installProbe } from "./probe.js";

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
