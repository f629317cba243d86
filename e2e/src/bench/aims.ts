/**
 * What a figure is to come to. Aims stand where figures are explained: in the first cell of a row of docs/performance.md,
 * behind the figure's name, as `name` <= 10, `name` < 10, `name` >= 10 or `name` 10 to 20. So a page and a bench cannot differ.
 */

/** How a figure is bounded; both ends of a range are within it. */
export type Aim =
  | { readonly bound: "<=" | "<" | ">="; readonly than: number }
  | { readonly bound: "to"; readonly from: number; readonly to: number };

const NAME = "`([a-z]+\\.\\w+)`";
const NUMBER = "(\\d+(?:\\.\\d+)?)";
const FIGURE = new RegExp(`^${NAME}(?: (?:(<=|<|>=) ${NUMBER}|${NUMBER} to ${NUMBER}))?$`);

/** The aims of a page, by the figures' names; each figure that the page explains is there, without one `undefined`. */
export function aimsOf(page: string): Map<string, Aim | undefined> {
  const found = new Map<string, Aim | undefined>();
  for (const line of page.split("\n")) {
    const cell = /^\| (`[a-z]+\.\w+`[^|]*) \|/.exec(line)?.[1];
    for (const part of cell?.split(", ") ?? []) {
      const figure = FIGURE.exec(part);
      const name = figure?.[1];
      if (!name) throw new Error(`${part} is no figure with or without an aim: ${line}`);
      if (found.has(name)) throw new Error(`${name} is explained twice`);
      found.set(name, aimIn(figure));
    }
  }
  return found;
}

function aimIn([, , bound, than, from, to]: RegExpExecArray): Aim | undefined {
  if (bound === "<=" || bound === "<" || bound === ">=") return { bound, than: Number(than) };
  return from === undefined ? undefined : { bound: "to", from: Number(from), to: Number(to) };
}

export function isMet(aim: Aim, value: number): boolean {
  switch (aim.bound) {
    case "<=":
      return value <= aim.than;
    case "<":
      return value < aim.than;
    case ">=":
      return value >= aim.than;
    case "to":
      return value >= aim.from && value <= aim.to;
  }
}

/** As the page has it. */
export function text(aim: Aim): string {
  return aim.bound === "to" ? `${aim.from} to ${aim.to}` : `${aim.bound} ${aim.than}`;
}
