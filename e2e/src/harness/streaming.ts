/** What a stream does on a bad path, in states and counters: of the browser, the node and the path. */

import assert from "node:assert/strict";
import type { Notice } from "../../../client-web/src/wire/types.js";
import { assertNeverBackwards } from "./picture.js";
import type { Player } from "./player.js";
import type { Rig } from "./rig.js";
import { until } from "./until.js";

export type StreamState = Extract<Notice, { notice: "stream" }>["stream"];

/** Waits until the node says of a player's stream what is `wanted`. */
export function streamState(player: Player, wanted: (state: StreamState) => boolean, what: string): Promise<StreamState> {
  const newest = async (): Promise<StreamState | undefined> => {
    const notices = await player.picture.notices();
    return notices.flatMap((notice) => (notice.notice === "stream" ? [notice.stream] : [])).at(-1);
  };
  return until(
    what,
    async () => {
      const state = await newest();
      return state !== undefined && wanted(state) && state;
    },
    { within_ms: 90_000, every_ms: 250, instead: newest },
  );
}

/** Waits until the overlay, which is open, says of a player's stream what is `wanted`. */
export function diagnosed(player: Player, what: string, wanted: (said: { grade: string | null; fault: string | null }) => boolean): Promise<unknown> {
  const verdict = player.page.locator("[data-testid=stats] [data-testid=diagnosis]");
  const said = async (): Promise<{ grade: string | null; fault: string | null }> => ({
    grade: await verdict.getAttribute("data-grade"),
    fault: await verdict.getAttribute("data-fault"),
  });
  return until(what, async () => wanted(await said()), { within_ms: 90_000, every_ms: 250, instead: said });
}

/** A player's stream, from one look to the next. */
export class Streaming {
  private constructor(
    private readonly rig: Rig,
    readonly player: Player,
    readonly session: string,
  ) {}

  /** A player in front of `app`, whose barcode is read in every frame. */
  static async of(rig: Rig, app: string): Promise<Streaming> {
    const player = await rig.player();
    const { id } = await player.play({ app });
    await player.picture.watch();
    const streaming = new Streaming(rig, player, id);
    await streaming.goesOn(60);
    return streaming;
  }

  /** Waits until the app has committed `commits` more pictures and the newest of them is shown. */
  async goesOn(commits: number, what = "the picture to go on"): Promise<void> {
    const { counter: from } = await this.player.picture.reading("a reading", () => true, { within_ms: 60_000 });
    await this.player.picture.reading(what, ({ counter }) => counter >= from + commits, { within_ms: 90_000 });
  }

  /** Waits until the node says of the stream what is `wanted`. */
  reaches(what: string, wanted: (state: StreamState) => boolean): Promise<StreamState> {
    return streamState(this.player, wanted, what);
  }

  /** A counter of the browser's. */
  async counted(kind: "video" | "audio", name: string): Promise<number> {
    return Number((await this.player.picture.inbound(kind))[name] ?? 0);
  }

  /** Waits until a counter of the browser's has grown by `least`. */
  async grows(kind: "video" | "audio", name: string, least: number): Promise<void> {
    const from = await this.counted(kind, name);
    await until(`${least} more ${kind} ${name}`, async () => (await this.counted(kind, name)) >= from + least, {
      within_ms: 60_000,
      instead: () => this.counted(kind, name),
    });
  }

  /** What holds on every path: nothing old is shown, and the player was never sent away. */
  async heldTogether(): Promise<void> {
    assertNeverBackwards((await this.player.picture.readings()).readings);
    const { transport } = await this.rig.stack.edgeSession(this.session);
    assert.equal(transport?.attachments, 1, "one attachment, never lost");
    const { state } = await this.player.session(this.session);
    assert.equal(state.phase, "playing");
  }
}
