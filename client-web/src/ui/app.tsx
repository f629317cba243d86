/** The page: which view the address asks for. */
import { signal } from "@preact/signals";
import { render, type ComponentType } from "preact";
import type { KeptChecks } from "../probe/kept.ts";
import type { KeptRtts } from "../probe/kept-rtts.ts";
import type { Api } from "../session/api.ts";
import type { HeldAttachment } from "../session/held.ts";
import { LineModel } from "./line-model.ts";
import { Lobby } from "./lobby.tsx";
import { LobbyModel } from "./lobby-model.ts";
import { Player } from "./player.tsx";
import { chosenRegion } from "./prefs.ts";
import { RegionModel } from "./region-model.ts";
import { path } from "./router.ts";
import { Watch } from "./watch.tsx";

export type Deps = { readonly api: Api; readonly held: HeldAttachment; readonly checks: KeptChecks; readonly rtts: KeptRtts };

export function mountApp(root: HTMLElement, deps: Deps): void {
  const regions = new RegionModel({ api: deps.api, kept: deps.rtts, chosen: chosenRegion });
  const line = new LineModel(deps.api, deps.checks, (node, ms) => lobby.timed(node, ms));
  const lobby = new LobbyModel(deps.api, line, regions);
  const App = () => {
    if (/^\/(receipts(\/|$)|nodes\/[^/]+\/receipts\/?$)/.test(path.value)) return <Receipts />;
    const watch = /^\/watch\/([A-Za-z0-9_-]+)\/?$/.exec(path.value)?.[1];
    if (watch) return <Watch key={watch} token={watch} api={deps.api} />;
    const session = /^\/play\/([A-Za-z0-9_-]+)\/?$/.exec(path.value)?.[1];
    return session ? <Player key={session} session={session} deps={deps} lobby={lobby} /> : <Lobby model={lobby} />;
  };
  render(<App />, root);
}

/** The pages of receipts are fetched when one is opened: the lobby does not wait for them. */
const explorer = signal<ComponentType | null>(null);
const explorerFailed = signal(false);
let asked = false;

function Receipts() {
  if (!asked) {
    asked = true;
    void import("./receipts/explorer.tsx").then(
      ({ Explorer }) => (explorer.value = Explorer),
      () => (explorerFailed.value = true),
    );
  }
  const Explorer = explorer.value;
  if (Explorer) return <Explorer />;
  return explorerFailed.value ? (
    <p class="empty" role="alert">
      This page could not be fetched. Load it again.
    </p>
  ) : null;
}
