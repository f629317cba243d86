/** The last checks of this device's line, by node: a line changes with the hours, not with the clicks. */
import type { Diagnosis } from "../stream/diagnosis.ts";
import { isRecord } from "../wire/json.ts";
import type { Figures } from "./figures.ts";
import { readMap, withEntry, writeMap } from "./store.ts";

export type Check = { readonly verdict: Diagnosis; readonly figures: Figures; readonly atMs: number };

const KEY = "nearlight.line-checks";
const VALID_MS = 6 * 3600 * 1000;
const NODES_MAX = 16;

export class KeptChecks {
  readonly #store: Pick<Storage, "getItem" | "setItem"> | null;
  #checks: ReadonlyMap<string, Check>;

  /** `store` is null where the browser keeps nothing. */
  constructor(store: Pick<Storage, "getItem" | "setItem"> | null) {
    this.#store = store;
    this.#checks = readMap(store, KEY, NODES_MAX, isCheck);
  }

  /** The check of `node` that still holds at `nowMs` (wall clock). */
  of(node: string, nowMs: number): Check | null {
    const check = this.#checks.get(node);
    return check && nowMs - check.atMs < VALID_MS && check.atMs <= nowMs ? check : null;
  }

  keep(node: string, check: Check): void {
    this.#checks = withEntry(this.#checks, node, check, NODES_MAX);
    writeMap(this.#store, KEY, this.#checks);
  }
}

function isCheck(check: unknown): boolean {
  return isRecord(check) && isRecord(check["verdict"]) && isRecord(check["figures"]) && typeof check["atMs"] === "number";
}
