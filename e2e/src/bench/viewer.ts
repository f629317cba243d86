/**
 * Who watches during a measurement: client-web itself in Chromium, for a player's marks, pings and
 * input are what is measured. Nothing reads the picture meanwhile; that would cost a core.
 */

import type { Browser } from "playwright-core";
import type { Session } from "../../../client-web/src/wire/types.js";
import type { FrameMark } from "../harness/seen.js";
import { Player } from "../harness/player.js";
import type { Stack } from "../harness/stack.js";
import { until, window } from "../harness/until.js";

const WARM_UP_MS = 4_000;
/** Inputs come at uneven times, so that they fall on every phase of the app's frames. */
const PRESS_EVERY_MS = [83, 117, 131, 97, 149, 109, 101, 127];

export class Viewer {
  private constructor(
    readonly player: Player,
    readonly session: Session,
  ) {}

  static async of(stack: Stack, browser: Browser, app: string): Promise<Viewer> {
    const player = await Player.arrive(stack, browser);
    const session = await player.play({ app });
    return new Viewer(player, session);
  }

  /** Lets the stream settle, then forgets the marks so far. */
  async settle(): Promise<void> {
    await window(WARM_UP_MS);
    await this.player.page.evaluate(() => {
      nearlightProbe.marks.length = 0;
    });
  }

  marks(): Promise<FrameMark[]> {
    return this.player.picture.marks();
  }

  /** Presses a key `count` times at uneven intervals. */
  async press(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      await this.player.page.keyboard.press("KeyA");
      await window(PRESS_EVERY_MS[i % PRESS_EVERY_MS.length] ?? 100);
    }
  }

  /** The node's clock less the page's, microseconds: from the quickest of the page's pings. */
  async clockOffset(): Promise<number> {
    const pongs = await until("five answered pings", async () => {
      const all = await this.player.picture.pongs();
      return all.length >= 5 && all;
    });
    const best = pongs.reduce((a, b) => (b.back_us - b.client_us < a.back_us - a.client_us ? b : a));
    return best.host_us - (best.client_us + best.back_us) / 2;
  }

  async leave(): Promise<void> {
    await this.player.end(this.session.id);
    await this.player.close();
  }
}

/** Milliseconds from commit to access unit, frame by frame. */
export function commitToAu(marks: readonly FrameMark[]): number[] {
  return marks.map(({ commit_us, encoded_us }) => (encoded_us - commit_us) / 1000);
}

/** Milliseconds from access unit to the moment the kernel had its last packet. */
export function auToLastPacket(marks: readonly FrameMark[]): number[] {
  return marks.map(({ encoded_us, sent_us }) => (sent_us - encoded_us) / 1000);
}

/** Milliseconds from the browser's input event to the access unit of the first frame that answers it. */
export function inputToAu(marks: readonly FrameMark[], offset_us: number): number[] {
  const found: number[] = [];
  let newest = 0;
  for (const { input_us, encoded_us } of [...marks].sort((a, b) => a.frame - b.frame)) {
    if (input_us <= newest) continue;
    // What was pressed before the first mark is older than the measurement.
    if (newest > 0) found.push((encoded_us - (input_us + offset_us)) / 1000);
    newest = input_us;
  }
  return found;
}
