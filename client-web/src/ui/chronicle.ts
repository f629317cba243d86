/**
 * How the session that this page plays goes, over all its attachments: counted, said to the broker, summed
 * up at the end, and the receipt that comes of it.
 *
 * Owns: tally and witness; ends with `signal`. Does not know: markup.
 */
import { signal } from "@preact/signals";
import type { Api } from "../session/api.ts";
import type { State } from "../session/machine.ts";
import { awaitReceipt } from "../session/receipt.ts";
import { Witness } from "../session/witness.ts";
import type { Measured } from "../stream/gauge.ts";
import type { Answered } from "../stream/latency.ts";
import { Tally } from "../stream/tally.ts";
import type { Quality } from "../wire/quality.ts";
import type { SessionReceipt } from "../wire/types.ts";
import { publishAnswer } from "./beacon.ts";

export class Chronicle {
  /** What this page measured, once the session is over. */
  readonly summary = signal<Quality | null>(null);
  readonly receipt = signal<SessionReceipt | null>(null);
  readonly #tally = new Tally();
  readonly #witness: Witness;
  readonly #api: Api;
  readonly #session: string;
  readonly #over: AbortSignal;

  constructor(api: Api, session: string, over: AbortSignal) {
    this.#api = api;
    this.#session = session;
    this.#over = over;
    this.#witness = new Witness(api, session, () => this.#tally.quality(), over);
  }

  readonly sampleKey = (): Promise<string> => this.#witness.keyHex();

  /** A connection begins or is gone. */
  relink(): void {
    this.#tally.relink();
  }

  /** A frame was presented; `first` is told of it. */
  frame(first: (() => void) | null): void {
    this.#tally.shown(performance.now(), document.hidden);
    first?.();
  }

  readonly answered = (answered: Answered): void => {
    this.#tally.answered(answered.presentAtMs - answered.inputUs / 1000);
    publishAnswer(answered);
  };

  second({ stream, sender, latency }: Measured): void {
    this.#tally.second(performance.now(), stream, sender?.encoder ?? "", stream.ice_rtt_ms ?? latency.rtt_ms);
  }

  /** The session ends: says the last that was measured. Over, it waits for the receipt of what was played. */
  follow(state: State["name"]): void {
    if (state !== "ending" && state !== "ended") return;
    void this.#witness.say(true);
    const summary = this.#tally.quality();
    if (state === "ending" || this.summary.value || !summary) return;
    this.summary.value = summary;
    awaitReceipt(this.#api, this.#session, (receipt) => (this.receipt.value = receipt), this.#over);
  }

  /** The page goes away. */
  close(): void {
    void this.#witness.say(true);
  }
}
