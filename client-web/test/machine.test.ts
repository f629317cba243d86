import { describe, expect, it } from "vitest";
import raw from "../vectors/session.json";
import { backoffMs } from "../src/session/backoff.ts";
import { DEADLINES } from "../src/session/deadlines.ts";
import { edges, handle, type Event, type Step, type State } from "../src/session/machine.ts";

type Vector = { readonly state: State; readonly event: Event; readonly next: State; readonly effects: Step["effects"] };
const vectors = raw as unknown as readonly Vector[];
const edge = ({ state, event }: Vector): string => `${state.name} ${event.name}`;

const EVENTS: readonly Event["name"][] = [
  "session-seen", "open-refused", "attach-refused", "end-refused", "attach-progressed", "picture-shown", "peer-lost",
  "detach-noticed", "end-noticed", "retry-due", "retry-asked", "take-over-asked", "reattach-asked", "end-asked",
];

describe("the session machine", () => {
  it("has exactly the edges of the vectors", () => {
    expect([...new Set(vectors.map(edge))].sort()).toEqual(edges().sort());
  });

  it.each(vectors.map((vector, i) => ({ title: `${i}: ${edge(vector)}`, vector })))("$title", ({ vector }) => {
    const outcome = handle(vector.state, vector.event);
    expect(outcome).toEqual({ applied: true, step: { state: vector.next, effects: vector.effects } });
  });

  it("ignores every event that has no edge", () => {
    const samples = new Map(vectors.map((vector) => [vector.event.name, vector.event]));
    const states = new Map(vectors.map((vector) => [vector.state.name, vector.state]));
    states.set("ended", { name: "ended", reason: "app-exited" });
    const known = new Set(edges());
    for (const [name, state] of states) {
      for (const event of EVENTS.filter((one) => !known.has(`${name} ${one}`))) {
        expect(handle(state, samples.get(event) as Event)).toEqual({ applied: false });
      }
    }
  });

  it("takes over only when somebody asked", () => {
    const takers = vectors.filter(({ effects }) => effects.some((e) => e.name === "attach" && e.takeOver));
    expect(takers.map(({ event }) => event.name)).toEqual(takers.map(() => "take-over-asked"));
    expect(takers.length).toBeGreaterThan(0);
  });

  it("leaves nothing running behind the last state", () => {
    for (const { next, effects } of vectors.filter((v) => v.next.name === "ended" || v.next.name === "refused")) {
      const names = effects.map((effect) => effect.name);
      expect(names, next.name).toEqual(expect.arrayContaining(["cancel-retry", "drop-peer", "unwatch"]));
      expect(names).not.toContain("retry-in");
    }
  });

  it("gives a connection that does not come about up early, and says so", () => {
    expect(DEADLINES.transport?.cause).toBe("no-way");
    expect(DEADLINES.picture?.cause).toBe("no-picture");
    expect(DEADLINES.transport?.ms).toBeLessThan(DEADLINES.picture?.ms ?? 0);
  });

  it("waits longer each time, and never longer than five seconds", () => {
    const waits = [1, 2, 3, 4, 5, 6, 7, 1000].map(backoffMs);
    expect(waits).toEqual([...waits].sort((a, b) => a - b));
    expect(waits.at(-1)).toBe(5_000);
    expect(backoffMs(0)).toBe(waits[0]);
  });
});
