/**
 * When a poor stream is worth a word: not at the first bad second, not for ever, and not the same
 * word again and again. Pure; told once a second.
 */
import type { Diagnosis, Fault } from "./diagnosis.ts";

/** Seconds in a row that are poor for one cause before it is named. */
const POOR_S = 4;
/** Seconds in a row that are not poor before the word goes. */
const BETTER_S = 5;
/** A word that nobody acts on goes by itself, and the same one rests for a while. */
const SHOWN_MS = 15_000;
const REST_MS = 120_000;

export class Alarm {
  #poor: { readonly fault: Fault; readonly seconds: number } | null = null;
  #better = 0;
  #shown: { readonly fault: Fault; readonly sinceMs: number } | null = null;
  readonly #restUntil = new Map<Fault, number>();

  /** One second's diagnosis; answers the cause to name now, or null. */
  see({ grade, fault }: Diagnosis, nowMs: number): Fault | null {
    const poor = grade === "poor" ? fault : null;
    this.#poor = poor === null ? null : { fault: poor, seconds: this.#poor?.fault === poor ? this.#poor.seconds + 1 : 1 };
    this.#better = poor === null ? this.#better + 1 : 0;
    if (this.#shown && (this.#better >= BETTER_S || nowMs - this.#shown.sinceMs >= SHOWN_MS)) {
      this.#restUntil.set(this.#shown.fault, nowMs + REST_MS);
      this.#shown = null;
    }
    if (!this.#shown && this.#poor && this.#poor.seconds >= POOR_S && nowMs >= (this.#restUntil.get(this.#poor.fault) ?? 0)) {
      this.#shown = { fault: this.#poor.fault, sinceMs: nowMs };
    }
    return this.#shown?.fault ?? null;
  }
}
