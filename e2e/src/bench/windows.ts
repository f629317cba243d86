/** What `loadtest fleet` says of the sessions that were created within some seconds. */

/** Without a time: so many failed that there is none. */
export interface Window {
  readonly from_s: number;
  readonly failed: number;
  readonly ms_p99: number | null;
}

/** What no aim is met by: sessions that were not created took longer than anything. */
const NEVER_MS = 1e9;

/** The longest time of the windows. None at all is no short one. */
export function worst(windows: readonly Window[]): number {
  if (windows.length === 0) return NEVER_MS;
  return Math.max(...windows.map(({ ms_p99 }) => ms_p99 ?? NEVER_MS));
}
