/**
 * Binary wire between browser and edge: input packets out, marks in. The layout is the table in
 * core/protocol/src/input.rs and notice.rs; the vectors in core/protocol/vectors/input.json are
 * run by both languages.
 *
 * Owns: bytes <-> values. Does not know: channels, clocks, the DOM.
 */
import { assertNever } from "./never.ts";

export const INPUT_VERSION = 1;
const MARK_VERSION = 1;
const HEADER_BYTES = 14;
/** Size of one message of a train, as the edge pads it. */
export const TRAIN_BYTES = 1100;

export type TouchPhase = 0 | 1 | 2 | 3;
export type Position = { readonly x: number; readonly y: number };

/** What the player did. Coordinates are 0..=65535 across the display. */
export type InputEvent =
  | { readonly kind: "key"; readonly code: number; readonly pressed: boolean }
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "pointer-absolute"; readonly x: number; readonly y: number }
  | { readonly kind: "pointer-relative"; readonly dx: number; readonly dy: number }
  | {
      readonly kind: "pointer-button";
      readonly button: number;
      readonly pressed: boolean;
      readonly position: Position | null;
    }
  | { readonly kind: "wheel"; readonly dx: number; readonly dy: number }
  | { readonly kind: "release-all" }
  | { readonly kind: "clipboard"; readonly text: string }
  | { readonly kind: "layout"; readonly layout: string }
  | { readonly kind: "ping" }
  | { readonly kind: "gamepad"; readonly seat: number; readonly buttons: number; readonly axes: readonly number[] }
  | { readonly kind: "touch"; readonly id: number; readonly phase: TouchPhase; readonly x: number; readonly y: number }
  | { readonly kind: "display"; readonly width: number; readonly height: number; readonly hz: number }
  | { readonly kind: "wish"; readonly kbpsMax: number; readonly heightMax: number; readonly fpsMax: number }
  | { readonly kind: "phase"; readonly shiftUs: number }
  | { readonly kind: "shown"; readonly frames: readonly Shown[] };

/** What the browser's own stages took of a frame. */
export type Shown = { readonly decodeMs: number; readonly presentMs: number };

/** What is sent without the player doing anything. */
export const QUIET: ReadonlySet<InputEvent["kind"]> = new Set(["ping", "release-all", "layout", "display", "wish", "phase", "shown"]);

export type Packet = { readonly seq: number; readonly clientUs: bigint; readonly event: InputEvent };

/** A binary mark from the edge. Host times are the node's monotonic clock, microseconds. */
export type Mark =
  | { readonly kind: "pong"; readonly clientUs: number; readonly hostUs: number }
  | {
      readonly kind: "frame";
      readonly rtpTimestamp: number;
      readonly frame: number;
      readonly commitUs: number;
      readonly capturedUs: number;
      readonly encodedUs: number;
      readonly sentUs: number;
      readonly inputUs: number;
      readonly inputHostUs: number;
    }
  /** One message of a line check's train, TRAIN_BYTES long on the wire. */
  | { readonly kind: "train"; readonly train: number; readonly seq: number; readonly count: number; readonly sentUs: number };

const KIND: Readonly<Record<InputEvent["kind"], number>> = {
  key: 0x01,
  text: 0x02,
  "pointer-absolute": 0x03,
  "pointer-relative": 0x04,
  "pointer-button": 0x05,
  wheel: 0x06,
  "release-all": 0x07,
  clipboard: 0x08,
  layout: 0x09,
  ping: 0x0a,
  gamepad: 0x0b,
  touch: 0x0c,
  display: 0x0d,
  wish: 0x0e,
  phase: 0x0f,
  shown: 0x10,
};

/** The packet as bytes. Values out of range are clamped: a packet that we make is always valid. */
export function encodePacket(packet: Packet): Uint8Array<ArrayBuffer> {
  const body = textOf(packet.event);
  const size = HEADER_BYTES + (body ? body.length : bodyBytes(packet.event));
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, INPUT_VERSION);
  view.setUint8(1, KIND[packet.event.kind]);
  view.setUint32(2, packet.seq >>> 0, true);
  view.setBigUint64(6, packet.clientUs, true);
  if (body) bytes.set(body, HEADER_BYTES);
  else writeBody(view, packet.event);
  return bytes;
}

const utf8 = new TextEncoder();

function textOf(event: InputEvent): Uint8Array | null {
  if (event.kind === "text" || event.kind === "clipboard") return utf8.encode(event.text);
  if (event.kind === "layout") return utf8.encode(event.layout);
  return null;
}

function bodyBytes(event: InputEvent): number {
  switch (event.kind) {
    case "key":
      return 3;
    case "pointer-absolute":
    case "wheel":
      return 4;
    case "pointer-relative":
      return 8;
    case "pointer-button":
      return 7;
    case "gamepad":
      return 17;
    case "touch":
    case "display":
      return 6;
    case "wish":
      return 8;
    case "phase":
      return 2;
    case "shown":
      return 4 * event.frames.length;
    case "release-all":
    case "ping":
    case "text":
    case "clipboard":
    case "layout":
      return 0;
    default:
      return assertNever(event);
  }
}

function clamp(value: number, low: number, high: number): number {
  return Math.max(low, Math.min(high, Math.round(value)));
}

const u16 = (value: number): number => clamp(value, 0, 0xffff);
const i16 = (value: number): number => clamp(value, -0x8000, 0x7fff);
const i32 = (value: number): number => clamp(value, -0x8000_0000, 0x7fff_ffff);

const writeU16s = (view: DataView, values: readonly number[]): void =>
  values.forEach((value, i) => view.setUint16(HEADER_BYTES + 2 * i, u16(value), true));

function writeBody(view: DataView, event: InputEvent): void {
  const at = HEADER_BYTES;
  switch (event.kind) {
    case "key":
      view.setUint16(at, event.code, true);
      view.setUint8(at + 2, event.pressed ? 1 : 0);
      return;
    case "pointer-absolute":
      return writeU16s(view, [event.x, event.y]);
    case "pointer-relative":
      view.setInt32(at, i32(event.dx), true);
      view.setInt32(at + 4, i32(event.dy), true);
      return;
    case "pointer-button":
      view.setUint8(at, event.button);
      view.setUint8(at + 1, event.pressed ? 1 : 0);
      view.setUint16(at + 2, u16(event.position?.x ?? 0), true);
      view.setUint16(at + 4, u16(event.position?.y ?? 0), true);
      view.setUint8(at + 6, event.position ? 1 : 0);
      return;
    case "wheel":
      view.setInt16(at, i16(event.dx), true);
      view.setInt16(at + 2, i16(event.dy), true);
      return;
    case "gamepad":
      view.setUint8(at, event.seat);
      view.setUint32(at + 1, event.buttons >>> 0, true);
      for (let i = 0; i < 6; i += 1) view.setInt16(at + 5 + 2 * i, i16(event.axes[i] ?? 0), true);
      return;
    case "touch":
      view.setUint8(at, event.id);
      view.setUint8(at + 1, event.phase);
      view.setUint16(at + 2, u16(event.x), true);
      view.setUint16(at + 4, u16(event.y), true);
      return;
    case "display":
      return writeU16s(view, [event.width, event.height, event.hz]);
    case "shown":
      return writeU16s(view, event.frames.flatMap((frame) => [frame.decodeMs * 100, frame.presentMs * 100]));
    case "wish":
      view.setUint32(at, clamp(event.kbpsMax, 0, 0xffff_ffff), true);
      view.setUint16(at + 4, u16(event.heightMax), true);
      view.setUint16(at + 6, u16(event.fpsMax), true);
      return;
    case "phase":
      view.setInt16(at, i16(event.shiftUs), true);
      return;
    case "release-all":
    case "ping":
    case "text":
    case "clipboard":
    case "layout":
      return;
    default:
      assertNever(event);
  }
}

/** What the edge said in a binary message: a mark, another version of this wire, or nothing known. */
export type MarkResult = { readonly ok: true; readonly mark: Mark } | { readonly ok: false; readonly why: "version" | "unknown" };

export function decodeMark(buffer: ArrayBuffer): MarkResult {
  const view = new DataView(buffer);
  if (view.byteLength < 2) return { ok: false, why: "unknown" };
  if (view.getUint8(0) !== MARK_VERSION) return { ok: false, why: "version" };
  // Monotonic microseconds fit 2^53 for 285 years.
  const u64 = (at: number): number => Number(view.getBigUint64(at, true));
  const kind = view.getUint8(1);
  if (kind === 0x81 && view.byteLength === 18) {
    return { ok: true, mark: { kind: "pong", clientUs: u64(2), hostUs: u64(10) } };
  }
  if (kind === 0x82 && view.byteLength === 58) {
    const mark: Mark = {
      kind: "frame",
      rtpTimestamp: view.getUint32(2, true),
      frame: view.getUint32(6, true),
      commitUs: u64(10),
      capturedUs: u64(18),
      encodedUs: u64(26),
      sentUs: u64(34),
      inputUs: u64(42),
      inputHostUs: u64(50),
    };
    return { ok: true, mark };
  }
  if (kind === 0x83 && view.byteLength === TRAIN_BYTES) {
    const mark: Mark = {
      kind: "train",
      train: view.getUint8(2),
      seq: view.getUint16(3, true),
      count: view.getUint16(5, true),
      sentUs: u64(7),
    };
    return { ok: true, mark };
  }
  return { ok: false, why: "unknown" };
}
