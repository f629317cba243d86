/** A map that this device keeps, by name, where the browser keeps anything; in this page in any case. */

type Store = Pick<Storage, "getItem" | "setItem"> | null;

/** What is kept under `key`, as far as `holds` says that it is of this version; the last `max` of it. */
export function readMap<V>(store: Store, key: string, max: number, holds: (value: unknown) => boolean): ReadonlyMap<string, V> {
  const kept = read(store, key);
  if (!Array.isArray(kept)) return new Map();
  const entries = kept.filter((entry): entry is [string, V] => {
    const [name, value] = Array.isArray(entry) ? (entry as unknown[]) : [];
    return typeof name === "string" && holds(value);
  });
  return new Map(entries.slice(-max));
}

/** Keeps the map under `key`. */
export function writeMap(store: Store, key: string, map: ReadonlyMap<string, unknown>): void {
  try {
    store?.setItem(key, JSON.stringify([...map]));
  } catch {
    // A private window may refuse; it holds for this page then.
  }
}

/** `map` with this entry as its newest, and `max` in all. */
export function withEntry<V>(map: ReadonlyMap<string, V>, name: string, value: V, max: number): ReadonlyMap<string, V> {
  const others = [...map].filter(([other]) => other !== name).slice(-(max - 1));
  return new Map([...others, [name, value]]);
}

function read(store: Store, key: string): unknown {
  try {
    return JSON.parse(store?.getItem(key) ?? "[]");
  } catch {
    return null;
  }
}
