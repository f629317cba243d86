/**
 * Drives the session machine: the only writer of its state. Runs the effects, stamps the deadlines
 * that the pure table cannot, and lets the UI listen.
 *
 * Owns: state, the current attempt, timers, the feed. Does not know: how anything is drawn.
 */
import type { Notice, Session } from "../wire/types.ts";
import type { InputEvent, Mark } from "../wire/codec.ts";
import type { Link } from "../stream/link.ts";
import { assertNever } from "../wire/never.ts";
import type { Api } from "./api.ts";
import { beginAttach, type Attempt } from "./attach.ts";
import { DEADLINES } from "./deadlines.ts";
import { watchSession } from "./feed.ts";
import type { Refusal } from "./refusal.ts";
import type { HeldAttachment } from "./held.ts";
import { handle, START, type AttachStep, type Effect, type Event, type State } from "./machine.ts";

export type Listener = {
  /** The codec that the player wants, if a certain one; asked at each attach. */
  readonly codec: () => string | null;
  /** What the page signs its samples with; "" if it cannot. */
  readonly sampleKey: () => Promise<string>;
  /** The node cannot make that codec, and was asked for any other. */
  readonly codecRefused: (codec: string) => void;
  readonly changed: () => void;
  readonly notice: (notice: Notice) => void;
  readonly mark: (mark: Mark) => void;
  readonly ready: () => void;
  readonly foreignVersion: () => void;
};

export class Runner {
  readonly session: string;
  readonly #api: Api;
  readonly #held: HeldAttachment;
  readonly #listener: Listener;
  readonly #over = new AbortController();
  #state: State = START.state;
  #snapshot: Session | null = null;
  #attempt: Attempt | null = null;
  #feed: AbortController | null = null;
  #refusedCodec: string | null = null;
  #retry: number | undefined;
  #deadline: number | undefined;

  constructor(session: string, api: Api, held: HeldAttachment, listener: Listener) {
    this.session = session;
    this.#api = api;
    this.#held = held;
    this.#listener = listener;
  }

  get state(): State {
    return this.#state;
  }

  /** The session as the broker last told, for titles and times. */
  get snapshot(): Session | null {
    return this.#snapshot;
  }

  get link(): Link | null {
    return this.#attempt?.link ?? null;
  }

  get attachment(): string | null {
    return this.#held.id(this.session);
  }

  start(): void {
    const signal = this.#over.signal;
    addEventListener("online", () => this.dispatch({ name: "retry-asked" }), { signal });
    START.effects.forEach((effect) => this.#run(effect));
  }

  dispatch(event: Event): void {
    if (this.#over.signal.aborted) return;
    const outcome = handle(this.#state, event);
    if (!outcome.applied) return;
    this.#state = outcome.step.state;
    if (this.#state.name !== "attaching") clearTimeout(this.#deadline);
    if (this.#state.name === "detached" || this.#state.name === "ended") this.#held.forget();
    outcome.step.effects.forEach((effect) => this.#run(effect));
    this.#listener.changed();
  }

  send(event: InputEvent, atMs: number): boolean {
    return this.#attempt?.link?.send(event, atMs) ?? false;
  }

  /** The page goes away. The session stays, for its grace time. */
  close(): void {
    if (this.#over.signal.aborted) return;
    this.#over.abort();
    this.#feed?.abort();
    clearTimeout(this.#retry);
    clearTimeout(this.#deadline);
    this.#attempt?.close();
    void this.#held.release(this.#api);
  }

  #run(effect: Effect): void {
    switch (effect.name) {
      case "open":
        void this.#open();
        return;
      case "watch":
        this.#watch();
        return;
      case "attach":
        this.#attach(effect.takeOver);
        return;
      case "drop-peer":
        this.#attempt?.close();
        this.#attempt = null;
        return;
      case "retry-in":
        clearTimeout(this.#retry);
        this.#retry = setTimeout(() => this.dispatch({ name: "retry-due" }), effect.ms);
        return;
      case "cancel-retry":
        clearTimeout(this.#retry);
        return;
      case "end":
        void this.#end();
        return;
      case "unwatch":
        this.#feed?.abort();
        this.#feed = null;
        return;
      default:
        assertNever(effect);
    }
  }

  async #open(): Promise<void> {
    const result = await this.#api.session(this.session);
    if (result.ok) this.#saw(result.value);
    else this.dispatch({ name: "open-refused", refusal: result.refusal });
  }

  async #end(): Promise<void> {
    const result = await this.#api.end(this.session);
    if (result.ok) this.#watch();
    else this.dispatch({ name: "end-refused", refusal: result.refusal });
  }

  #watch(): void {
    if (this.#feed) return;
    this.#feed = new AbortController();
    const heard = {
      seen: (session: Session) => this.#saw(session),
      refused: (refusal: Refusal) => this.dispatch({ name: "open-refused", refusal }),
    };
    watchSession(this.#api, this.session, heard, this.#feed.signal);
  }

  #saw(session: Session): void {
    this.#snapshot = session;
    this.dispatch({ name: "session-seen", session: session.state });
    if (!this.#over.signal.aborted) this.#listener.changed();
  }

  #attach(takeOver: boolean): void {
    this.#attempt?.close();
    this.#armDeadline("ticket");
    const wanted = this.#listener.codec();
    const codec = wanted === this.#refusedCodec ? null : wanted;
    this.#attempt = beginAttach(this.#api, { session: this.session, takeOver, codec, sampleKey: this.#listener.sampleKey() }, this.#held, {
      progressed: (step) => {
        this.dispatch({ name: "attach-progressed", step });
        if (this.#state.name === "attaching") this.#armDeadline(step);
      },
      refused: (refusal) => {
        if (codec === null || refusal.name !== "invalid-offer") return this.dispatch({ name: "attach-refused", refusal });
        this.#refusedCodec = codec;
        this.#listener.codecRefused(codec);
        this.#attach(takeOver);
      },
      lost: () => this.dispatch({ name: "peer-lost", cause: "network" }),
      notice: (notice) => this.#noticed(notice),
      mark: this.#listener.mark,
      ready: this.#listener.ready,
      foreignVersion: this.#listener.foreignVersion,
    });
  }

  /** A hidden page is shown no frames, so it cannot miss one either. */
  #armDeadline(step: AttachStep): void {
    const deadline = DEADLINES[step];
    if (!deadline) return;
    const { ms, cause } = deadline;
    clearTimeout(this.#deadline);
    this.#deadline = setTimeout(() => {
      if (step === "picture" && document.hidden) this.#armDeadline(step);
      else this.dispatch({ name: "peer-lost", cause });
    }, ms);
  }

  #noticed(notice: Notice): void {
    if (notice.notice === "detached") this.dispatch({ name: "detach-noticed", reason: notice.reason });
    else if (notice.notice === "ended") this.dispatch({ name: "end-noticed", reason: notice.reason });
    else this.#listener.notice(notice);
  }
}
