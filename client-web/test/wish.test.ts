/** A wish for a session whose answer is lost, with a broker that keeps its word on keys. */
import { expect, test } from "vitest";
import type { Refusal, Result } from "../src/session/refusal.ts";
import { Wishes, wishWords, type Wish } from "../src/session/wish.ts";
import type { Session } from "../src/wire/types.ts";

/** Begins a session for each new key; `lost` answers do not arrive. */
function broker(...lost: (Refusal["name"] | null)[]) {
  const begun = new Map<string, { body: string; session: Session }>();
  const create = ({ body, key }: Wish): Promise<Result<Session>> => {
    const known = begun.get(key) ?? { body: JSON.stringify(body), session: { id: `ses_${begun.size}`, state: { phase: "queued" } } as Session };
    if (known.body !== JSON.stringify(body)) return refused("idempotency-conflict");
    begun.set(key, known);
    const name = lost.shift() ?? null;
    return name === null ? Promise.resolve({ ok: true, value: known.session }) : refused(name);
  };
  return { begun, create };
}
const refused = (name: Refusal["name"]): Promise<Result<Session>> =>
  Promise.resolve({ ok: false, refusal: { name, detail: "", instance: "", retryAfterMs: null } });
const id = (result: Result<Session>): string => (result.ok ? result.value.id : result.refusal.name);
const display = (width: number) => ({ width, height: 720, hz: 60 });

test.each(["offline", "garbled", "internal"] as const)("a second click after %s is the same wish, also from another window size", async (name) => {
  const { begun, create } = broker(name);
  const wishes = new Wishes();
  expect(id(await wishes.ask({ app: "freedoom", display: display(1280) }, create))).toBe(name);
  expect(id(await wishes.ask({ app: "freedoom", display: display(800) }, create))).toBe("ses_0");
  expect(id(await wishes.ask({ app: "freedoom", display: display(800) }, create))).toBe("ses_1");
  expect(begun.size).toBe(2);
});

test("a refusal is an answer, and another app or another word on saves is another wish", async () => {
  const { begun, create } = broker("quota-exceeded", "offline", "offline");
  const wishes = new Wishes();
  await wishes.ask({ app: "freedoom" }, create);
  await wishes.ask({ app: "freedoom" }, create);
  await wishes.ask({ app: "freedoom", saves: "wait" }, create);
  expect(id(await wishes.ask({ app: "calibrate" }, create))).toBe("ses_3");
  expect(begun.size).toBe(4);
});

test("a session that began unheard and is over does not stand in for a new one", async () => {
  const { begun, create } = broker("offline");
  const wishes = new Wishes();
  await wishes.ask({ app: "freedoom" }, create);
  for (const one of begun.values()) Object.assign(one.session, { state: { phase: "ended", reason: "detached-timeout", detail: "" } });
  expect(id(await wishes.ask({ app: "freedoom" }, create))).toBe("ses_1");
});

test("whoever got no answer reads that pressing again is safe", () => {
  const words = (name: Refusal["name"]) => wishWords({ name, detail: "", instance: "", retryAfterMs: null }).advice;
  for (const name of ["offline", "garbled", "internal"] as const) expect(words(name)).toMatch(/not started twice/);
  expect(words("quota-exceeded")).not.toMatch(/twice/);
});
