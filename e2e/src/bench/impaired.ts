/**
 * A player on a path that the measurement chooses, with the browser's timeline and the path's own
 * samples on one clock. Each figure is of a new session.
 */

import type { Browser } from "playwright-core";
import type { Change, Conditions, PathSample } from "../harness/path.js";
import { Player } from "../harness/player.js";
import type { Stack } from "../harness/stack.js";
import { window } from "../harness/until.js";
import { pageNow, record, recorded, type Timeline } from "./timeline.js";

/** For the stream to find its rate before anything counts. */
const SETTLE_MS = 15_000;

/** A change of the path, on both clocks. */
export interface Mark {
  page_ms: number;
  path_us: number;
}

export class Impaired {
  private constructor(
    private readonly stack: Stack,
    private readonly player: Player,
    private readonly session: string,
  ) {}

  /** A player in front of `app`, on a path of these conditions and 40 ms of round trip, settled. */
  static async of(stack: Stack, browser: Browser, app: string, down: Conditions = {}, settle_ms = SETTLE_MS): Promise<Impaired> {
    await stack.path.clean();
    await stack.path.change({ down: { delay: "20ms", ...down }, up: { delay: "20ms" } });
    const player = await Player.arrive(stack, browser);
    const { id } = await player.play({ app });
    await window(settle_ms);
    await record(player);
    return new Impaired(stack, player, id);
  }

  /** Changes the path, and says when that was. */
  async change(change: Change = {}): Promise<Mark> {
    const before = await pageNow(this.player);
    const { elapsed_us } = await this.stack.path.change(change);
    const after = await pageNow(this.player);
    return { page_ms: (before + after) / 2, path_us: elapsed_us };
  }

  /** Lets the stream go on for so long. */
  goOn(ms: number): Promise<void> {
    return window(ms);
  }

  /** Ends the session, and answers what was seen of it. */
  async finish(): Promise<Seen> {
    const timeline = await recorded(this.player);
    await this.player.end(this.session);
    await this.player.close();
    return { timeline, samples: this.stack.path.samples() };
  }
}

export interface Seen {
  timeline: Timeline;
  samples: PathSample[];
}

/** Nearest-rank quantile of the waits in the path's queue over the samples that `within` takes, milliseconds. */
export function queueQuantile(samples: readonly PathSample[], quantile: number, within: (sample: PathSample) => boolean): number {
  const bins = new Map<number, number>();
  let total = 0;
  for (const { down } of samples.filter(within)) {
    for (const [ms, packets] of down.queue_bins_ms) {
      bins.set(ms, (bins.get(ms) ?? 0) + packets);
      total += packets;
    }
  }
  if (total === 0) throw new Error("no packet came past the queue");
  let seen = 0;
  for (const [ms, packets] of [...bins].sort(([a], [b]) => a - b)) {
    seen += packets;
    if (seen >= quantile * total) return ms;
  }
  throw new Error("a quantile above 1");
}
