/** What a page shows and plays, whatever browser it is in. */

import { BARCODE, decode, decodeAll, type Reading } from "./calibrate.js";
import type { FrameMark, Grid, Loudness, Pong, SeenFrame } from "./seen.js";
import type { Notice } from "../../../client-web/src/wire/types.js";
import { until, type Patience } from "./until.js";

/** The one thing that both browser drivers can do: run a function in the page. */
export interface Page {
  evaluate<T, A>(body: (argument: A) => T | Promise<T>, argument: A): Promise<T>;
}

export class Picture {
  constructor(private readonly page: Page) {}

  /** Waits until the video element presents frames. */
  async isShown(patience: Patience = {}): Promise<void> {
    await until(
      "a picture in the video element",
      () =>
        this.page.evaluate(() => {
          const video = document.querySelector("video");
          return video !== null && video.videoWidth > 0 && video.readyState >= video.HAVE_CURRENT_DATA && video.currentTime > 0;
        }, undefined),
      { within_ms: 60_000, ...patience },
    );
  }

  /** Reads calibrate's barcode in every frame from now on. */
  async watch(grid: Grid = BARCODE): Promise<void> {
    await this.page.evaluate((where) => nearlightProbe.watch(where), grid);
    await this.reading("a readable barcode", () => true);
  }

  /** Every frame since `watch`. */
  frames(): Promise<SeenFrame[]> {
    return this.page.evaluate(() => nearlightProbe.frames, undefined);
  }

  async readings(): Promise<{ readings: Reading[]; unreadable: number }> {
    return decodeAll(await this.frames());
  }

  /** The newest readable frame's reading. */
  async latest(): Promise<Reading | undefined> {
    const frames = await this.page.evaluate(() => nearlightProbe.frames.slice(-8), undefined);
    return frames.map((frame) => decode(frame.rows)).findLast((reading) => reading !== undefined);
  }

  /** Waits for a frame whose reading satisfies `wanted`. */
  async reading(what: string, wanted: (reading: Reading) => boolean, patience: Patience = {}): Promise<Reading> {
    return until(
      what,
      async () => {
        const reading = await this.latest();
        return reading && wanted(reading) && reading;
      },
      { within_ms: 20_000, every_ms: 20, instead: () => this.latest(), ...patience },
    );
  }

  thumbnail(columns = 64, rows = 36): Promise<number[]> {
    return this.page.evaluate(([c, r]) => nearlightProbe.thumbnail(c, r), [columns, rows] as const);
  }

  /** Waits until the picture differs from `from` by at least `least` (mean luma per point). */
  async differsFrom(from: number[], least: number, what: string, patience: Patience = {}): Promise<number[]> {
    let difference = 0;
    return until(
      what,
      async () => {
        const now = await this.thumbnail();
        difference = meanDifference(from, now);
        return difference >= least && now;
      },
      { instead: () => ({ difference, least }), ...patience },
    );
  }

  marks(): Promise<FrameMark[]> {
    return this.page.evaluate(() => nearlightProbe.marks, undefined);
  }

  pongs(): Promise<Pong[]> {
    return this.page.evaluate(() => nearlightProbe.pongs, undefined);
  }

  notices(): Promise<Notice[]> {
    return this.page.evaluate(() => nearlightProbe.notices, undefined);
  }

  /** Begins to listen; call it after a click in the page, or the browser keeps its sound off. */
  async listen(): Promise<void> {
    const state = await this.page.evaluate(() => nearlightProbe.listen(), undefined);
    if (state !== "running") throw new Error(`the page's audio context is ${state}`);
    await this.loudness();
  }

  /** How loud it was since the last call. */
  loudness(): Promise<Loudness> {
    return this.page.evaluate(() => nearlightProbe.loudness(), undefined);
  }

  /** Waits until a sample of at least `peak` is heard. */
  async isLoud(peak: number, what: string, patience: Patience = {}): Promise<void> {
    let loudest = 0;
    await until(
      what,
      async () => {
        loudest = Math.max(loudest, (await this.loudness()).peak);
        return loudest >= peak;
      },
      { instead: () => ({ loudest }), ...patience },
    );
  }

  /** Statistics of the received video, as the browser counts them. */
  async inbound(kind: "video" | "audio"): Promise<Record<string, number | string>> {
    return this.page.evaluate(async (wanted) => {
      // A line check has a connection, too, and receives nothing.
      const peer = nearlightProbe.peers.findLast((one) => one.getReceivers().length > 0);
      if (!peer) throw new Error("the page has no peer connection that receives");
      const found: Record<string, number | string> = {};
      const report = await peer.getStats();
      report.forEach((entry: Record<string, unknown>) => {
        if (entry["type"] !== "inbound-rtp" || entry["kind"] !== wanted) return;
        for (const [name, value] of Object.entries(entry)) {
          if (typeof value === "number" || typeof value === "string") found[name] = value;
        }
        const codec = report.get(String(entry["codecId"])) as { mimeType?: string } | undefined;
        if (codec?.mimeType) found["mimeType"] = codec.mimeType;
      });
      return found;
    }, kind);
  }
}

export function meanDifference(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, value, i) => sum + Math.abs(value - (b[i] ?? 0)), 0) / a.length;
}

/** That each counter is at least the one before; answers how far they went in all. */
export function assertNeverBackwards(readings: readonly Reading[]): number {
  for (let i = 1; i < readings.length; i++) {
    const [before, now] = [readings[i - 1]?.counter ?? 0, readings[i]?.counter ?? 0];
    if (now < before) throw new Error(`the counter went backwards from ${before} to ${now} at frame ${i}`);
  }
  return (readings.at(-1)?.counter ?? 0) - (readings[0]?.counter ?? 0);
}
