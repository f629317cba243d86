/** Who we are to the broker, for tabs of one browser that open at once. */
import { backoffMs } from "./backoff.ts";
import type { Result } from "./refusal.ts";

const WHOAMI_TRIES = 3;

/**
 * A newcomer becomes a guest by the first answer that sets a cookie. Of two tabs that open at once
 * the second waits, and asks with the cookie that the first was given: one browser is one guest.
 */
export async function oneTabAtATime<T>(ask: () => Promise<T>): Promise<T> {
  const locks: LockManager | undefined = globalThis.navigator?.locks;
  if (!locks) return ask();
  let granted = false;
  try {
    return await locks.request("nearlight-guest", () => {
      granted = true;
      return ask();
    });
  } catch (cause) {
    // Where the site's data is blocked there are no locks either.
    if (granted) throw cause;
    return ask();
  }
}

/** A broker that fails for a moment has not forgotten us: asks again, and says in the end why not. */
export async function askWho(ask: () => Promise<Result<Response>>, attempt = 1): Promise<Result<Response>> {
  const result = await ask();
  if (result.ok || attempt === WHOAMI_TRIES || !["internal", "offline"].includes(result.refusal.name)) return result;
  await new Promise((done) => setTimeout(done, backoffMs(attempt)));
  return askWho(ask, attempt + 1);
}
