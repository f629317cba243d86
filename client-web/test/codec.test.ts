import { describe, expect, it } from "vitest";
import vectors from "../../core/protocol/vectors/input.json";
import { TRAIN_BYTES, decodeMark, encodePacket, type InputEvent, type Packet } from "../src/wire/codec.ts";
import { parseNotice } from "../src/wire/notice.ts";

const packet = (seq: number, clientUs: bigint, event: InputEvent): Packet => ({ seq, clientUs, event });

/** What the shared vectors stand for, by name: core/protocol/src/input/test.rs has the same list. */
const PACKETS: Readonly<Record<string, Packet>> = {
  "key down": packet(1, 1000n, { kind: "key", code: 30, pressed: true }),
  "key up": packet(2, 2000n, { kind: "key", code: 30, pressed: false }),
  text: packet(3, 3000n, { kind: "text", text: "né漢" }),
  "pointer absolute": packet(4, 4000n, { kind: "pointer-absolute", x: 0, y: 65535 }),
  "pointer relative": packet(5, 5000n, { kind: "pointer-relative", dx: -256, dy: 384 }),
  "button with position": packet(6, 6000n, {
    kind: "pointer-button",
    button: 2,
    pressed: true,
    position: { x: 1, y: 2 },
  }),
  "button while locked": packet(7, 7000n, { kind: "pointer-button", button: 0, pressed: false, position: null }),
  wheel: packet(8, 8000n, { kind: "wheel", dx: -120, dy: 240 }),
  "release all": packet(9, 9000n, { kind: "release-all" }),
  clipboard: packet(10, 10000n, { kind: "clipboard", text: "hello" }),
  layout: packet(11, 11000n, { kind: "layout", layout: "us(intl)" }),
  ping: packet(12, 0xffff_ffff_ffff_ffffn, { kind: "ping" }),
  gamepad: packet(13, 13000n, { kind: "gamepad", seat: 3, buttons: 0x8000_0001, axes: [-32768, 0, 32767, 1, 2, 3] }),
  touch: packet(0xffff_ffff, 14000n, { kind: "touch", id: 9, phase: 2, x: 5, y: 6 }),
  display: packet(15, 15000n, { kind: "display", width: 2560, height: 1440, hz: 144 }),
  phase: packet(17, 17000n, { kind: "phase", shiftUs: -4000 }),
  shown: packet(18, 18000n, {
    kind: "shown",
    frames: [
      { decodeMs: 1.5, presentMs: 0x0403 / 100 },
      { decodeMs: -1, presentMs: 5_000 },
    ],
  }),
  wish: packet(16, 16000n, { kind: "wish", kbpsMax: 0x01_02_03, heightMax: 720, fpsMax: 60 }),
};

const hex = (bytes: Uint8Array): string => [...bytes].map((b) => b.toString(16).padStart(2, "0")).join("");

describe("input packets", () => {
  it("covers every shared vector", () => {
    expect(Object.keys(PACKETS).sort()).toEqual(vectors.map(([name]) => name).sort());
  });
  it.each(vectors.map(([name, bytes]) => ({ name, bytes })))("$name", ({ name, bytes }) => {
    const packet = PACKETS[name ?? ""];
    expect(packet && hex(encodePacket(packet))).toBe(bytes);
  });
  it("clamps what does not fit", () => {
    const bytes = encodePacket(packet(1, 0n, { kind: "pointer-absolute", x: -3, y: 70000 }));
    expect(hex(bytes).slice(28)).toBe("0000ffff");
  });
});

describe("marks", () => {
  const mark = (kind: number, ...fields: readonly [number, bigint][]): ArrayBuffer => {
    const size = fields.reduce((sum, [width]) => sum + width, 2);
    const view = new DataView(new ArrayBuffer(size));
    view.setUint8(0, 1);
    view.setUint8(1, kind);
    let at = 2;
    for (const [width, value] of fields) {
      if (width === 4) view.setUint32(at, Number(value), true);
      else view.setBigUint64(at, value, true);
      at += width;
    }
    return view.buffer;
  };

  it("reads a pong", () => {
    expect(decodeMark(mark(0x81, [8, 5n], [8, 9n]))).toEqual({
      ok: true,
      mark: { kind: "pong", clientUs: 5, hostUs: 9 },
    });
  });
  it("reads a frame", () => {
    const bytes = mark(0x82, [4, 0xffff_ffffn], [4, 7n], [8, 1n], [8, 2n], [8, 3n], [8, 4n], [8, 5n], [8, 6n]);
    expect(decodeMark(bytes)).toEqual({
      ok: true,
      mark: { kind: "frame", rtpTimestamp: 0xffff_ffff, frame: 7, commitUs: 1, capturedUs: 2, encodedUs: 3, sentUs: 4, inputUs: 5, inputHostUs: 6 },
    });
  });
  it("reads one message of a train, whatever its padding, at its one size", () => {
    const bytes = new Uint8Array(TRAIN_BYTES).fill(0xee);
    bytes.set([1, 0x83, 2, 2, 1, 4, 3, 5, 0, 0, 0, 0, 0, 0, 0]);
    expect(decodeMark(bytes.buffer)).toEqual({
      ok: true,
      mark: { kind: "train", train: 2, seq: 0x0102, count: 0x0304, sentUs: 5 },
    });
    expect(decodeMark(bytes.buffer.slice(1))).toEqual({ ok: false, why: "version" });
    expect(decodeMark(bytes.buffer.slice(0, -1))).toEqual({ ok: false, why: "unknown" });
  });
  it("tells another version from garbage", () => {
    expect(decodeMark(new Uint8Array([2, 0x81]).buffer)).toEqual({ ok: false, why: "version" });
    expect(decodeMark(new Uint8Array([1, 0x81, 0]).buffer)).toEqual({ ok: false, why: "unknown" });
    expect(decodeMark(new ArrayBuffer(0))).toEqual({ ok: false, why: "unknown" });
  });
});

const STREAM = {
  kbps_target: 8_000, kbps_path: 9_000, rtt_ms: 20, queue_ms: 1, loss_permille: 0, width: 1280, height: 720, fps_max: 60,
  encoder: "x264enc", limited_by: "nothing", repair: "rtx",
};

describe("notices", () => {
  it.each([
    { notice: "cursor", cursor: { kind: "hidden" } },
    { notice: "cursor", cursor: { kind: "named", name: "text" } },
    { notice: "cursor", cursor: { kind: "image", png: "iVBORw0KGgo=", hotspot_x: 1, hotspot_y: 2 } },
    { notice: "clipboard", text: "x" },
    { notice: "pointer-lock", wanted: true },
    { notice: "display", width: 640, height: 480 },
    { notice: "ending-soon", reason: "idle-timeout", in_s: 60 },
    { notice: "goes-on" },
    { notice: "stream", stream: STREAM },
    { notice: "stream", stream: { ...STREAM, limited_by: "operator", kbps_max: 12_960 } },
    { notice: "detached", reason: "taken-over" },
    { notice: "ended", reason: "app-exited" },
  ])("$notice", (notice) => {
    expect(parseNotice(JSON.stringify(notice))).toEqual(notice);
  });
  it.each([
    "",
    "[]",
    "null",
    '{"notice":"cursor"}',
    '{"notice":"cursor","cursor":{"kind":"image","png":"\\")x","hotspot_x":0,"hotspot_y":0}}',
    '{"notice":"ended","reason":"because"}',
    '{"notice":"ending-soon","reason":"time-limit","in_s":-1}',
    JSON.stringify({ notice: "stream", stream: { ...STREAM, kbps_max: "much" } }),
    JSON.stringify({ notice: "stream", stream: { ...STREAM, limited_by: "whim" } }),
    '{"notice":"unheard-of"}',
  ])("refuses %s", (json) => expect(parseNotice(json)).toBeNull());
});
