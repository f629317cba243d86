/**
 * The regions that one can play in, and how far they are: measured by this device where there is a beacon,
 * as the broker estimates it elsewhere. Measuring never stands in the way of playing.
 */
import { computed, signal, type Signal } from "@preact/signals";
import { timeBeacon } from "../probe/beacons.ts";
import type { KeptRtts } from "../probe/kept-rtts.ts";
import type { Api } from "../session/api.ts";
import type { CreateSession, Node, Region } from "../wire/types.ts";

/** A round trip, and whether it was measured here or is the broker's estimate. */
export type Ping = { readonly ms: number; readonly by: "measured" | "estimated" };

export type ShownRegion = { readonly region: Region; readonly ping: Ping | null };

/** Nearest first; what nobody knows comes last, in the broker's order. */
export function shownRegions(regions: readonly Region[], measured: ReadonlyMap<string, number>): readonly ShownRegion[] {
  const shown = regions.map((region) => ({ region, ping: pingOf(region, measured.get(region.name)) }));
  return shown.toSorted((a, b) => (a.ping?.ms ?? Infinity) - (b.ping?.ms ?? Infinity) || 0);
}

function pingOf(region: Region, measured: number | undefined): Ping | null {
  if (measured !== undefined) return { ms: measured, by: "measured" };
  return region.rtt_ms === null ? null : { ms: region.rtt_ms, by: "estimated" };
}

/** What a create says of regions: the choice, if the region is still there, and everything measured. */
export function regionWish(
  regions: readonly Region[],
  chosen: string | null,
  measured: ReadonlyMap<string, number>,
): Pick<CreateSession, "region" | "rtt"> {
  const rtt = [...measured].map(([region, ms]) => ({ region, ms: Math.max(1, Math.round(ms)) }));
  const known = regions.some(({ name }) => name === chosen);
  return { ...(chosen !== null && known && { region: chosen }), ...(rtt.length > 0 && { rtt }) };
}

const STATE_WORDS = { room: "", queue: "full, you would wait", offline: "offline" } as const;

/** `Frankfurt · 12 ms measured`. */
export function regionWords({ region, ping }: ShownRegion): string {
  const parts = [region.title, ping && `${ping.ms < 1 ? "<1" : Math.round(ping.ms)} ms ${ping.by}`, STATE_WORDS[region.state]];
  return parts.filter(Boolean).join(" · ");
}

type Deps = {
  readonly api: Pick<Api, "regions">;
  readonly kept: KeptRtts;
  /** The region that the player chose; null for the nearest. */
  readonly chosen: Signal<string | null>;
  readonly time?: (url: string) => Promise<number | null>;
  readonly nowMs?: () => number;
};

export class RegionModel {
  readonly regions = signal<readonly Region[]>([]);
  readonly chosen: Signal<string | null>;
  readonly #measured = signal<ReadonlyMap<string, number>>(new Map());
  readonly shown = computed(() => shownRegions(this.regions.value, this.#measured.value));
  readonly #api: Pick<Api, "regions">;
  readonly #kept: KeptRtts;
  readonly #time: (url: string) => Promise<number | null>;
  readonly #nowMs: () => number;
  #measuring = false;

  constructor({ api, kept, chosen, time = timeBeacon, nowMs = Date.now }: Deps) {
    this.#api = api;
    this.#kept = kept;
    this.chosen = chosen;
    this.#time = time;
    this.#nowMs = nowMs;
    this.#measured.value = kept.valid(nowMs());
  }

  /** Learns the regions; what is not fresh is measured meanwhile. A broker without regions is no trouble. */
  async refresh(): Promise<void> {
    const list = await this.#api.regions();
    if (!list.ok) return;
    this.regions.value = list.value.regions;
    void this.measure();
  }

  /** Times every beacon whose round trip is not fresh, all at once: each takes a handful of small packets. */
  async measure(): Promise<void> {
    if (this.#measuring) return;
    this.#measuring = true;
    const due = this.regions.peek().filter(({ name, beacon }) => beacon !== null && !this.#kept.isFresh(name, this.#nowMs()));
    await Promise.all(
      due.map(async ({ name, beacon }) => {
        const ms = beacon === null ? null : await this.#time(beacon);
        if (ms !== null) this.#kept.keep(name, { ms, atMs: this.#nowMs() });
      }),
    );
    this.#measured.value = this.#kept.valid(this.#nowMs());
    this.#measuring = false;
  }

  /** A line check timed one of `nodes`: so far is its region, where no beacon was timed. */
  checked(nodes: readonly Node[], node: string, ms: number): void {
    const name = nodes.find(({ id }) => id === node)?.region;
    const region = this.regions.peek().find((known) => known.name === name);
    if (region === undefined) return;
    if (region.beacon !== null && this.#kept.valid(this.#nowMs()).has(region.name)) return;
    this.#kept.keep(region.name, { ms, atMs: this.#nowMs() });
    this.#measured.value = this.#kept.valid(this.#nowMs());
  }

  /** This device is in another network now. */
  networkChanged(): void {
    this.#kept.forget();
    this.#measured.value = new Map();
  }

  /** What a create says of regions. */
  wish(): Pick<CreateSession, "region" | "rtt"> {
    return regionWish(this.regions.peek(), this.chosen.peek(), this.#kept.valid(this.#nowMs()));
  }
}
