/** What a side measured of a session, as receipts have it (docs/receipts.md). */

/** Times in microseconds; 0 is "not measured". */
export type Quality = {
  readonly seconds: number;
  readonly frames: number;
  readonly fps_milli: number;
  readonly pace_us: readonly [number, number];
  readonly freezes: number;
  readonly size: readonly [number, number];
  readonly encode_us: readonly [number, number];
  readonly input_us: readonly [number, number];
  readonly rtt_us: readonly [number, number];
  readonly encoder: string;
};
