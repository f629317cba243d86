/** The last checks of this device's line, by node: a line changes with the hours, not with the clicks. */
import type { Diagnosis } from "../stream/diagnosis.ts";
import { isRecord } from "../wire/json.ts";
import type { Figures } from "./figures.ts";

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
    this.#checks = new Map(parse(read(store)));
  }

  /** The check of `node` that still holds at `nowMs` (wall clock). */
  of(node: string, nowMs: number): Check | null {
    const check = this.#checks.get(node);
    return check && nowMs - check.atMs < VALID_MS && check.atMs <= nowMs ? check : null;
  }

  keep(node: string, check: Check): void {
    const others = [...this.#checks].filter(([id]) => id !== node).slice(-(NODES_MAX - 1));
    this.#checks = new Map([...others, [node, check]]);
    try {
      this.#store?.setItem(KEY, JSON.stringify([...this.#checks]));
    } catch {
      // A private window may refuse; the check holds for this page then.
    }
  }
}

function read(store: Pick<Storage, "getItem"> | null): unknown {
  try {
    return JSON.parse(store?.getItem(KEY) ?? "[]");
  } catch {
    return [];
  }
}

function parse(value: unknown): [string, Check][] {
  if (!Array.isArray(value)) return [];
  return value.filter((entry): entry is [string, Check] => {
    const [node, check] = Array.isArray(entry) ? (entry as unknown[]) : [];
    return typeof node === "string" && isRecord(check) && isRecord(check["verdict"]) && isRecord(check["figures"]) && typeof check["atMs"] === "number";
  });
}
