import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { cssCursor } from "../src/input/cursor.ts";
import { noticeGamepad } from "../src/input/gamepad.ts";
import { pictureBox, toDisplay } from "../src/input/geometry.ts";
import { Keyboard, type Shortcut } from "../src/input/keyboard.ts";
import { layoutByLanguage, layoutByPrint, LAYOUTS } from "../src/input/layout.ts";
import { displayRate, fitDisplay, screenRate } from "../src/input/screen.ts";
import { splitText } from "../src/input/text.ts";
import { WheelScale } from "../src/input/wheel.ts";
import type { InputEvent } from "../src/wire/codec.ts";

describe("geometry", () => {
  const wide = { left: 0, top: 0, width: 1600, height: 720 };
  it("finds the picture between the bars", () => {
    expect(pictureBox(wide, 1280, 720)).toEqual({ left: 160, top: 0, width: 1280, height: 720 });
    expect(pictureBox({ left: 10, top: 20, width: 640, height: 1000 }, 1280, 720)).toEqual({ left: 10, top: 340, width: 640, height: 360 });
  });
  it("takes the whole element while there is no picture", () => expect(pictureBox(wide, 0, 0)).toEqual(wide));
  it.each([
    [160, 0, 0, 0],
    [1440, 720, 65535, 65535],
    [800, 360, 32768, 32768],
    [0, -50, 0, 0],
    [1600, 9999, 65535, 65535],
  ])("puts %i,%i at %i,%i", (x, y, dx, dy) => {
    expect(toDisplay(x, y, pictureBox(wide, 1280, 720))).toEqual({ x: dx, y: dy });
  });
});

describe("the screen", () => {
  it.each([
    ["the window itself", 1280, 720, 1080, 1280, 720],
    ["even sides, and never more than the place has", 1283, 721, 1080, 1282, 720],
    ["less than the window, in its shape", 2560, 1440, 1080, 1920, 1080],
    ["a window with the browser's bars", 1920, 950, 720, 1454, 720],
    ["bars instead of a tower on a phone that stands", 1170, 2532, 1080, 1170, 876],
    ["bars instead of a slit on three screens in a row", 5760, 1080, 1080, 2560, 1080],
    ["something readable in a tiny window", 320, 180, 1080, 640, 360],
    ["something while the page has no size", 0, 0, 1080, 1280, 720],
  ])("asks for %s", (_, width, height, heightMax, w, h) => {
    expect(fitDisplay({ width, height }, heightMax)).toEqual({ width: w, height: h });
  });
  const frames = (hz: number, skipped: readonly number[] = []) =>
    Array.from({ length: 25 }, (_, i) => (1000 / hz) * i).filter((_, i) => !skipped.includes(i));
  it("reads its rate, also on a page that was held up", () => {
    expect(screenRate(frames(60))).toBeCloseTo(60);
    expect(screenRate(frames(144, [3, 4, 9, 15]))).toBeCloseTo(144);
    expect(screenRate([1, 2, 3])).toBeNull();
  });
  it.each([
    [59.94, 144, 60],
    [75, 144, 60],
    [90, 144, 90],
    [119.88, 144, 120],
    [165, 144, 144],
    [240, 60, 60],
    [30, 144, 60],
    [null, 144, 60],
    [60, 30, 30],
  ])("asks a display at %s Hz, at most %i, for %i", (screen, max, hz) => expect(displayRate(screen, { max })).toBe(hz));
  it("asks for what the player chose", () => expect(displayRate(60, { exact: 120 })).toBe(120));
});

describe("the wheel", () => {
  const sample = (deltaY: number, deltaMode: number, wheelDeltaY?: number) => ({
    deltaX: 0, deltaY, deltaMode, ...(wheelDeltaY !== undefined && { wheelDeltaY }),
  });
  it("counts a notch as 120 in pixels, lines and pages", () => {
    expect(new WheelScale().turn(sample(53, 0, -120))).toEqual({ dx: 0, dy: 120 });
    expect(new WheelScale().turn(sample(100, 0))).toEqual({ dx: 0, dy: 120 });
    expect(new WheelScale().turn(sample(3, 1))).toEqual({ dx: 0, dy: 120 });
    expect(new WheelScale().turn(sample(-1, 2))).toEqual({ dx: 0, dy: -120 });
  });
  it("keeps fractions for the next event", () => {
    const wheel = new WheelScale();
    expect(wheel.turn(sample(0.5, 0))).toBeNull();
    expect(wheel.turn(sample(0.5, 0))).toEqual({ dx: 0, dy: 1 });
  });
});

describe("text", () => {
  it("is cut between characters and holds no NUL", () => {
    expect(splitText("aé漢\0b", 3)).toEqual(["aé", "漢", "b"]);
    expect(splitText("", 10)).toEqual([]);
    expect(splitText("🎮🎮", 4)).toEqual(["🎮", "🎮"]);
  });
});

describe("the cursor", () => {
  it("is a CSS value, and never more than that", () => {
    expect(cssCursor({ kind: "hidden" })).toBe("none");
    expect(cssCursor({ kind: "named", name: "text" })).toBe("text");
    expect(cssCursor({ kind: "named", name: "url(https://example.org/x)" })).toBe("default");
    expect(cssCursor({ kind: "image", png: "iVBORw0=", hotspot_x: 3, hotspot_y: 4 })).toBe('url("data:image/png;base64,iVBORw0=") 3 4, default');
  });
});

describe("gamepads", () => {
  afterEach(() => vi.unstubAllGlobals());
  it("are told of once, and send nothing", () => {
    const page = new EventTarget();
    vi.stubGlobal("addEventListener", page.addEventListener.bind(page));
    let found = 0;
    noticeGamepad(() => (found += 1), new AbortController().signal);
    page.dispatchEvent(new Event("gamepadconnected"));
    page.dispatchEvent(new Event("gamepadconnected"));
    expect(found).toBe(1);
  });
});

describe("layouts", () => {
  const map = (keys: Record<string, string>) => new Map(Object.entries(keys));
  it.each([
    ["us", { KeyQ: "q", KeyY: "y", Semicolon: ";", Backslash: "\\" }],
    ["gb", { KeyQ: "q", Semicolon: ";", Backslash: "#" }],
    ["de", { KeyQ: "q", KeyY: "z", Minus: "ß", Semicolon: "ö" }],
    ["ch", { KeyQ: "q", KeyY: "z", Minus: "'", BracketLeft: "ü" }],
    ["fr", { KeyQ: "a", Minus: ")", Equal: "=" }],
    ["be", { KeyQ: "a", Minus: ")", Equal: "-" }],
    ["se", { KeyQ: "q", Semicolon: "ö", BracketLeft: "å" }],
  ])("tells %s by its print", (layout, keys) => expect(layoutByPrint(map(keys))).toBe(layout));
  it("says so where it cannot tell", () => expect(layoutByPrint(map({ KeyQ: "ض" }))).toBeNull());
  it.each([["de-CH", "ch"], ["de-AT", "de"], ["fr", "fr"], ["pt-BR", "br"], ["en-GB", "gb"], ["en-US", "us"], ["xx", "us"]])(
    "guesses by language: %s is %s",
    (language, layout) => expect(layoutByLanguage([language])).toBe(layout),
  );
  it("offers names that the wire takes", () => {
    for (const { name } of LAYOUTS) expect(name).toMatch(/^[A-Za-z0-9_-]{1,8}(\([A-Za-z0-9_-]{1,20}\))?$/);
  });
});

describe("the keyboard", () => {
  const sent: InputEvent[] = [];
  const shortcuts: Shortcut[] = [];
  let pasting: (() => void) | null = null;
  let live: boolean;
  let target: EventTarget;
  let keyboard: Keyboard;
  beforeEach(() => {
    vi.stubGlobal("navigator", { platform: "Linux x86_64" });
    sent.length = 0;
    shortcuts.length = 0;
    pasting = null;
    live = true;
    target = new EventTarget();
    keyboard = new Keyboard((event) => sent.push(event), {
      live: () => live,
      shortcut: (shortcut) => shortcuts.push(shortcut),
      paste: (go) => (pasting = go),
    });
    keyboard.attach(target as HTMLElement, new AbortController().signal);
  });
  afterEach(() => vi.unstubAllGlobals());

  const key = (type: "keydown" | "keyup", code: string, more: Partial<KeyboardEvent> = {}): Event => {
    const event = Object.assign(new Event(type, { cancelable: true }), { code, key: code, repeat: false, isComposing: false, keyCode: 1, ctrlKey: false, altKey: false, shiftKey: false, metaKey: false, ...more });
    target.dispatchEvent(event);
    return event;
  };
  const keys = () => sent.map((event) => (event.kind === "key" ? `${event.pressed ? "+" : "-"}${event.code}` : event.kind));

  it("sends a press and a release, and no repeat", () => {
    expect(key("keydown", "KeyA").defaultPrevented).toBe(true);
    key("keydown", "KeyA", { repeat: true });
    key("keyup", "KeyA");
    expect(keys()).toEqual(["+30", "-30"]);
  });
  it("sends no release of what it did not press", () => {
    key("keyup", "KeyA");
    key("keydown", "KeyB");
    keyboard.forget();
    key("keyup", "KeyB");
    expect(keys()).toEqual(["+48"]);
  });
  it("takes no key from the browser while the app is out of sight, but its own", () => {
    key("keydown", "KeyW");
    live = false;
    keyboard.forget();
    for (const code of ["Tab", "Enter", "Escape", "F5", "ArrowLeft", "KeyW"]) {
      expect(key("keydown", code).defaultPrevented, code).toBe(false);
      expect(key("keyup", code).defaultPrevented, code).toBe(false);
    }
    key("keydown", "F11");
    expect([keys(), shortcuts]).toEqual([["+17"], ["fullscreen"]]);
    live = true;
    key("keydown", "KeyW");
    expect(keys()).toEqual(["+17", "+17"]);
  });
  it("leaves composition to the input method", () => {
    expect(key("keydown", "KeyA", { isComposing: true }).defaultPrevented).toBe(false);
    key("keydown", "KeyA", { keyCode: 229 });
    expect(keys()).toEqual([]);
  });
  it("keeps its shortcuts from the app", () => {
    key("keydown", "KeyS", { ctrlKey: true, altKey: true });
    key("keydown", "KeyM", { ctrlKey: true, altKey: true });
    key("keydown", "F11");
    expect(shortcuts).toEqual(["stats", "menu", "fullscreen"]);
    expect(keys()).toEqual([]);
  });
  it("presses the key that pastes after the text, and lets the browser paste", () => {
    key("keydown", "ControlLeft");
    expect(key("keydown", "KeyV", { ctrlKey: true }).defaultPrevented).toBe(false);
    expect(keys()).toEqual(["+29"]);
    pasting?.();
    expect(keys()).toEqual(["+29", "+47"]);
  });
  it("takes back the control key that AltGr fakes on Windows", () => {
    key("keydown", "ControlLeft");
    key("keydown", "AltRight", { key: "AltGraph" });
    expect(keys()).toEqual(["+29", "-29", "+100"]);
  });
  it("lets all keys go with Command on a Mac", () => {
    vi.stubGlobal("navigator", { platform: "MacIntel" });
    key("keydown", "MetaLeft", { metaKey: true });
    key("keydown", "KeyC", { metaKey: true });
    expect(keyboard.modifierHeld).toBe(true);
    key("keyup", "MetaLeft");
    expect(keys()).toEqual(["+125", "+46", "-125", "-46"]);
    expect(keyboard.modifierHeld).toBe(false);
  });
  it("taps print screen, which comes as a release only", () => {
    key("keyup", "PrintScreen");
    expect(keys()).toEqual(["+99", "-99"]);
  });
});
