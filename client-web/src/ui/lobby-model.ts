/**
 * What the lobby shows: catalogue, nodes, this player's sessions; refreshed while it is looked at.
 */
import { computed, signal } from "@preact/signals";
import { fitDisplay, pagePlace } from "../input/screen.ts";
import type { Api } from "../session/api.ts";
import type { Refusal } from "../session/refusal.ts";
import { Wishes } from "../session/wish.ts";
import { ceilingOf, displayLimits } from "../stream/choices.ts";
import type { App, DisplayMode, Node, SavesWish, Session } from "../wire/types.ts";
import { IdentityModel } from "./identity-model.ts";
import type { LineModel } from "./line-model.ts";
import { namedApp } from "./named-app.ts";
import { choices, keyboardLayout } from "./prefs.ts";
import type { RegionModel } from "./region-model.ts";
import { navigate } from "./router.ts";
import { unlockSound } from "./sound.ts";

const REFRESH_MS = 4_000;

export class LobbyModel {
  readonly apps = signal<readonly App[] | null>(null);
  readonly nodes = signal<readonly Node[] | null>(null);
  readonly sessions = signal<readonly Session[]>([]);
  /** Why the last refresh failed, or null. What was loaded before stays on screen. */
  readonly trouble = signal<Refusal | null>(null);
  /** The app that is being started, and what came of it. */
  readonly starting = signal<string | null>(null);
  readonly refused = signal<{ readonly app: string; readonly refusal: Refusal } | null>(null);
  /** The page was reached from a login that came to nothing. */
  readonly loginFailed = signal(new URLSearchParams(globalThis.location?.search ?? "").get("login") === "failed");
  /** The app that the page's address names; its card is shown, and starts by nothing but a click. */
  readonly named = signal(namedApp(globalThis.location?.search ?? ""));
  /** The one that it names and the catalogue does not have. */
  readonly missing = computed(() => (this.apps.value !== null && !this.app(this.named.value ?? undefined) ? this.named.value : null));
  readonly identity: IdentityModel;
  readonly line: LineModel;
  readonly regions: RegionModel;
  readonly live = computed(() => this.sessions.value.filter(({ kind, state }) => kind !== "job" && state.phase !== "ended"));
  readonly #api: Api;
  readonly #wishes = new Wishes();

  constructor(api: Api, line: LineModel, regions: RegionModel) {
    this.#api = api;
    this.identity = new IdentityModel(api);
    this.line = line;
    this.regions = regions;
  }

  app(id: string | undefined): App | undefined {
    return this.apps.value?.find((app) => app.id === id);
  }

  /** A line check timed a node. */
  timed(node: string, ms: number): void {
    this.regions.checked(this.nodes.peek() ?? [], node, ms);
  }

  /** Keeps everything fresh until `signal` says stop; a hidden page asks for nothing. */
  watch(signal: AbortSignal): void {
    let timer: number | undefined;
    let running = false;
    const round = async (): Promise<void> => {
      if (running) return;
      running = true;
      clearTimeout(timer);
      try {
        if (!document.hidden) await this.refresh();
      } finally {
        running = false;
      }
      if (!signal.aborted) timer = setTimeout(() => void round(), REFRESH_MS);
    };
    addEventListener("online", () => (this.regions.networkChanged(), void round()), { signal });
    const back = (): void => {
      if (document.hidden) return;
      this.identity.doubt();
      void round();
    };
    document.addEventListener("visibilitychange", back, { signal });
    addEventListener("focus", back, { signal });
    signal.addEventListener("abort", () => clearTimeout(timer));
    void round();
  }

  async refresh(): Promise<void> {
    // Once and alone: three calls of a newcomer would make three guests.
    if (!(await this.identity.meet())) return void (this.trouble.value = null);
    const calls = [this.#api.sessions(), this.#api.apps(), this.#api.nodes(), this.regions.refresh()] as const;
    const [sessions, apps, nodes] = await Promise.all(calls);
    if (sessions.ok) {
      this.sessions.value = sessions.value.sessions;
      await this.identity.answered();
    } else if (sessions.refusal.name === "unauthenticated" && !(await this.identity.refused())) {
      this.sessions.value = [];
      this.trouble.value = null;
      return;
    }
    if (apps.ok) this.apps.value = apps.value.apps;
    if (nodes.ok) this.nodes.value = nodes.value.nodes;
    const failed = [apps, nodes, sessions].find((result) => !result.ok);
    this.line.offer(this.nodes.peek() ?? []);
    this.trouble.value = failed && !failed.ok ? failed.refusal : null;
  }

  async logOut(): Promise<void> {
    const refusal = await this.identity.logOut();
    if (refusal) return void (this.trouble.value = refusal);
    this.sessions.value = [];
    await this.refresh();
  }

  /** A player whose login is over plays on without it. */
  async becomeGuest(): Promise<void> {
    this.identity.becomeGuest();
    await this.refresh();
  }

  /** Catalogue and nodes alone, for a player page that was opened by its link. */
  async loadPlaces(): Promise<void> {
    if (this.apps.peek() && this.nodes.peek()) return;
    const [apps, nodes] = await Promise.all([this.#api.apps(), this.#api.nodes()]);
    if (apps.ok) this.apps.value = apps.value.apps;
    if (nodes.ok) this.nodes.value = nodes.value.nodes;
  }

  node(id: string | null | undefined): Node | undefined {
    return this.nodes.value?.find((node) => node.id === id);
  }

  /** The display to start `app` with, so that its first picture fits this window already. */
  #display(app: string): DisplayMode | undefined {
    const known = this.apps.peek()?.find(({ id }) => id === app)?.display;
    if (!known) return undefined;
    // Where it will run is not known yet: a fleet with one node without a GPU gets the modest size.
    const nodes = this.nodes.peek() ?? [];
    const modest = nodes.length === 0 || nodes.some(({ gpu }) => gpu === "none");
    const limits = displayLimits(choices.peek(), ceilingOf(known, modest ? "none" : "render"));
    return { ...fitDisplay(pagePlace(), limits.heightMax), hz: "exact" in limits.hz ? limits.hz.exact : Math.min(known.hz, limits.hz.max) };
  }

  /** Starts `app` and goes to its page. Call it inside the click: it unlocks the sound. */
  async play(app: string, saves?: SavesWish): Promise<void> {
    if (this.starting.value !== null) return;
    unlockSound();
    this.starting.value = app;
    this.refused.value = null;
    const display = this.#display(app);
    const wish = { app, keyboard_layout: keyboardLayout(), ...(display && { display }), ...this.regions.wish(), ...(saves && { saves }) };
    const result = await this.#wishes.ask(wish, ({ body, key }) => this.#api.create(body, key));
    this.starting.value = null;
    if (result.ok) navigate(result.value.play_path);
    else this.refused.value = { app, refusal: result.refusal };
  }

  /** Ends a session; why not, if the broker refuses. */
  async end(session: string): Promise<Refusal | null> {
    const result = await this.#api.end(session);
    await this.refresh();
    return result.ok ? null : result.refusal;
  }
}
