/** The round trips to regions that this device measured, with their age: it moves, and so does its network. */
import { isRecord } from "../wire/json.ts";
import { readMap, withEntry, writeMap } from "./store.ts";

export type KeptRtt = { readonly ms: number; readonly atMs: number };

const KEY = "nearlight.region-rtts";
/** After this it is measured again, in passing. */
const FRESH_MS = 10 * 60 * 1000;
/** After this it counts no more. */
const VALID_MS = 3600 * 1000;
/** A create takes no more. */
export const RTTS_MAX = 16;

export class KeptRtts {
  readonly #store: Pick<Storage, "getItem" | "setItem"> | null;
  #rtts: ReadonlyMap<string, KeptRtt>;

  /** `store` is null where the browser keeps nothing. */
  constructor(store: Pick<Storage, "getItem" | "setItem"> | null) {
    this.#store = store;
    this.#rtts = readMap(store, KEY, RTTS_MAX, isRtt);
  }

  /** Those that still hold at `nowMs` (wall clock), by region. */
  valid(nowMs: number): ReadonlyMap<string, number> {
    const holds = ({ atMs }: KeptRtt): boolean => nowMs - atMs < VALID_MS && atMs <= nowMs;
    return new Map([...this.#rtts].filter(([, rtt]) => holds(rtt)).map(([region, { ms }]) => [region, ms]));
  }

  /** Whether the region need not be measured at `nowMs`. */
  isFresh(region: string, nowMs: number): boolean {
    const rtt = this.#rtts.get(region);
    return rtt !== undefined && nowMs - rtt.atMs < FRESH_MS && rtt.atMs <= nowMs;
  }

  keep(region: string, rtt: KeptRtt): void {
    this.#rtts = withEntry(this.#rtts, region, rtt, RTTS_MAX);
    writeMap(this.#store, KEY, this.#rtts);
  }

  /** The network is another one: nothing holds any more. */
  forget(): void {
    this.#rtts = new Map();
    writeMap(this.#store, KEY, this.#rtts);
  }
}

function isRtt(rtt: unknown): boolean {
  return isRecord(rtt) && typeof rtt["ms"] === "number" && typeof rtt["atMs"] === "number";
}
