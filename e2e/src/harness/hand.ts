/**
 * A hand at a player's machine: what an app is told of it, and in figures; and a recorded one that plays in a browser.
 *
 * What is read is what libwayland and its like print with WAYLAND_DEBUG=client, with the moment that the node put on each
 * input. The figures are pure.
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./places.js";
import type { Player } from "./player.js";

/** An input as an app is told it: `what` says which key or button. */
export interface Act {
  readonly atMs: number;
  readonly kind: "move" | "wheel" | "down" | "up";
  readonly what: string;
}

const TOLD = /<- (wl_pointer|wl_keyboard)@\d+\.(motion|axis|button|key), \(([^)]*)\)/g;
/** Nothing happens for so long: the hand rests. */
const REST_MS = 200;
/** Moves that the browser has not yet answered for. */
const UNDER_WAY_MAX = 16;

/** What an app was told, from its log. */
export function actsOf(log: string): Act[] {
  return [...log.matchAll(TOLD)].map(([, , name, words = ""]): Act => {
    const [first = 0, second = 0, third = 0, fourth = 0] = words.split(", ").map(Number);
    if (name === "motion") return { atMs: first, kind: "move", what: "" };
    if (name === "axis") return { atMs: first, kind: "wheel", what: "" };
    return { atMs: second, kind: fourth === 1 ? "down" : "up", what: `${name} ${third}` };
  });
}

/** How long each key and button was down, in the order of their ups. */
function pressesMs(acts: readonly Act[]): number[] {
  const since = new Map<string, number>();
  const lengths: number[] = [];
  for (const { atMs, kind, what } of acts) {
    if (kind === "down") since.set(what, atMs);
    const down = kind === "up" ? since.get(what) : undefined;
    if (down !== undefined) lengths.push(atMs - down);
  }
  return lengths;
}

/** From each one to the next. */
export const gapsOf = (timesMs: readonly number[]): number[] => timesMs.slice(1).map((at, i) => at - (timesMs[i] ?? at));

/** The value below which `share` of them are. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
}

/** The middle and the 90th percentile of the gaps and lengths of all plays, and how often things came. Moves: within a motion. */
export function handOf(plays: readonly (readonly Act[])[]): Readonly<Record<string, number>> {
  const of = (kind: Act["kind"]): number[][] => plays.map((acts) => acts.filter((act) => act.kind === kind).map(({ atMs }) => atMs));
  const seconds = plays.reduce((sum, acts) => sum + ((acts.at(-1)?.atMs ?? 0) - (acts[0]?.atMs ?? 0)) / 1000, 0);
  const rests = plays.flatMap((acts) => gapsOf(acts.map(({ atMs }) => atMs))).filter((gap) => gap >= REST_MS);
  const moves = of("move").flatMap(gapsOf).filter((gap) => gap < REST_MS);
  const both = (name: string, values: readonly number[]): [string, number][] => [
    [`${name}-p50`, quantile(values, 0.5)],
    [`${name}-p90`, quantile(values, 0.9)],
  ];
  return Object.fromEntries([
    ["moves-a-second", of("move").flat().length / seconds],
    ...both("move-gap", moves),
    ...both("press-length", plays.flatMap(pressesMs)),
    ...both("press-gap", of("down").flatMap(gapsOf)),
    ["rests-a-minute", (60 * rests.length) / seconds],
    // One long rest moves the 90th percentile of so few.
    ["rest-length-p50", quantile(rests, 0.5)],
    ["rest-share", rests.reduce((sum, rest) => sum + rest, 0) / 1000 / seconds],
  ]);
}

const sleepUntil = (atMs: number): Promise<void> => new Promise((done) => setTimeout(done, Math.max(0, atMs - performance.now())));

/** The keys of the recording, as a browser calls them. */
const KEYS = new Map([["17", "KeyW"], ["30", "KeyA"], ["31", "KeyS"], ["32", "KeyD"], ["57", "Space"]]);

/**
 * Plays what is recorded from `fromMs` on for so long with a browser's mouse and keyboard. Moves wait for no answer, as a mouse
 * waits for nobody; what the browser cannot keep up with is left out.
 */
export async function playByHand(player: Player, fromMs: number, forMs: number): Promise<void> {
  const recording = readFileSync(join(ROOT, "player/recorded/hand-1.txt"), "utf8").split("\n").slice(1);
  const browser = await player.context.newCDPSession(player.page);
  const held = new Set<string>();
  let [x, y, underWay] = [640, 360, 0];
  const mouse = (type: "mouseMoved" | "mousePressed" | "mouseReleased" | "mouseWheel", more: object = {}): Promise<unknown> => {
    const buttons = held.has("0") ? 1 : 0;
    const pressed = type === "mouseMoved" && buttons === 0 ? "none" : "left";
    return browser.send("Input.dispatchMouseEvent", { type, x, y, buttons, button: pressed, clickCount: 1, pointerType: "mouse", ...more });
  };
  const begun = performance.now();
  for (const line of recording) {
    const [at = "", kind = "", a = "", b = ""] = line.split(" ");
    if (kind === "" || Number(at) < fromMs || Number(at) >= fromMs + forMs) continue;
    await sleepUntil(begun + Number(at) - fromMs);
    if (kind === "move") {
      [x, y] = [(Number(a) / 65_535) * 1279, (Number(b) / 65_535) * 719];
      if (underWay >= UNDER_WAY_MAX) continue;
      underWay += 1;
      void mouse("mouseMoved").catch(() => undefined).finally(() => (underWay -= 1));
    } else if (kind === "wheel") await mouse("mouseWheel", { button: "none", deltaX: Number(a), deltaY: Number(b) });
    else if (b === "1") {
      held.add(a);
      if (kind === "button") await mouse("mousePressed");
      else await player.page.keyboard.down(KEYS.get(a) ?? "KeyA");
    } else if (held.delete(a)) {
      if (kind === "button") await mouse("mouseReleased");
      else await player.page.keyboard.up(KEYS.get(a) ?? "KeyA");
    }
  }
  if (held.has("0")) await mouse("mouseReleased");
  for (const key of held) if (key !== "0") await player.page.keyboard.up(KEYS.get(key) ?? "KeyA");
  await browser.detach();
}
