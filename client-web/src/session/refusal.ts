/** Why a call to the API gave no result: the broker's problem+json, or what we know where there was none. */
import { isRecord } from "../wire/json.ts";
import type { Problem, ProblemName } from "../wire/types.ts";

/** Why a call gave no result. `offline`: no answer at all. `garbled`: an answer that is not the API's. `no-webrtc`: the
 *  browser makes no connection to ask for. */
export type Refusal = {
  readonly name: ProblemName | "offline" | "garbled" | "no-webrtc";
  readonly detail: string;
  /** The request id in the broker's log, or "". */
  readonly instance: string;
  /** Milliseconds that the broker asks to wait, or null. */
  readonly retryAfterMs: number | null;
};

export type Result<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly refusal: Refusal };

/** A refusal of our own making. */
export function refuse(name: Refusal["name"], detail: string): { ok: false; refusal: Refusal } {
  return { ok: false, refusal: { name, detail, instance: "", retryAfterMs: null } };
}

/** What an answer that is no success means. */
export async function refusalOf(response: Response): Promise<Refusal> {
  const seconds = Number(response.headers.get("Retry-After") ?? Number.NaN);
  const retryAfterMs = Number.isFinite(seconds) ? Math.min(seconds, 60) * 1000 : null;
  try {
    const problem: unknown = await response.json();
    if (isRecord(problem) && typeof problem["name"] === "string") {
      const { name, detail, instance } = problem as Problem;
      return { name, detail: String(detail ?? ""), instance: String(instance ?? ""), retryAfterMs };
    }
  } catch {
    // Not the API's own words: a proxy's page, or a cut connection.
  }
  // What a proxy in between says about a broker that is gone counts as no answer.
  const name = response.status >= 502 ? "offline" : "garbled";
  return { name, detail: `The answer was HTTP ${response.status}.`, instance: "", retryAfterMs };
}
