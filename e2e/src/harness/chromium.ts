/** Headless Chromium of the system, driven by playwright-core, with the flags of a player's browser. */

import { chromium, type Browser, type LaunchOptions } from "playwright-core";

const OPTIONS: LaunchOptions = {
  executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
  headless: true,
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
};

/** A browser of its own, with a fresh profile that goes with it. Sound needs a gesture, as on a player's machine. */
export function launchChromium(): Promise<Browser> {
  return chromium.launch(OPTIONS);
}

/** A browser that can be killed without a farewell. */
export async function launchMortalChromium(): Promise<{ browser: Browser; kill: () => Promise<void> }> {
  const server = await chromium.launchServer(OPTIONS);
  const browser = await chromium.connect(server.wsEndpoint());
  return { browser, kill: () => server.kill() };
}
