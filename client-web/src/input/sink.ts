/** Where input goes: typed events with their time on the performance clock, milliseconds. */
import type { InputEvent } from "../wire/codec.ts";

export type Sink = (event: InputEvent, atMs: number) => void;
