/** The player's choices, kept in this browser. */
import { effect, signal, type Signal } from "@preact/signals";
import { guessLayout, LAYOUTS } from "../input/layout.ts";

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

/** The layout that the player chose, or null for the guess. */
export const chosenLayout = kept<string | null>("layout", null, isLayout);
export const guessedLayout = signal("us");
export const volume = kept("volume", 1, isShare);
export const muted = kept("muted", false, isBoolean);
export const statsShown = kept("stats", false, isBoolean);

void guessLayout().then((layout) => (guessedLayout.value = layout));

export const keyboardLayout = (): string => chosenLayout.value ?? guessedLayout.value;
