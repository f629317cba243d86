/**
 * Which keyboard the player has. The browser tells what a few keys write (Keyboard Map, Chromium
 * only); elsewhere the language is the best guess there is. The player has the last word.
 */

export const LAYOUTS: readonly { readonly name: string; readonly title: string }[] = [
  { name: "us", title: "English (US)" },
  { name: "us(intl)", title: "English (US, international)" },
  { name: "gb", title: "English (UK)" },
  { name: "de", title: "German" },
  { name: "ch", title: "Swiss German" },
  { name: "ch(fr)", title: "Swiss French" },
  { name: "fr", title: "French" },
  { name: "be", title: "Belgian" },
  { name: "es", title: "Spanish" },
  { name: "latam", title: "Spanish (Latin America)" },
  { name: "it", title: "Italian" },
  { name: "pt", title: "Portuguese" },
  { name: "br", title: "Portuguese (Brazil)" },
  { name: "se", title: "Swedish" },
  { name: "no", title: "Norwegian" },
  { name: "dk", title: "Danish" },
  { name: "fi", title: "Finnish" },
  { name: "pl", title: "Polish" },
  { name: "cz", title: "Czech" },
  { name: "hu", title: "Hungarian" },
  { name: "tr", title: "Turkish" },
  { name: "ru", title: "Russian" },
  { name: "ua", title: "Ukrainian" },
  { name: "gr", title: "Greek" },
  { name: "jp", title: "Japanese" },
  { name: "kr", title: "Korean" },
  { name: "us(dvorak)", title: "Dvorak" },
  { name: "us(colemak)", title: "Colemak" },
];

/** What a few keys write, on layouts that they tell apart. First match wins. */
const PRINTS: readonly { readonly layout: string; readonly keys: Readonly<Record<string, string>> }[] = [
  { layout: "be", keys: { KeyQ: "a", Minus: ")", Equal: "-" } },
  { layout: "fr", keys: { KeyQ: "a" } },
  { layout: "ch(fr)", keys: { KeyY: "z", BracketLeft: "è" } },
  { layout: "ch", keys: { KeyY: "z", Minus: "'" } },
  { layout: "de", keys: { KeyY: "z", Minus: "ß" } },
  { layout: "cz", keys: { KeyY: "z", Digit2: "ě" } },
  { layout: "hu", keys: { KeyY: "z", Digit0: "ö" } },
  { layout: "us(dvorak)", keys: { KeyQ: "'" } },
  { layout: "us(colemak)", keys: { KeyE: "f", KeyS: "r" } },
  { layout: "ru", keys: { KeyQ: "й", KeyS: "ы" } },
  { layout: "ua", keys: { KeyQ: "й", KeyS: "і" } },
  { layout: "gr", keys: { KeyE: "ε" } },
  { layout: "tr", keys: { KeyI: "ı" } },
  { layout: "no", keys: { Semicolon: "ø" } },
  { layout: "dk", keys: { Semicolon: "æ" } },
  { layout: "it", keys: { Semicolon: "ò" } },
  { layout: "br", keys: { Semicolon: "ç", BracketLeft: "´" } },
  { layout: "pt", keys: { Semicolon: "ç" } },
  { layout: "latam", keys: { Semicolon: "ñ", Minus: "'", Equal: "¿" } },
  { layout: "es", keys: { Semicolon: "ñ" } },
  { layout: "se", keys: { Semicolon: "ö", BracketLeft: "å" } },
  { layout: "jp", keys: { BracketLeft: "@" } },
  { layout: "gb", keys: { Backslash: "#", Semicolon: ";" } },
];

const LANGUAGES: Readonly<Record<string, string>> = {
  "en-gb": "gb", "en-ie": "gb", "de-ch": "ch", de: "de", "fr-ch": "ch(fr)", "fr-be": "be", "nl-be": "be", fr: "fr",
  "es-es": "es", es: "latam", it: "it", "pt-br": "br", pt: "pt", sv: "se", nb: "no", nn: "no", no: "no",
  da: "dk", fi: "fi", pl: "pl", cs: "cz", hu: "hu", tr: "tr", ru: "ru", uk: "ua", el: "gr", ja: "jp", ko: "kr",
};

/** The layout by what keys write, or null where the map is one we cannot tell. */
export function layoutByPrint(map: ReadonlyMap<string, string>): string | null {
  const found = PRINTS.find(({ keys }) => Object.entries(keys).every(([code, letter]) => map.get(code) === letter));
  if (found) return found.layout;
  return map.get("KeyQ") === "q" && map.get("Semicolon") === ";" ? "us" : null;
}

/** The layout by the browser's languages, `us` where they tell nothing. */
export function layoutByLanguage(languages: readonly string[]): string {
  const tag = (languages[0] ?? "").toLowerCase();
  return LANGUAGES[tag] ?? LANGUAGES[tag.split("-")[0] ?? ""] ?? "us";
}

type KeyboardWithMap = { readonly getLayoutMap?: () => Promise<ReadonlyMap<string, string>> };

export async function guessLayout(): Promise<string> {
  const keyboard = (navigator as Navigator & { readonly keyboard?: KeyboardWithMap }).keyboard;
  try {
    const map = await keyboard?.getLayoutMap?.();
    const layout = map && map.size > 0 ? layoutByPrint(map) : null;
    if (layout) return layout;
  } catch {
    // Not allowed here: the language has to do.
  }
  return layoutByLanguage(navigator.languages);
}
