/** A node's ratio over time, as places on a plane. Pure: the page draws it. */
import type { Finding } from "./statement.ts";

export type Point = { readonly index: number; readonly at_s: number; readonly permille: number; readonly finding: Finding; readonly valid: boolean };
export type Dot = Point & { readonly x: number; readonly y: number };
export type Plot = {
  readonly dots: readonly Dot[];
  /** Through what passed and verified, as `points` of a polyline. */
  readonly line: string;
  readonly grid: readonly { readonly y: number; readonly permille: number }[];
  readonly from_s: number;
  readonly until_s: number;
};

/** The plane, and what is left around it for words. */
export const WIDTH = 640;
export const HEIGHT = 240;
export const LEFT = 44;
const [RIGHT, TOP, BOTTOM] = [12, 12, 28];

/** The greatest ratio that is shown: the reference at least, and some room above. */
function ceiling(points: readonly Point[]): number {
  const most = Math.max(1000, ...points.map((point) => point.permille));
  const step = most <= 2000 ? 500 : 10 ** Math.floor(Math.log10(most)) / 2;
  return Math.ceil((most * 1.05) / step) * step;
}

export function plot(points: readonly Point[]): Plot | null {
  if (points.length === 0) return null;
  const inOrder = [...points].sort((a, b) => a.at_s - b.at_s || a.index - b.index);
  const times = inOrder.map((point) => point.at_s);
  const [from_s, until_s] = [Math.min(...times), Math.max(...times)];
  const top = ceiling(points);
  const y = (permille: number): number => HEIGHT - BOTTOM - (permille / top) * (HEIGHT - TOP - BOTTOM);
  const span = until_s - from_s;
  const x = (at_s: number): number => LEFT + (span === 0 ? 0.5 : (at_s - from_s) / span) * (WIDTH - LEFT - RIGHT);
  const round = (value: number): number => Math.round(value * 10) / 10;
  const dots = inOrder.map((point) => ({ ...point, x: round(x(point.at_s)), y: round(y(point.permille)) }));
  const good = dots.filter((dot) => dot.valid && dot.finding === "pass");
  const grid = [0, 1000, top].filter((permille, n, all) => all.indexOf(permille) === n);
  return {
    dots,
    line: good.map((dot) => `${dot.x},${dot.y}`).join(" "),
    grid: grid.map((permille) => ({ permille, y: round(y(permille)) })),
    from_s,
    until_s,
  };
}
