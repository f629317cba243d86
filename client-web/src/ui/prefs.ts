/** The player's choices, kept in this browser. */
import { computed, effect, signal, type Signal } from "@preact/signals";
import { guessLayout, LAYOUTS } from "../input/layout.ts";
import { CODECS, codecsIn, FPS_CHOICES, HEIGHT_CHOICES, KBPS_CHOICES, type Choices, type Codec } from "../stream/choices.ts";

function kept<T>(key: string, initial: T, valid: (value: unknown) => value is T): Signal<T> {
  const name = `nearlight.${key}`;
  let start = initial;
  try {
    const stored: unknown = JSON.parse(localStorage.getItem(name) ?? "null");
    if (valid(stored)) start = stored;
  } catch {
    // Storage is off or the value is from elsewhere: the default does.
  }
  const value = signal<T>(start);
  effect(() => {
    try {
      localStorage.setItem(name, JSON.stringify(value.value));
    } catch {
      // Private windows may refuse; the choice lasts for this page then.
    }
  });
  return value;
}

const isBoolean = (value: unknown): value is boolean => typeof value === "boolean";
const isShare = (value: unknown): value is number => typeof value === "number" && value >= 0 && value <= 1;
const isLayout = (value: unknown): value is string | null =>
  value === null || LAYOUTS.some((layout) => layout.name === value);

const isOneOf =
  <T extends number | string>(choices: readonly T[]) =>
  (value: unknown): value is T | null =>
    value === null || choices.some((choice) => choice === value);

/** The layout that the player chose, or null for the guess. */
export const chosenLayout = kept<string | null>("layout", null, isLayout);
export const guessedLayout = signal("us");
export const volume = kept("volume", 1, isShare);
export const muted = kept("muted", false, isBoolean);
export const statsShown = kept("stats", false, isBoolean);

/** The region that the player chose, or null for the nearest. One that is gone is not taken. */
export const chosenRegion = kept<string | null>("region", null, (value) => value === null || typeof value === "string");

/** What the stream may cost and show; null is "auto". */
export const kbpsMax = kept<number | null>("kbps-max", null, isOneOf(KBPS_CHOICES));
export const heightMax = kept<number | null>("height-max", null, isOneOf<number>(HEIGHT_CHOICES));
export const fpsMax = kept<number | null>("fps-max", null, isOneOf<number>(FPS_CHOICES));
export const dataSaver = kept("data-saver", false, isBoolean);
/** Whether the data saver was offered on a mobile network: once is enough. */
export const saverOffered = kept("data-saver-offered", false, isBoolean);
export const choices = computed<Choices>(() => ({
  kbpsMax: kbpsMax.value,
  heightMax: heightMax.value,
  fpsMax: fpsMax.value,
  dataSaver: dataSaver.value,
}));

/** The codecs that this browser decodes, and the one that the player prefers. */
export const codecs: readonly Codec[] = codecsIn(
  "RTCRtpReceiver" in globalThis ? (RTCRtpReceiver.getCapabilities("video")?.codecs ?? []).map(({ mimeType }) => mimeType) : [],
);
export const codec = kept<Codec | null>("codec", null, isOneOf(CODECS));

type ChoiceEvents = { readonly wish: (choices: Choices) => void; readonly codec: () => void };

/** Tells what the stream may cost and show, at once and after each change; and of another codec than now. */
export function followChoices(events: ChoiceEvents, signal: AbortSignal): void {
  const stopWish = choices.subscribe(events.wish);
  let preferred = codec.peek();
  const stopCodec = codec.subscribe((chosen) => {
    if (chosen !== preferred) events.codec();
    preferred = chosen;
  });
  signal.addEventListener("abort", () => [stopWish, stopCodec].forEach((stop) => stop()));
}

void guessLayout().then((layout) => (guessedLayout.value = layout));

export const keyboardLayout = (): string => chosenLayout.value ?? guessedLayout.value;
