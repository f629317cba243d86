/** The lobby: what can be played, what runs already, and where. */
import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { LAYOUTS } from "../input/layout.ts";
import { refusalWords } from "../session/words.ts";
import type { App } from "../wire/types.ts";
import { Account, WayIn } from "./account.tsx";
import { publishPhase } from "./beacon.ts";
import { AppCard, GhostCard } from "./card.tsx";
import { Mark } from "./icons.tsx";
import { LineStrip } from "./line.tsx";
import type { LobbyModel } from "./lobby-model.ts";
import { missingWords } from "./named-app.ts";
import { Nodes } from "./nodes.tsx";
import { chosenLayout, guessedLayout } from "./prefs.ts";
import { RegionChoice } from "./regions.tsx";
import { Running } from "./running.tsx";
import { Toasts } from "./toasts.tsx";

export function Lobby({ model }: { readonly model: LobbyModel }) {
  useEffect(() => {
    const over = new AbortController();
    document.title = "Nearlight";
    publishPhase("lobby");
    model.watch(over.signal);
    return () => {
      over.abort();
      model.named.value = null;
    };
  }, [model]);
  const apps = model.apps.value;
  return (
    <div class="lobby">
      <a class="skip" href="#catalogue">
        Skip to the catalogue
      </a>
      <Header model={model} />
      <main id="catalogue" tabIndex={-1}>
        <Trouble model={model} />
        <LineStrip line={model.line} nodeName={(id) => model.node(id)?.name ?? "the node"} />
        <Running model={model} />
        {model.identity.shut.value ? (
          <WayIn model={model} />
        ) : apps === null ? (
          <Ghosts failed={model.trouble.value !== null} />
        ) : apps.length === 0 ? (
          <section class="empty">
            <h2>The catalogue is empty</h2>
            <p>The operator adds an app by putting its file into configs/apps and starting the broker again.</p>
          </section>
        ) : (
          <>
            <Shelf title="Games" apps={apps.filter((app) => app.shelf === "game")} model={model} />
            <Shelf title="Tools" apps={apps.filter((app) => app.shelf === "tool")} model={model} small />
          </>
        )}
        <Nodes nodes={model.nodes.value} line={model.line} />
      </main>
      <footer>
        <p>Each session runs in its own locked-down container, and is yours alone.</p>
        <p>
          <a href="/receipts">What the nodes can do, and how that was checked</a>
        </p>
      </footer>
      <Toasts />
    </div>
  );
}

function Header({ model }: { readonly model: LobbyModel }) {
  const nodes = model.nodes.value ?? [];
  const free = nodes.reduce((sum, node) => sum + (node.status === "online" ? node.slots_free : 0), 0);
  const total = nodes.reduce((sum, node) => sum + (node.status === "online" ? node.slots_total : 0), 0);
  return (
    <header class="top">
      <div class="brand">
        <Mark />
        <h1>nearlight</h1>
      </div>
      <p class="tagline">Press play. It runs close by.</p>
      <div class="top-side">
        {model.nodes.value !== null && (
          <a class="chip" href="#nodes" data-tone={free > 0 ? "good" : "busy"}>
            <span class="dot" />
            {total === 0 ? "No node online" : `${free} of ${total} slots free`}
          </a>
        )}
        <Account model={model} />
        <RegionChoice model={model.regions} />
        <label class="choice">
          <span>Keyboard</span>
          <select
            data-field="layout"
            value={chosenLayout.value ?? ""}
            onChange={(event) => (chosenLayout.value = event.currentTarget.value || null)}
          >
            <option value="">Auto: {titleOf(guessedLayout.value)}</option>
            {LAYOUTS.map((layout) => (
              <option key={layout.name} value={layout.name}>
                {layout.title}
              </option>
            ))}
          </select>
        </label>
      </div>
    </header>
  );
}

export const titleOf = (layout: string): string => LAYOUTS.find((one) => one.name === layout)?.title ?? layout;

function Trouble({ model }: { readonly model: LobbyModel }) {
  const refusal = model.trouble.value;
  if (refusal) {
    const words = refusalWords(refusal);
    return (
      <Banner problem={refusal.name} title={words.title} button={["retry", "Try now", () => void model.refresh()]}>
        {words.advice}
        {refusal.instance !== "" && <small> Request {refusal.instance}</small>}
      </Banner>
    );
  }
  if (model.loginFailed.value) {
    return (
      <Banner problem="login-failed" title="The login did not work" button={["dismiss", "All right", () => (model.loginFailed.value = false)]}>
        Nobody was identified. Try again, or play on as you are.
      </Banner>
    );
  }
  const missing = model.missing.value;
  if (missing === null || model.identity.shut.value) return null;
  return (
    <Banner problem="no-such-app" title="There is no such app here" button={["dismiss", "All right", () => (model.named.value = null)]}>
      {missingWords(missing)}
    </Banner>
  );
}

type BannerProps = {
  readonly problem: string;
  readonly title: string;
  readonly button: readonly [action: string, label: string, click: () => void];
  readonly children: ComponentChildren;
};

function Banner({ problem, title, button: [action, label, click], children }: BannerProps) {
  return (
    <section class="banner" role="alert" data-problem={problem}>
      <span class="pulse" />
      <div>
        <h2>{title}</h2>
        <p>{children}</p>
      </div>
      <button type="button" class="button" data-action={action} onClick={click}>
        {label}
      </button>
    </section>
  );
}

type ShelfProps = { readonly title: string; readonly apps: readonly App[]; readonly model: LobbyModel; readonly small?: boolean };

function Shelf({ title, apps, model, small = false }: ShelfProps) {
  if (apps.length === 0) return null;
  return (
    <section class="shelf" data-size={small ? "small" : "large"} aria-label={title}>
      <h2>{title}</h2>
      <ul>
        {apps.map((app) => (
          <AppCard key={app.id} app={app} model={model} />
        ))}
      </ul>
    </section>
  );
}

function Ghosts({ failed }: { readonly failed: boolean }) {
  return (
    <section class="shelf" data-size="large" aria-busy={!failed} aria-label="Loading the catalogue">
      <h2>Games</h2>
      <ul>
        <GhostCard still={failed} />
        <GhostCard still={failed} />
      </ul>
    </section>
  );
}
