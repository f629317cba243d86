/**
 * Waiting for a state: every wait of the suite goes through here, has a deadline, and says what it
 * waited for and what it saw last. Tests assert states and counters, never how long they took.
 */

import { setTimeout as pause } from "node:timers/promises";

/** What a probe answers: a value once the state is reached, `undefined` or `false` before. */
type Seen<T> = T | undefined | false;

export interface Patience {
  /** Give up after so long. Generous: a loaded two-core machine must pass. */
  within_ms?: number;
  /** Time between two looks. */
  every_ms?: number;
  /** Called when time is up, to say what was seen instead. */
  instead?: () => unknown;
}

/** Polls `probe` until it answers something, and answers that. An error of the probe counts as "not yet". */
export async function until<T>(
  what: string,
  probe: () => Seen<T> | Promise<Seen<T>>,
  { within_ms = 30_000, every_ms = 50, instead }: Patience = {},
): Promise<T> {
  const deadline = performance.now() + within_ms;
  let last: unknown = "nothing";
  for (;;) {
    try {
      const seen = await probe();
      if (seen !== undefined && seen !== false) return seen;
    } catch (error) {
      if (error instanceof Hopeless) throw error;
      last = error instanceof Error ? error.message : error;
    }
    if (performance.now() > deadline) {
      const context = instead ? JSON.stringify(await instead()) : String(last);
      throw new Error(`waited ${within_ms} ms for ${what}; saw ${context}`);
    }
    await pause(every_ms);
  }
}

/** Thrown by a probe when the state can never be reached any more. */
export class Hopeless extends Error {}

/** Lets `ms` pass: only for measuring windows (a rate of counters), never to wait for a state. */
export function window(ms: number): Promise<void> {
  return pause(ms);
}
