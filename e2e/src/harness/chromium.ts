/** Headless Chromium of the system, driven by playwright-core, with the flags of a player's browser. */

import { chromium, type Browser, type BrowserContext, type LaunchOptions } from "playwright-core";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

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

/** A browser whose owner blocks all sites' data: no cookie, no storage, no locks. Its profile goes with `close`. */
export async function launchBlockingChromium(baseURL: string): Promise<{ context: BrowserContext; close: () => Promise<void> }> {
  const profile = mkdtempSync(join(tmpdir(), "nearlight-e2e-profile-"));
  mkdirSync(join(profile, "Default"));
  const blocked = { profile: { default_content_setting_values: { cookies: 2 } } };
  writeFileSync(join(profile, "Default/Preferences"), JSON.stringify(blocked));
  const context = await chromium.launchPersistentContext(profile, { ...OPTIONS, baseURL });
  const close = async (): Promise<void> => {
    await context.close();
    rmSync(profile, { recursive: true, force: true });
  };
  return { context, close };
}
