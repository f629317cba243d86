import { expect, test } from "vitest";
import type { Refusal } from "../src/session/refusal.ts";
import { EndModel } from "../src/ui/end-model.ts";

const OFFLINE: Refusal = { name: "offline", detail: "", instance: "", retryAfterMs: null };

test("the lobby ends a session only when asked twice, and a refusal can be tried again", async () => {
  const answers: (Refusal | null)[] = [OFFLINE, null];
  let asked = 0;
  const end = new EndModel(() => {
    asked += 1;
    return Promise.resolve(answers.shift() ?? null);
  });
  await end.press();
  expect([asked, end.state.value]).toEqual([0, "sure"]);
  end.leave();
  await end.press();
  expect([asked, end.state.value]).toEqual([0, "sure"]);
  await end.press();
  expect([asked, end.state.value, end.refused.value]).toEqual([1, "idle", OFFLINE]);
  await end.press();
  await end.press();
  expect([asked, end.state.value, end.refused.value]).toEqual([2, "ending", null]);
  await end.press();
  expect(asked).toBe(2);
});
