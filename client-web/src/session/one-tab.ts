/** Tabs of one browser that open at once. */

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
