import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Screen } from "../src/input/screen.ts";
import { Link, type LinkEvents } from "../src/stream/link.ts";
import type { InputEvent } from "../src/wire/codec.ts";

class Channel extends EventTarget {
  readyState = "connecting";
  bufferedAmount = 0;
  binaryType = "";
  readonly sent: Uint8Array[] = [];
  send(packet: Uint8Array): void {
    this.sent.push(packet);
  }
  open(): void {
    this.readyState = "open";
    this.dispatchEvent(new Event("open"));
  }
  hear(data: unknown): void {
    this.dispatchEvent(new MessageEvent("message", { data }));
  }
}

class Peer extends EventTarget {
  readonly channels: Record<string, Channel> = {};
  createDataChannel(label: string): Channel {
    return (this.channels[label] = new Channel());
  }
  close(): void {}
}

const WISH: InputEvent = { kind: "wish", kbpsMax: 3000, heightMax: 0, fpsMax: 0 };
const READY = JSON.stringify({ notice: "ready" });

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("RTCPeerConnection", Peer);
  vi.stubGlobal("MediaStream", class {});
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

function linked(): { link: Link; motion: Channel; control: Channel; ready: () => number } {
  const nothing = (): void => undefined;
  const ready = vi.fn();
  const events: LinkEvents = { connected: nothing, lost: nothing, notice: nothing, mark: nothing, ready, foreignVersion: nothing, candidates: nothing };
  const link = new Link(events);
  const { motion, control } = (link.peer as unknown as Peer).channels;
  if (!motion || !control) throw new Error("two channels");
  return { link, motion, control, ready: () => ready.mock.calls.length };
}

describe("what a new attachment is told", () => {
  it("is not said before the node was heard, which would lose it", () => {
    const { link, motion, control, ready } = linked();
    motion.open();
    control.open();
    expect(link.send(WISH, 0)).toBe(false);
    expect(ready()).toBe(0);
    control.hear(READY);
    expect(ready()).toBe(1);
    expect(link.send(WISH, 0)).toBe(true);
    expect(control.sent).toHaveLength(1);
    control.hear(READY);
    expect(ready()).toBe(1);
    link.close();
  });

  it("says how frames were shown only to a node that says that it hears it", () => {
    const { link, motion, control } = linked();
    motion.open();
    control.open();
    const shown: InputEvent = { kind: "shown", frames: [{ decodeMs: 1, presentMs: 2 }] };
    control.hear(READY);
    expect(link.send(shown, 0)).toBe(false);
    expect(link.send(WISH, 0)).toBe(true);
    control.hear(JSON.stringify({ notice: "ready", hears_shown: true }));
    expect(link.send(shown, 0)).toBe(true);
    expect(control.sent).toHaveLength(2);
    link.close();
  });

  it("is said to a node of an older version, which has no greeting", () => {
    const { link, motion, control, ready } = linked();
    motion.open();
    // No answer can be given on a channel that is not open.
    motion.hear(new ArrayBuffer(0));
    expect(ready()).toBe(0);
    control.open();
    motion.hear(new ArrayBuffer(0));
    expect(ready()).toBe(1);
    link.close();
  });

  it("pings from the beginning: they find out", () => {
    const { link, motion, control } = linked();
    motion.open();
    vi.advanceTimersByTime(500);
    expect(motion.sent.length).toBeGreaterThan(0);
    expect(control.sent).toHaveLength(0);
    link.close();
  });

  it("has the display also where the page gets its size later, as in the background", async () => {
    let resized: (entries: unknown[]) => void = () => undefined;
    vi.stubGlobal("ResizeObserver", class {
      constructor(then: typeof resized) {
        resized = then;
      }
      observe(): void {}
      disconnect(): void {}
    });
    vi.stubGlobal("document", Object.assign(new EventTarget(), { hidden: true }));
    vi.stubGlobal("devicePixelRatio", 1);
    const told: InputEvent[] = [];
    const screen = new Screen((event) => void told.push(event), () => ({ heightMax: 1080, hz: { max: 60 } }));
    const over = new AbortController();
    screen.attach({} as HTMLElement, over.signal);
    screen.announce();
    expect(told).toEqual([]);
    resized([{ contentRect: { width: 1280, height: 720 } }]);
    await vi.runAllTimersAsync();
    expect(told).toEqual([{ kind: "display", width: 1280, height: 720, hz: 60 }]);
    over.abort();
  });
});
