/**
 * One visit to one session's page: the session runner, the devices and the measurements, and what
 * of them is drawn, as signals. The only place where session/, stream/ and input/ meet.
 *
 * Owns: runner, desk, ledger; ends with `close`. Does not know: markup.
 */
import { computed, effect, signal } from "@preact/signals";
import { Desk, type Stage } from "../input/desk.ts";
import type { Shortcut } from "../input/keyboard.ts";
import { START, type State } from "../session/machine.ts";
import { Runner } from "../session/runner.ts";
import { watchFrames } from "../stream/frames.ts";
import { LatencyLedger, type LatencyTable } from "../stream/latency.ts";
import type { Link } from "../stream/link.ts";
import { pollStats, type StreamStats } from "../stream/stats.ts";
import type { InputEvent, Mark } from "../wire/codec.ts";
import type { EndReason, Notice, Session } from "../wire/types.ts";
import type { Deps } from "./app.tsx";
import { publishAnswer, publishPhase, publishStats } from "./beacon.ts";
import { phaseOf } from "./phase.ts";
import { keyboardLayout, statsShown } from "./prefs.ts";
import { playSound } from "./sound.ts";
import { toast } from "./toasts.tsx";

/** One second as the overlay shows it. */
export type Measured = {
  readonly stream: StreamStats;
  readonly latency: LatencyTable;
  /** Frames that the browser presented in this second. */
  readonly presented_fps: number;
};

/** The elements that the room works on. */
export type RoomStage = Stage & {
  /** What goes fullscreen: the picture and everything over it. */
  readonly root: HTMLElement;
  /** Holds the last picture while there is no connection. */
  readonly frozen: HTMLCanvasElement;
};

export class PlayRoom {
  readonly state = signal<State>(START.state);
  readonly snapshot = signal<Session | null>(null);
  readonly measured = signal<Measured | null>(null);
  readonly fullscreen = signal({ on: false, keyboardLocked: false });
  /** The app wants the pointer, and a click is needed to give it. */
  readonly lockWaits = signal(false);
  readonly endingSoon = signal<{ readonly reason: EndReason; readonly atMs: number } | null>(null);
  readonly menuOpen = signal(false);
  readonly typing = signal(false);
  /** There was a picture in this visit: a loss is a reconnect and not a start. */
  readonly hadPicture = signal(false);
  readonly phase = computed(() => phaseOf(this.state.value, this.hadPicture.value));
  readonly #runner: Runner;
  readonly #over = new AbortController();
  #ledger = new LatencyLedger(publishAnswer);
  #desk: Desk | null = null;
  #stage: RoomStage | null = null;
  #linked: { readonly link: Link; readonly end: AbortController } | null = null;
  #presented = 0;
  #inputSeenAt = 0;

  constructor(session: string, deps: Deps) {
    this.#runner = new Runner(session, deps.api, deps.held, {
      changed: () => this.#changed(),
      notice: (notice) => this.#noticed(notice),
      mark: (mark) => this.#marked(mark),
      controlOpen: () => this.#send({ kind: "layout", layout: keyboardLayout() }, performance.now()),
      foreignVersion: () => toast("The node speaks a newer language than this page. Reload to update the page."),
    });
  }

  open(stage: RoomStage): void {
    this.#stage = stage;
    const signal = this.#over.signal;
    const hooks = {
      shortcut: (shortcut: Shortcut) => this.shortcut(shortcut),
      pointerLockWaits: (waiting: boolean) => void (this.lockWaits.value = waiting),
      fullscreen: (on: boolean, keyboardLocked: boolean) => void (this.fullscreen.value = { on, keyboardLocked }),
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
    signal.addEventListener("abort", stop);
    this.#runner.start();
  }

  close(): void {
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

  focus(): void {
    this.#desk?.focus();
  }

  setLayout(): void {
    this.#send({ kind: "layout", layout: keyboardLayout() }, performance.now());
  }

  async allowClipboard(): Promise<void> {
    const allowed = await this.#desk?.clipboard.allowReading();
    toast(allowed ? "Your clipboard now follows you into the app." : "The browser refused. Pasting with Ctrl+V still works.");
  }

  takeOver = (): void => this.#runner.dispatch({ name: "take-over-asked" });
  retry = (): void => this.#runner.dispatch({ name: "retry-asked" });
  end = (): void => this.#runner.dispatch({ name: "end-asked" });

  #send(event: InputEvent, atMs: number): void {
    this.#runner.send(event, atMs);
    // Any input postpones an idle end; the broker's next word says whether it did.
    const idle = this.endingSoon.value?.reason === "idle-timeout";
    if (idle && event.kind !== "ping" && event.kind !== "release-all" && atMs > this.#inputSeenAt) {
      this.endingSoon.value = null;
    }
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
    this.#linked = { link, end };
    this.#ledger = new LatencyLedger(publishAnswer);
    stage.video.srcObject = link.video;
    playSound(link.sound, end.signal);
    const shown = (): void => this.#runner.dispatch({ name: "picture-shown" });
    // A hidden page gets no frame callbacks, but learns that there is a picture.
    stage.video.addEventListener("loadeddata", shown, { signal: end.signal });
    watchFrames(
      stage.video,
      (frame) => {
        this.#presented += 1;
        if (frame) this.#ledger.presented(frame);
        if (this.#runner.state.name === "attaching") shown();
      },
      end.signal,
    );
    pollStats(link.peer, (stats) => this.#measured(stats), end.signal);
  }

  #unlink(): void {
    if (!this.#linked) return;
    this.#freeze();
    this.#linked.end.abort();
    this.#linked = null;
    this.measured.value = null;
  }

  /** Keeps the last picture: a reconnect should look like a pause, not like a loss. */
  #freeze(): void {
    const stage = this.#stage;
    if (!stage || stage.video.videoWidth === 0) return;
    stage.frozen.width = stage.video.videoWidth;
    stage.frozen.height = stage.video.videoHeight;
    stage.frozen.getContext("2d")?.drawImage(stage.video, 0, 0);
    stage.video.srcObject = null;
  }

  #measured(stream: StreamStats): void {
    const measured = { stream, latency: this.#ledger.table(), presented_fps: this.#presented };
    this.#presented = 0;
    this.measured.value = measured;
    publishStats({ at_ms: Math.round(performance.now()), attachment: this.#runner.attachment, ...measured });
  }

  #marked(mark: Mark): void {
    if (mark.kind === "pong") this.#ledger.pong(mark.clientUs, mark.hostUs, performance.now());
    else if (mark.kind === "frame") this.#ledger.mark(mark);
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
      case "display":
      case "detached":
      case "ended":
        // The picture brings its own size; the runner has taken the other two.
        return;
    }
  }

  async #copied(text: string): Promise<void> {
    if (await this.#desk?.clipboard.copied(text)) return;
    toast("The app copied some text.", { label: "Copy it here", run: () => void this.#desk?.clipboard.copied(text) });
  }
}
