/**
 * A test file's rig: one Nearlight and one Chromium for all its tests. A test that fails leaves a
 * screenshot of each page, the node's view of its sessions, and the end of the log.
 */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Browser } from "playwright-core";
import { launchChromium } from "./chromium.js";
import { Player } from "./player.js";
import { ARTEFACTS, Stack, type StackOptions } from "./stack.js";
import { until } from "./until.js";

export class Rig {
  private running: Stack | undefined;
  private chromium: Browser | undefined;
  private players: Player[] = [];
  private elsewhere: Browser[] = [];

  private constructor(readonly options: StackOptions) {}

  /** Registers the hooks that bring the rig up before a file's tests and down after them. */
  static forThisFile(options: StackOptions): Rig {
    const rig = new Rig(options);
    before(async () => {
      rig.running = await Stack.up(options);
    });
    after(async () => {
      await rig.chromium?.close();
      await rig.running?.down();
    });
    return rig;
  }

  get stack(): Stack {
    if (!this.running) throw new Error("the stack is not up");
    return this.running;
  }

  async browser(): Promise<Browser> {
    this.chromium ??= await launchChromium();
    return this.chromium;
  }

  /** A new player, who leaves when the test is over; at `base` if the way to the broker is another one. */
  async player(base?: string): Promise<Player> {
    return this.playerIn(await this.browser(), base);
  }

  /** A new player at a machine of their own: another browser process, with another clipboard. */
  async playerElsewhere(): Promise<Player> {
    const browser = await launchChromium();
    this.elsewhere.push(browser);
    return this.playerIn(browser);
  }

  private async playerIn(browser: Browser, base?: string): Promise<Player> {
    const player = await Player.arrive(this.stack, browser, base);
    this.players.push(player);
    return player;
  }

  /** A test of this rig. Whatever it started is ended after it, and must be gone. */
  test(name: string, body: () => Promise<void>, within_ms = 180_000): void {
    test(name, { timeout: within_ms }, async () => {
      let failed: unknown;
      try {
        await body();
      } catch (error) {
        failed = error;
        await this.leaveEvidence(name);
      }
      for (const player of this.players.splice(0)) await player.close();
      for (const browser of this.elsewhere.splice(0)) await browser.close();
      // What is left of a test that broke off says less than why it did.
      await this.endEverything().catch((left: unknown) => {
        failed ??= left;
      });
      if (failed !== undefined) throw failed;
    });
  }

  /**
   * Ends every session that the broker or the node still has, and waits until nothing of them is left. Both are asked
   * anew each time: one that was created a moment ago comes to the node later than the first look.
   */
  async endEverything(): Promise<void> {
    const { stack } = this;
    const asked = new Set<string>();
    await until(
      "no session to be left",
      async () => {
        const left = await stack.liveSessions();
        for (const id of left) if (!asked.has(id)) await stack.operator.end(id);
        for (const id of left) asked.add(id);
        return left.length === 0;
      },
      { within_ms: 30_000, instead: async () => ({ left: await stack.liveSessions(), node: await stack.edgeSessions() }) },
    );
    await until("nothing of the sessions to be left", () => stack.leftovers().length === 0, {
      within_ms: 15_000,
      instead: () => stack.leftovers(),
    });
  }

  private async leaveEvidence(name: string): Promise<void> {
    const stem = name.toLowerCase().replace(/[^a-z0-9]+/g, "-").slice(0, 60);
    mkdirSync(ARTEFACTS, { recursive: true });
    for (const [i, { page }] of this.players.entries()) {
      const path = join(ARTEFACTS, `failed-${stem}-${i}.png`);
      await page.screenshot({ path, timeout: 10_000 }).catch(() => undefined);
      console.error(`screenshot: ${path} of ${page.url()}`);
    }
    const sessions = await this.stack.edgeSessions().catch((error: unknown) => String(error));
    writeFileSync(join(ARTEFACTS, `failed-${stem}-sessions.json`), JSON.stringify(sessions, null, 2));
    console.error(this.stack.logTail());
  }
}
