/**
 * Drives the watch machine: the only writer of its state. Runs the effects and stamps the deadline
 * that the pure table cannot.
 *
 * Owns: state, the current link, timers. Invariants: no input ever leaves this page; no identity is
 * asked for or sent. Does not know: how anything is drawn.
 */
import type { Link } from "../stream/link.ts";
import { assertNever } from "../wire/never.ts";
import type { Watched } from "../wire/types.ts";
import type { Accepted, Api } from "./api.ts";
import { makeLink, NO_WEBRTC } from "./attach.ts";
import { handleWatch, WATCH_START, type WatchEffect, type WatchEvent, type WatchState } from "./watch.ts";

/** From the offer to the first picture: watchers share key frames, so one may take some seconds. */
const PICTURE_DEADLINE_MS = 15_000;

export class WatchRunner {
  readonly #token: string;
  readonly #api: Api;
  readonly #changed: () => void;
  readonly #over = new AbortController();
  #state: WatchState = WATCH_START.state;
  #watched: Watched | null = null;
  #link: Link | null = null;
  #location: string | null = null;
  #retry: number | undefined;
  #deadline: number | undefined;

  constructor(token: string, api: Api, changed: () => void) {
    this.#token = token;
    this.#api = api;
    this.#changed = changed;
  }

  get state(): WatchState {
    return this.#state;
  }

  /** What the link shows, as the broker last told. */
  get watched(): Watched | null {
    return this.#watched;
  }

  get link(): Link | null {
    return this.#link;
  }

  start(): void {
    addEventListener("online", () => this.dispatch({ name: "retry-asked" }), { signal: this.#over.signal });
    WATCH_START.effects.forEach((effect) => this.#run(effect));
  }

  dispatch(event: WatchEvent): void {
    if (this.#over.signal.aborted) return;
    const outcome = handleWatch(this.#state, event);
    if (!outcome.applied) return;
    this.#state = outcome.step.state;
    if (this.#state.name !== "attaching") clearTimeout(this.#deadline);
    outcome.step.effects.forEach((effect) => this.#run(effect));
    this.#changed();
  }

  /** The page goes away. */
  close(): void {
    if (this.#over.signal.aborted) return;
    this.#over.abort();
    clearTimeout(this.#retry);
    clearTimeout(this.#deadline);
    this.#drop();
  }

  #run(effect: WatchEffect): void {
    switch (effect.name) {
      case "look":
        void this.#look();
        return;
      case "attach":
        void this.#attach();
        return;
      case "drop-peer":
        this.#drop();
        return;
      case "retry-in":
        clearTimeout(this.#retry);
        this.#retry = setTimeout(() => this.dispatch({ name: "retry-due" }), effect.ms);
        return;
      case "cancel-retry":
        clearTimeout(this.#retry);
        return;
      default:
        assertNever(effect);
    }
  }

  async #look(): Promise<void> {
    const result = await this.#api.watched(this.#token);
    if (result.ok) {
      this.#watched = result.value;
      this.dispatch({ name: "looked", live: result.value.live });
    } else {
      this.dispatch({ name: "look-refused", refusal: result.refusal });
    }
  }

  async #attach(): Promise<void> {
    this.#drop();
    clearTimeout(this.#deadline);
    this.#deadline = setTimeout(() => this.dispatch({ name: "peer-lost", cause: "no-picture" }), PICTURE_DEADLINE_MS);
    let send: ((fragment: string) => void) | null = null;
    const early: string[] = [];
    const link: Link | null = makeLink({
      connected: () => undefined,
      lost: () => this.#ours(link) && this.dispatch({ name: "peer-lost", cause: "network" }),
      notice: (notice) => {
        if (!this.#ours(link)) return;
        if (notice.notice === "detached") this.dispatch({ name: "detach-noticed", reason: notice.reason });
        else if (notice.notice === "ended") this.dispatch({ name: "end-noticed" });
      },
      mark: () => undefined,
      ready: () => undefined,
      foreignVersion: () => undefined,
      candidates: (fragment) => (send ? send(fragment) : void early.push(fragment)),
    });
    if (link === null) return this.dispatch({ name: "attach-refused", refusal: NO_WEBRTC });
    this.#link = link;
    this.#changed();
    try {
      const sdp = await link.offer(null);
      await link.gather(sdp, this.#watched?.ice_servers ?? []);
      const accepted = await this.#api.watch(this.#token, sdp);
      if (!accepted.ok) {
        if (this.#ours(link)) this.dispatch({ name: "attach-refused", refusal: accepted.refusal });
        return;
      }
      if (!this.#ours(link)) return void this.#api.leave(accepted.value.location);
      await this.#accept(link, accepted.value);
      send = (fragment) => void this.#api.patch(accepted.value.location, null, accepted.value.etag, fragment);
      early.forEach(send);
    } catch (cause) {
      const detail = cause instanceof Error ? cause.message : String(cause);
      if (this.#ours(link)) this.dispatch({ name: "attach-refused", refusal: { name: "invalid-offer", detail, instance: "", retryAfterMs: null } });
    }
  }

  async #accept(link: Link, { location, sdp }: Accepted): Promise<void> {
    this.#location = location;
    await link.accept(sdp);
  }

  #ours(link: Link | null): boolean {
    return link !== null && this.#link === link && !this.#over.signal.aborted;
  }

  #drop(): void {
    this.#link?.close();
    this.#link = null;
    if (this.#location !== null) void this.#api.leave(this.#location);
    this.#location = null;
  }
}
