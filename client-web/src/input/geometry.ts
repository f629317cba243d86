/**
 * From the page to the display: the picture is fitted into its element with bars left and right or
 * above and below, and 0..=65535 runs across the picture alone. Pure.
 */
import type { Position } from "../wire/codec.ts";

export type Box = { readonly left: number; readonly top: number; readonly width: number; readonly height: number };

/** The picture's box inside an element that shows it with `object-fit: contain`. */
export function pictureBox(element: Box, width: number, height: number): Box {
  if (width <= 0 || height <= 0 || element.width <= 0 || element.height <= 0) return element;
  const scale = Math.min(element.width / width, element.height / height);
  const shown = { width: width * scale, height: height * scale };
  return {
    left: element.left + (element.width - shown.width) / 2,
    top: element.top + (element.height - shown.height) / 2,
    ...shown,
  };
}

/** A place on the page as a place on the display; outside the picture it sticks to the edge. */
export function toDisplay(clientX: number, clientY: number, picture: Box): Position {
  const across = (at: number, from: number, size: number): number =>
    size <= 0 ? 0 : Math.round(Math.max(0, Math.min(1, (at - from) / size)) * 65535);
  return { x: across(clientX, picture.left, picture.width), y: across(clientY, picture.top, picture.height) };
}
