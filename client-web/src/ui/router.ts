/** The address bar as a signal. Moving inside the page keeps the player's gesture, and so the sound. */
import { signal } from "@preact/signals";

export const path = signal(location.pathname);

addEventListener("popstate", () => (path.value = location.pathname));

export function navigate(to: string): void {
  // What the lobby was asked to say once is not said again to whoever comes back to it.
  if (location.pathname === "/" && location.search !== "") history.replaceState(history.state, "", "/");
  history.pushState(null, "", to);
  path.value = location.pathname;
  scrollTo(0, 0);
}
