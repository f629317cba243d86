/**
 * One visit to a watch link's page: its runner, the picture and the sound, as signals. The only
 * place where session/ and stream/ meet for a watcher; input/ has no business here.
 *
 * Owns: runner, gauge; ends with `close`. Does not know: markup.
 */
import { signal } from "@preact/signals";
import type { Api } from "../session/api.ts";
import { WATCH_START, type WatchState } from "../session/watch.ts";
import { WatchRunner } from "../session/watch-runner.ts";
import { Gauge } from "../stream/gauge.ts";
import type { Link } from "../stream/link.ts";
import type { Watched } from "../wire/types.ts";
import { publishPhase, publishStats } from "./beacon.ts";
import { watchPhase } from "./phase.ts";
import { playSound } from "./sound.ts";
import { keepStill } from "./video.ts";

export type WatchStage = { readonly video: HTMLVideoElement; readonly frozen: HTMLCanvasElement };

export class WatchRoom {
  readonly state = signal<WatchState>(WATCH_START.state);
  readonly watched = signal<Watched | null>(null);
  readonly hadPicture = signal(false);
  readonly #runner: WatchRunner;
  readonly #over = new AbortController();
  #stage: WatchStage | null = null;
  #linked: { readonly link: Link; readonly end: AbortController } | null = null;

  constructor(token: string, api: Api) {
    this.#runner = new WatchRunner(token, api, () => this.#changed());
  }

  open(stage: WatchStage): void {
    this.#stage = stage;
    addEventListener("pagehide", () => this.close(), { signal: this.#over.signal });
    // Back from the browser's page cache: the attachment was given up as the page went.
    addEventListener("pageshow", (event) => event.persisted && location.reload());
    publishPhase("starting", "looking");
    this.#runner.start();
  }

  close(): void {
    this.#over.abort();
    this.#unlink();
    this.#runner.close();
    publishStats(null);
  }

  retry = (): void => this.#runner.dispatch({ name: "retry-asked" });

  #changed(): void {
    this.#follow(this.#runner.link);
    const state = this.#runner.state;
    if (state.name === "watching") this.hadPicture.value = true;
    this.state.value = state;
    this.watched.value = this.#runner.watched;
    publishPhase(watchPhase(state, this.hadPicture.peek()), state.name === "over" ? state.why : state.name);
  }

  /** A new attempt has a new link: shows it, hears it, measures it. */
  #follow(link: Link | null): void {
    if (link === (this.#linked?.link ?? null)) return;
    this.#unlink();
    const stage = this.#stage;
    if (!link || !stage) return;
    const end = new AbortController();
    this.#linked = { link, end };
    stage.video.srcObject = link.video;
    playSound(link.sound, end.signal);
    const shown = (): void => this.#runner.dispatch({ name: "picture-shown" });
    stage.video.addEventListener("loadeddata", shown, { signal: end.signal });
    const events = {
      measured: (measured: object) => publishStats({ at_ms: Math.round(performance.now()), attachment: null, ...measured }),
      frame: () => this.#runner.state.name === "attaching" && shown(),
      answered: () => undefined,
      // The display's clock is the player's.
      shift: () => undefined,
      shown: () => undefined,
    };
    new Gauge(link.peer, stage.video, events, end.signal);
  }

  #unlink(): void {
    if (!this.#linked) return;
    if (this.#stage) keepStill(this.#stage.video, this.#stage.frozen);
    this.#linked.end.abort();
    this.#linked = null;
  }
}
