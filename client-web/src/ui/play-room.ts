/**
 * One visit to one session's page: the session runner, the devices and the measurements, and what
 * of them is drawn, as signals. The only place where session/, stream/ and input/ meet.
 *
 * Owns: runner, desk, ledger; ends with `close`. Does not know: markup.
 */
import { computed, effect, signal } from "@preact/signals";
import { Desk } from "../input/desk.ts";
import type { Shortcut } from "../input/keyboard.ts";
import { START, type State } from "../session/machine.ts";
import { Runner } from "../session/runner.ts";
import { ceilingOf, displayLimits, wishOf, type Ceiling, type Choices } from "../stream/choices.ts";
import { Gauge, metered, type Measured } from "../stream/gauge.ts";
import type { Link } from "../stream/link.ts";
import { QUIET, type InputEvent, type Shown } from "../wire/codec.ts";
import type { EndReason, Notice, Session } from "../wire/types.ts";
import type { Deps } from "./app.tsx";
import { publishPhase, publishStats } from "./beacon.ts";
import { Chronicle } from "./chronicle.ts";
import { phaseOf } from "./phase.ts";
import { choices, codec, followChoices, keyboardLayout, statsShown } from "./prefs.ts";
import { offerDataSaver } from "./saver.ts";
import type { RoomStage } from "./room-stage.ts";
import { playSound } from "./sound.ts";
import { toast } from "./toasts.tsx";
import { keepStill, showCrisp } from "./video.ts";

export class PlayRoom {
  readonly state = signal<State>(START.state);
  readonly snapshot = signal<Session | null>(null);
  readonly measured = signal<Measured | null>(null);
  readonly fullscreen = signal({ on: false, keyboardLocked: false });
  /** The app wants the pointer, and a click is needed to give it. */
  readonly lockWaits = signal(false);
  /** How many others watch. */
  readonly watchers = signal(0);
  readonly endingSoon = signal<{ readonly reason: EndReason; readonly atMs: number } | null>(null);
  readonly menuOpen = signal(false);
  readonly typing = signal(false);
  /** There was a picture in this visit: a loss is a reconnect and not a start. */
  readonly hadPicture = signal(false);
  readonly phase = computed(() => phaseOf(this.state.value, this.hadPicture.value));
  readonly #runner: Runner;
  readonly #over = new AbortController();
  readonly chronicle: Chronicle;
  #ceiling: Ceiling = ceilingOf(undefined, undefined);
  #desk: Desk | null = null;
  #stage: RoomStage | null = null;
  #linked: { readonly link: Link; readonly gauge: Gauge; readonly end: AbortController } | null = null;
  #inputSeenAt = 0;

  constructor(session: string, deps: Deps) {
    this.chronicle = new Chronicle(deps.api, session, this.#over.signal);
    this.#runner = new Runner(session, deps.api, deps.held, {
      sampleKey: this.chronicle.sampleKey,
      codec: () => codec.peek(),
      codecRefused: () => toast("The node does not make that video format. It uses the best that it has."),
      changed: () => this.#changed(),
      notice: (notice) => this.#noticed(notice),
      mark: (mark) => this.#linked?.gauge.marked(mark),
      ready: () => this.#introduce(),
      foreignVersion: () => toast("The node speaks a newer language than this page. Reload to update the page."),
    });
  }

  open(stage: RoomStage): void {
    this.#stage = stage;
    const signal = this.#over.signal;
    const hooks = {
      live: () => this.#runner.state.name === "playing",
      shortcut: (shortcut: Shortcut) => this.shortcut(shortcut),
      pointerLockWaits: (waiting: boolean) => void (this.lockWaits.value = waiting),
      gamepad: () => toast("Gamepads do not reach the app yet. Play with keyboard and mouse."),
      fullscreen: (on: boolean, keyboardLocked: boolean) => void (this.fullscreen.value = { on, keyboardLocked }),
      screenLimits: () => displayLimits(choices.peek(), this.#ceiling),
    };
    this.#desk = new Desk(stage, (event, atMs) => this.#send(event, atMs), hooks, signal);
    stage.field.addEventListener("blur", () => (this.typing.value = false), { signal });
    addEventListener("pagehide", () => this.close(), { signal });
    // Back from the browser's page cache: the attachment was given up as the page went.
    addEventListener("pageshow", (event) => event.persisted && location.reload());
    const stop = effect(() => {
      const { phase, reason } = this.phase.value;
      publishPhase(phase, reason, phase === "playing" ? this.#runner.attachment : null);
    });
    // A choice made while playing holds at once; only another codec needs another attachment.
    const wish = (chosen: Choices): void => {
      this.#send(wishOf(chosen), performance.now());
      this.#desk?.screen.tell();
    };
    followChoices({ wish, codec: () => this.#runner.dispatch({ name: "reattach-asked" }) }, signal);
    signal.addEventListener("abort", stop);
    showCrisp(stage.video, stage.surface, signal);
    this.#runner.start();
  }

  close(): void {
    this.chronicle.close();
    this.#over.abort();
    this.#unlink();
    this.#runner.close();
    publishStats(null);
  }

  shortcut(shortcut: Shortcut): void {
    if (shortcut === "stats") statsShown.value = !statsShown.value;
    else if (shortcut === "menu") {
      this.menuOpen.value = !this.menuOpen.value;
      this.#desk?.freePointer();
    } else this.toggleFullscreen();
  }

  toggleFullscreen(): void {
    if (this.#stage) void this.#desk?.fullscreen.toggle(this.#stage.root);
    this.focus();
  }

  toggleTyping(): void {
    this.typing.value = !this.typing.value;
    this.#desk?.type(this.typing.value);
  }

  /** To the app, where there is one to be seen. */
  focus = (): void => void (this.#runner.state.name === "playing" && this.#desk?.focus());

  setLayout(): void {
    this.#send({ kind: "layout", layout: keyboardLayout() }, performance.now());
  }

  /** Up to where the choice "auto" goes, once app and node are known. */
  setCeiling(ceiling: Ceiling): void {
    this.#ceiling = ceiling;
    this.#desk?.screen.tell();
  }

  async allowClipboard(): Promise<void> {
    const allowed = await this.#desk?.clipboard.allowReading();
    toast(allowed ? "Your clipboard now follows you into the app." : "The browser refused. Pasting with Ctrl+V still works.");
  }

  takeOver = (): void => this.#runner.dispatch({ name: "take-over-asked" });
  retry = (): void => this.#runner.dispatch({ name: "retry-asked" });
  end = (): void => this.#runner.dispatch({ name: "end-asked" });

  /** What a new attachment has to know before the first key. */
  #introduce(): void {
    this.#send({ kind: "layout", layout: keyboardLayout() }, performance.now());
    this.#send(wishOf(choices.peek()), performance.now());
    this.#desk?.screen.announce();
    if (metered()) offerDataSaver();
  }

  #send(event: InputEvent, atMs: number): void {
    this.#runner.send(event, atMs);
    // Any input postpones an idle end; the broker's next word says whether it did.
    const idle = this.endingSoon.peek()?.reason === "idle-timeout";
    if (idle && !QUIET.has(event.kind) && atMs > this.#inputSeenAt) this.endingSoon.value = null;
  }

  #changed(): void {
    this.#follow(this.#runner.link);
    const state = this.#runner.state;
    if (state.name === "playing" && this.state.value.name !== "playing") {
      this.hadPicture.value = true;
      this.focus();
    }
    // Whatever comes over the picture now has buttons: the player needs the pointer back. The app's
    // wish arrives again with the next attachment.
    if (state.name !== "playing" && this.state.value.name === "playing") this.#desk?.reset();
    if (state.name === "ended") this.endingSoon.value = null;
    this.chronicle.follow(state.name);
    this.state.value = state;
    this.snapshot.value = this.#runner.snapshot;
  }

  /** A new attempt has a new link: shows it, listens to it, measures it. */
  #follow(link: Link | null): void {
    if (link === (this.#linked?.link ?? null)) return;
    this.#unlink();
    const stage = this.#stage;
    if (!link || !stage) return;
    const end = new AbortController();
    stage.video.srcObject = link.video;
    playSound(link.sound, end.signal);
    const shown = (): void => this.#runner.dispatch({ name: "picture-shown" });
    // A hidden page gets no frame callbacks, but learns that there is a picture.
    stage.video.addEventListener("loadeddata", shown, { signal: end.signal });
    const events = {
      measured: (measured: Measured) => this.#measured(measured),
      frame: () => this.chronicle.frame(this.#runner.state.name === "attaching" ? shown : null),
      answered: this.chronicle.answered,
      shift: (shiftUs: number) => this.#send({ kind: "phase", shiftUs }, performance.now()),
      shown: (frames: readonly Shown[]) => this.#send({ kind: "shown", frames }, performance.now()),
    };
    this.#linked = { link, end, gauge: new Gauge(link.peer, stage.video, events, end.signal) };
  }

  #unlink(): void {
    if (!this.#linked) return;
    if (this.#stage) keepStill(this.#stage.video, this.#stage.frozen);
    this.#linked.end.abort();
    this.#linked = null;
    this.chronicle.relink();
    this.measured.value = null;
  }

  #measured(measured: Measured): void {
    this.measured.value = measured;
    this.chronicle.second(measured);
    publishStats({ at_ms: Math.round(performance.now()), attachment: this.#runner.attachment, ...measured });
  }

  #noticed(notice: Notice): void {
    switch (notice.notice) {
      case "cursor":
        this.#desk?.setCursor(notice.cursor);
        return;
      case "clipboard":
        void this.#copied(notice.text);
        return;
      case "pointer-lock":
        this.#desk?.wantPointerLock(notice.wanted);
        return;
      case "ending-soon":
        this.#inputSeenAt = performance.now();
        this.endingSoon.value = { reason: notice.reason, atMs: performance.now() + notice.in_s * 1000 };
        return;
      case "goes-on":
        return void (this.endingSoon.value = null);
      case "stream":
        this.#linked?.gauge.told(notice.stream);
        return;
      case "watchers":
        this.watchers.value = notice.count;
        return;
      case "ready":
      case "display":
      case "detached":
      case "ended":
      // The link has taken the first, the picture brings its own size, the runner has taken the rest.
    }
  }

  async #copied(text: string): Promise<void> {
    if (await this.#desk?.clipboard.copied(text)) return;
    toast("The app copied some text.", { label: "Copy it here", run: () => void this.#desk?.clipboard.copied(text) });
  }
}
