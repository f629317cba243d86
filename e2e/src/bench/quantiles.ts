/** Order statistics of a sample. */

export interface Spread {
  p50: number;
  p90: number;
  p99: number;
  count: number;
}

/** Nearest-rank quantiles; an empty sample is an error, for a figure of nothing is none. */
export function spread(of: readonly number[], what: string): Spread {
  if (of.length === 0) throw new Error(`nothing was measured of ${what}`);
  const sorted = [...of].sort((a, b) => a - b);
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? NaN;
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99), count: sorted.length };
}

export function median(of: readonly number[]): number {
  return spread(of, "a median").p50;
}
