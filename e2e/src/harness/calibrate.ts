/** Reads the picture of the app `calibrate`; docs/calibrate.md is the specification of what is in it. */

import type { Grid, SeenFrame } from "./seen.js";

/** Geometry at 1280x720. */
export const BARCODE: Grid = {
  width: 1280,
  height: 720,
  left: 0,
  top: 0,
  cell_width: 16,
  cell_height: 16,
  columns: 32,
  rows: 8,
};

export interface Reading {
  /** Commits so far, this one included. */
  counter: number;
  /** Key and button presses so far, modulo 256. */
  inputs: number;
  /** The background is light. Every press flips it. */
  light: boolean;
  /** The pointer is locked. */
  locked: boolean;
  pointerInside: boolean;
  keyboard: boolean;
  sound: boolean;
  immediate: boolean;
  /** Evdev code of the key or button pressed last, or 0. */
  code: number;
  /** Whole pixels. */
  pointer: { x: number; y: number };
  /** Sum of all relative motion, whole pixels, wrapping at 16 bits. */
  relative: { x: number; y: number };
  wheel: { x: number; y: number };
  /** CRC-32 of the clipboard text read last, or 0. */
  clipboard: number;
}

const SYNC = 0xaaaaaaaa;

/** What the rows say; nothing if the picture is no calibrate picture or the codec blurred it. */
export function decode(rows: readonly number[]): Reading | undefined {
  if (rows.length !== 8) return undefined;
  const bytes = new Uint8Array(32);
  const view = new DataView(bytes.buffer);
  rows.forEach((row, i) => view.setUint32(4 * i, row));
  if (view.getUint32(0) !== SYNC) return undefined;
  if (crc32(bytes.subarray(4, 28)) !== view.getUint32(28)) return undefined;
  const flags = view.getUint8(9);
  const flag = (bit: number): boolean => (flags & (1 << bit)) !== 0;
  return {
    counter: view.getUint32(4),
    inputs: view.getUint8(8),
    light: flag(0),
    locked: flag(1),
    pointerInside: flag(2),
    keyboard: flag(3),
    sound: flag(4),
    immediate: flag(5),
    code: view.getUint16(10),
    pointer: { x: view.getUint16(12), y: view.getUint16(14) },
    relative: { x: view.getInt16(16), y: view.getInt16(18) },
    wheel: { x: view.getInt16(20), y: view.getInt16(22) },
    clipboard: view.getUint32(24),
  };
}

/** Every reading among the frames, oldest first, and how many frames could not be read. */
export function decodeAll(frames: readonly SeenFrame[]): { readings: Reading[]; unreadable: number } {
  const readings = frames.map((frame) => decode(frame.rows)).filter((reading) => reading !== undefined);
  return { readings, unreadable: frames.length - readings.length };
}

/** CRC-32 as zip has it; of text, of its UTF-8. */
export function crc32(of: Uint8Array | string): number {
  const bytes = typeof of === "string" ? new TextEncoder().encode(of) : of;
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (0xedb88320 & -(crc & 1));
  }
  return ~crc >>> 0;
}

/** Adds motion as the barcode does: 16 bits, wrapping. */
export function wrap16(value: number): number {
  return (value << 16) >> 16;
}
