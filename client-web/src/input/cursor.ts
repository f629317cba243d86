/** The app's cursor as a value of CSS `cursor`: the browser draws it, with no round trip. Pure. */
import type { Cursor } from "../wire/types.ts";
import { assertNever } from "../wire/never.ts";

const NAMES: ReadonlySet<string> = new Set([
  "default", "none", "context-menu", "help", "pointer", "progress", "wait", "cell", "crosshair", "text",
  "vertical-text", "alias", "copy", "move", "no-drop", "not-allowed", "grab", "grabbing", "all-scroll",
  "col-resize", "row-resize", "n-resize", "e-resize", "s-resize", "w-resize", "ne-resize", "nw-resize",
  "se-resize", "sw-resize", "ew-resize", "ns-resize", "nesw-resize", "nwse-resize", "zoom-in", "zoom-out",
]);

export function cssCursor(cursor: Cursor): string {
  switch (cursor.kind) {
    case "hidden":
      return "none";
    case "named":
      return NAMES.has(cursor.name) ? cursor.name : "default";
    case "image":
      return `url("data:image/png;base64,${cursor.png}") ${cursor.hotspot_x} ${cursor.hotspot_y}, default`;
    default:
      return assertNever(cursor);
  }
}
