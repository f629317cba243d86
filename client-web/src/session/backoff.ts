/** Waits between tries, milliseconds: quick first, for most drops are short; then every 5 s for as
 *  long as the session lives, which the broker decides and not we. */
const BACKOFF_MS = [200, 500, 1_000, 2_000, 3_000, 5_000] as const;

export function backoffMs(attempt: number): number {
  return BACKOFF_MS[Math.min(Math.max(attempt, 1), BACKOFF_MS.length) - 1] ?? 5_000;
}
