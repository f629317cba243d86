/** Regions: what is measured, kept, shown, and said with a create. */
import { signal } from "@preact/signals";
import { describe, expect, it } from "vitest";
import { timeBeacon, type Tools } from "../src/probe/beacons.ts";
import { KeptRtts, RTTS_MAX } from "../src/probe/kept-rtts.ts";
import { RegionModel, regionWish, regionWords, shownRegions } from "../src/ui/region-model.ts";
import type { Node, Region } from "../src/wire/types.ts";

const HOUR_MS = 3600 * 1000;

function region(name: string, more: Partial<Region> = {}): Region {
  const none = { latitude: null, longitude: null, beacon: null, rtt_ms: null, rtt_from: null };
  return { name, title: name.toUpperCase(), state: "room", ...none, ...more };
}

/** A clock that the answers move, and what they say of themselves. */
function tools(answers: readonly (number | Error)[], wire: (n: number) => number | null = () => null): Tools & { asked: RequestInit[] } {
  let nowMs = 0;
  const asked: RequestInit[] = [];
  return {
    asked,
    fetch: (_url, init) => {
      const answer = answers[asked.length] ?? new Error("no more");
      asked.push(init);
      if (answer instanceof Error) return Promise.reject(answer);
      nowMs += answer;
      return Promise.resolve(new Response(null, { status: 204 }));
    },
    nowMs: () => nowMs,
    onTheWire: () => wire(asked.length - 1),
  };
}

class Store {
  readonly kept = new Map<string, string>();
  getItem(key: string): string | null {
    return this.kept.get(key) ?? null;
  }
  setItem(key: string, value: string): void {
    this.kept.set(key, value);
  }
}

describe("a beacon", () => {
  it("is warmed up, then timed three times, and the least counts", async () => {
    const used = tools([250, 34, 31, 90]);
    expect(await timeBeacon("https://a/", used)).toBe(31);
    expect(used.asked).toHaveLength(4);
    expect(used.asked[0]).toMatchObject({ credentials: "omit", cache: "no-store", mode: "cors" });
  });

  it("is timed on the wire where the browser tells", async () => {
    expect(await timeBeacon("https://a/", tools([250, 34, 31, 90], (n) => 20 + n))).toBe(21);
  });

  it("that does not answer is not known, and one that falls silent is as far as it was", async () => {
    expect(await timeBeacon("https://a/", tools([new Error("refused")]))).toBeNull();
    expect(await timeBeacon("https://a/", tools([250]))).toBeNull();
    expect(await timeBeacon("https://a/", tools([250, 30, new Error("gone")]))).toBe(30);
  });

  it("that answers with an error is none", async () => {
    const used = { ...tools([]), fetch: () => Promise.resolve(new Response(null, { status: 404 })) };
    expect(await timeBeacon("https://a/", used)).toBeNull();
  });
});

describe("what was measured", () => {
  it("is kept on the device, for an hour, and measured again before", () => {
    const store = new Store();
    new KeptRtts(store).keep("fra", { ms: 12, atMs: 1000 });
    const kept = new KeptRtts(store);
    expect([...kept.valid(1000 + HOUR_MS - 1)]).toEqual([["fra", 12]]);
    expect([...kept.valid(1000 + HOUR_MS)]).toEqual([]);
    expect([...kept.valid(999)]).toEqual([]);
    expect(kept.isFresh("fra", 1000 + HOUR_MS / 6 - 1)).toBe(true);
    expect(kept.isFresh("fra", 1000 + HOUR_MS / 6)).toBe(false);
    kept.forget();
    expect([...new KeptRtts(store).valid(1001)]).toEqual([]);
  });

  it("has its bound, and what is no measurement is not read", () => {
    const kept = new KeptRtts(null);
    for (let n = 0; n < 100; n += 1) kept.keep(`r${n}`, { ms: n, atMs: 0 });
    expect(kept.valid(1).size).toBe(RTTS_MAX);
    for (const text of ["{", "null", '[["fra"]]', '[["fra",{"ms":"1","atMs":0}]]', "[[1,{}]]"]) {
      const store = new Store();
      store.setItem("nearlight.region-rtts", text);
      expect([...new KeptRtts(store).valid(1)]).toEqual([]);
    }
  });
});

describe("regions", () => {
  it("are shown nearest first, and what is measured outranks what is estimated", () => {
    const regions = [region("sin", { rtt_ms: 30, rtt_from: "distance" }), region("xxx"), region("fra", { rtt_ms: 5 }), region("ams")];
    const shown = shownRegions(regions, new Map([["sin", 180], ["ams", 9]]));
    expect(shown.map(({ region: { name } }) => name)).toEqual(["fra", "ams", "sin", "xxx"]);
    expect(shown.map(({ ping }) => ping?.by)).toEqual(["estimated", "measured", "measured", undefined]);
  });

  it("are said in words that do not promise what nobody measured", () => {
    const words = (more: Partial<Region>, ms?: number): (string | undefined)[] =>
      shownRegions([region("fra", more)], new Map(ms === undefined ? [] : [["fra", ms]])).map(regionWords);
    expect(words({}, 12.4)).toEqual(["FRA · 12 ms measured"]);
    expect(words({}, 0.4)).toEqual(["FRA · <1 ms measured"]);
    expect(words({ rtt_ms: 40, state: "queue" })).toEqual(["FRA · 40 ms estimated · full, you would wait"]);
    expect(words({ state: "offline" })).toEqual(["FRA · offline"]);
  });

  it("go into a create as the player chose, while they are there", () => {
    const regions = [region("fra"), region("sin")];
    const measured = new Map([["fra", 11.6], ["sin", 0.2]]);
    const rtt = [{ region: "fra", ms: 12 }, { region: "sin", ms: 1 }];
    expect(regionWish(regions, null, measured)).toEqual({ rtt });
    expect(regionWish(regions, "sin", measured)).toEqual({ region: "sin", rtt });
    expect(regionWish(regions, "gone", new Map())).toEqual({});
  });
});

describe("the model", () => {
  it("measures what has a beacon and is not fresh, once at a time", async () => {
    const asked: string[] = [];
    const clock = { nowMs: 1000 };
    const list = [region("fra", { beacon: "https://fra/" }), region("sin", { beacon: "https://sin/" }), region("ams")];
    const model = new RegionModel({
      api: { regions: () => Promise.resolve({ ok: true as const, value: { regions: list } }) },
      kept: new KeptRtts(null),
      chosen: signal(null),
      time: (url) => {
        asked.push(url);
        return Promise.resolve(url.includes("sin") ? null : 14);
      },
      nowMs: () => clock.nowMs,
    });
    await Promise.all([model.refresh(), model.refresh()]);
    await model.measure();
    expect(asked.filter((url) => url.includes("fra"))).toHaveLength(1);
    expect(model.wish()).toEqual({ rtt: [{ region: "fra", ms: 14 }] });
    clock.nowMs += HOUR_MS / 6;
    await model.measure();
    expect(asked.filter((url) => url.includes("fra"))).toHaveLength(2);
    model.networkChanged();
    expect(model.wish()).toEqual({});
    expect(model.shown.value.every(({ ping }) => ping === null)).toBe(true);
  });

  it("goes on where the broker knows no regions", async () => {
    const refusal = { name: "not-found" as const, title: "", status: 404, detail: "", instance: "" };
    const api = { regions: () => Promise.resolve({ ok: false as const, refusal: refusal as never }) };
    const model = new RegionModel({ api, kept: new KeptRtts(null), chosen: signal("fra") });
    await model.refresh();
    expect(model.wish()).toEqual({});
  });
});

describe("a line check", () => {
  const nodes = [{ id: "a", region: "home" }, { id: "b", region: "fra" }] as Node[];
  const model = (listed: readonly Region[], ms: number | null): { model: RegionModel; kept: KeptRtts } => {
    const kept = new KeptRtts(null);
    const api = { regions: async () => ({ ok: true as const, value: { regions: [...listed] } }) };
    return { kept, model: new RegionModel({ api, kept, chosen: signal(null), time: async () => ms, nowMs: () => 1000 }) };
  };
  const measured = ({ kept }: { kept: KeptRtts }): unknown => [...kept.valid(1000)];

  it("says how far the region of its node is, where no beacon does", async () => {
    const home = model([region("home"), region("fra", { beacon: "https://fra/" })], null);
    home.model.checked(nodes, "a", 7);
    expect(measured(home), "of a region that is not known nothing is kept").toEqual([]);
    await home.model.refresh();
    await home.model.measure();
    home.model.checked(nodes, "unknown", 3);
    home.model.checked(nodes, "a", 7);
    home.model.checked(nodes, "b", 12);
    expect(measured(home)).toEqual([["home", 7], ["fra", 12]]);
    expect(home.model.shown.value.map(({ ping }) => ping)).toEqual([{ ms: 7, by: "measured" }, { ms: 12, by: "measured" }]);
    expect(home.model.wish().rtt).toEqual([{ region: "home", ms: 7 }, { region: "fra", ms: 12 }]);
  });

  it("is outranked by a beacon", async () => {
    const fra = model([region("fra", { beacon: "https://fra/" })], 9);
    await fra.model.refresh();
    await fra.model.measure();
    fra.model.checked(nodes, "b", 40);
    expect(measured(fra)).toEqual([["fra", 9]]);
  });
});
