/** What the probe sees in a page (probe.ts), and what it takes. */

import type { Notice } from "../../../client-web/src/wire/types.js";

/** One binary frame mark of the data channel `motion` (core/protocol/src/notice.rs), times in microseconds of the node. */
export interface FrameMark {
  rtp: number;
  frame: number;
  commit_us: number;
  captured_us: number;
  encoded_us: number;
  sent_us: number;
  /** The browser's own clock, or 0. */
  input_us: number;
  /** When the node got that input, or 0. */
  input_host_us: number;
}

/** One answer to a ping of the page's, which tells how the two clocks stand. */
export interface Pong {
  /** The page's clock when it asked, microseconds. */
  client_us: number;
  /** The node's clock when it answered, microseconds. */
  host_us: number;
  /** The page's clock when the answer came, microseconds. */
  back_us: number;
}

/** One frame that the video element presented. */
export interface SeenFrame {
  /** `performance.now()` of the callback. */
  at_ms: number;
  /** `rtpTimestamp` of the callback's metadata, where the browser gives one. */
  rtp: number | undefined;
  /** The cells of the grid that is watched, a number a row, the leftmost cell its highest bit; empty if there is none. */
  rows: number[];
}

/** Where the barcode of calibrate is, in pixels of a picture of `width` x `height` (docs/calibrate.md). */
export interface Grid {
  width: number;
  height: number;
  left: number;
  top: number;
  cell_width: number;
  cell_height: number;
  columns: number;
  rows: number;
}

export interface Loudness {
  /** Largest absolute sample since the last call, 0 to 1. */
  peak: number;
  /** Mean square of the samples since the last call. */
  energy: number;
  blocks: number;
}

/** Lives in the page as `nearlightProbe`. */
export interface Probe {
  peers: RTCPeerConnection[];
  channels: Map<string, RTCDataChannel>;
  marks: FrameMark[];
  pongs: Pong[];
  notices: Notice[];
  frames: SeenFrame[];
  /** Reads `grid` in every presented frame from now on. Its first row must have both colours. */
  watch(grid: Grid): void;
  /** Whole picture as `columns` x `rows` luma values. */
  thumbnail(columns: number, rows: number): number[];
  /** Starts listening to the received audio; answers the context's state. */
  listen(): Promise<string>;
  loudness(): Loudness;
}
