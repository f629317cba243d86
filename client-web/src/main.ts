/** Wiring only: the API, the tab's memory, and the page. */
import "./ui/styles/base.css";
import "./ui/styles/lobby.css";
import "./ui/styles/player.css";
import { KeptChecks } from "./probe/kept.ts";
import { KeptRtts } from "./probe/kept-rtts.ts";
import { Api } from "./session/api.ts";
import { HeldAttachment } from "./session/held.ts";
import { mountApp } from "./ui/app.tsx";

/** Reading `localStorage` or `sessionStorage` alone throws where a browser keeps nothing. */
function storage(of: () => Storage): Storage | null {
  try {
    return of();
  } catch {
    return null;
  }
}
const ofDevice = storage(() => localStorage);

const held = new HeldAttachment(storage(() => sessionStorage));
// A duplicated tab inherits the memory of the first one, whose attachment is not ours to give up.
const [entry] = performance.getEntriesByType("navigation");
const cameBack = entry instanceof PerformanceNavigationTiming && ["reload", "back_forward"].includes(entry.type);
if (!cameBack) held.forget();

const root = document.getElementById("app");
if (root) mountApp(root, { api: new Api(), held, checks: new KeptChecks(ofDevice), rtts: new KeptRtts(ofDevice) });
