/** The elements that a room works on. */
import type { Stage } from "../input/desk.ts";

export type RoomStage = Stage & {
  /** What goes fullscreen: the picture and everything over it. */
  readonly root: HTMLElement;
  /** Holds the last picture while there is no connection. */
  readonly frozen: HTMLCanvasElement;
};
