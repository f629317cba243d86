/** Wiring only: the API, the tab's memory, and the page. */
import "./ui/styles/base.css";
import "./ui/styles/lobby.css";
import "./ui/styles/player.css";
import { KeptChecks } from "./probe/kept.ts";
import { KeptRtts } from "./probe/kept-rtts.ts";
import { Api } from "./session/api.ts";
import { HeldAttachment } from "./session/attach.ts";
import { mountApp } from "./ui/app.tsx";

const held = new HeldAttachment(sessionStorage);
// A duplicated tab inherits the memory of the first one, whose attachment is not ours to give up.
const [entry] = performance.getEntriesByType("navigation");
const cameBack = entry instanceof PerformanceNavigationTiming && ["reload", "back_forward"].includes(entry.type);
if (!cameBack) held.forget();

/** Reading `localStorage` alone throws where a browser keeps nothing. */
function deviceStore(): Storage | null {
  try {
    return localStorage;
  } catch {
    return null;
  }
}

const root = document.getElementById("app");
if (root) mountApp(root, { api: new Api(), held, checks: new KeptChecks(deviceStore()), rtts: new KeptRtts(deviceStore()) });
