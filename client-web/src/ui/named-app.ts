/**
 * The app that the lobby's address names (`/?app=ID`, as `nearlight play` prints it): its card is brought into view and
 * marked, and its button has the focus. Nothing starts by itself, for anybody can make such a link. Pure.
 */

/** What an app of a catalogue can be called. */
const ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** The app that `search` names, or null. */
export function namedApp(search: string): string | null {
  const id = new URLSearchParams(search).get("app");
  return id === "" ? null : id;
}

/** What to say of an app that is not in the catalogue. What no app can be called is not repeated. */
export function missingWords(id: string): string {
  return `${ID.test(id) ? `This Nearlight has no app “${id}”.` : "The link names no app."} Play one of those below, or ask whoever sent you here.`;
}
