/** Everything that is said instead of a picture: the start, a reconnect, the end, a refusal. */
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { State } from "../session/machine.ts";
import { wishWords } from "../session/wish.ts";
import { END_WORDS, isCalm, refusalWords } from "../session/words.ts";
import type { App, DetachReason } from "../wire/types.ts";
import { assertNever } from "../wire/never.ts";
import { SaveChoice } from "./card.tsx";
import { HowItWent } from "./how-it-went.tsx";
import { Icon } from "./icons.tsx";
import type { LobbyModel } from "./lobby-model.ts";
import type { PlayRoom } from "./play-room.ts";
import { Reconnecting } from "./reconnecting.tsx";
import { navigate } from "./router.ts";
import { Starting } from "./starting.tsx";
import { unlockSound } from "./sound.ts";

type CurtainProps = { readonly room: PlayRoom; readonly app: App | undefined; readonly lobby: LobbyModel };

export function Curtain({ room, app, lobby }: CurtainProps) {
  const state = room.state.value;
  const { phase } = room.phase.value;
  const curtain = useRef<HTMLDivElement>(null);
  useEffect(() => readFrom(curtain.current, phase === "reconnecting"), [phase]);
  if (state.name === "playing") return null;
  return (
    <div class="curtain" ref={curtain} data-state={state.name}>
      {app && !room.hadPicture.value && <img class="curtain-art" src={app.picture} alt="" />}
      <div class="curtain-shade" />
      <div class="curtain-body">
        <Body state={state} room={room} app={app} lobby={lobby} />
      </div>
    </div>
  );
}

/**
 * Moves the focus from the app to the heading of what came over it: Tab goes on to the buttons from there. Not to a
 * button itself, for the next key may still be meant for the app. A menu that somebody uses keeps it; so does a drawer
 * that stays open while the page reconnects.
 */
function readFrom(curtain: HTMLElement | null, drawerStays: boolean): void {
  const heading = curtain?.querySelector("h1");
  const busy = drawerStays ? ".dock, .toasts, .drawer" : ".dock, .toasts";
  if (!heading || document.activeElement?.closest(busy)) return;
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
}

function Body({ state, room, app, lobby }: CurtainProps & { readonly state: State }) {
  switch (state.name) {
    case "opening":
    case "waiting":
    case "attaching":
      return room.hadPicture.value ? <Reconnecting room={room} /> : <Starting room={room} app={app} state={state} line={lobby.line} />;
    case "playing":
      return null;
    case "reconnecting":
      return room.hadPicture.value ? <Reconnecting room={room} /> : <Starting room={room} app={app} state={state} line={lobby.line} />;
    case "elsewhere":
      return (
        <Panel tone="calm" title="Playing somewhere else" text="This session is open in another tab or on another device. Taking over moves it here; it goes on where it is.">
          <TakeOver room={room} label="Take over here" />
          <ToLobby />
        </Panel>
      );
    case "detached":
      return <Detached reason={state.reason} room={room} />;
    case "ending":
      return <Panel tone="wait" title="Ending the session" text="The app is being closed." />;
    case "ended": {
      const words = END_WORDS[state.reason];
      return (
        <Panel
          tone={isCalm(state.reason) ? "calm" : "bad"}
          title={words.title}
          text={words.advice}
          more={<HowItWent chronicle={room.chronicle} />}
        >
          <PlayAgain room={room} app={app} lobby={lobby} />
          <ToLobby />
        </Panel>
      );
    }
    case "refused": {
      const words = refusalWords(state.refusal);
      const { instance, name } = state.refusal;
      const final = ["forbidden", "not-found", "session-ended", "session-lost"].includes(name);
      return (
        <Panel tone={final ? "calm" : "bad"} title={words.title} text={words.advice} note={instance && `Request ${instance}`}>
          {!final && (
            <button type="button" class="button primary" data-action="retry" onClick={room.retry}>
              Try again
            </button>
          )}
          <ToLobby primary={final} />
        </Panel>
      );
    }
    default:
      return assertNever(state);
  }
}

type PanelProps = {
  readonly tone: "calm" | "bad" | "wait";
  readonly title: string;
  readonly text: string;
  readonly note?: string;
  /** Between the text and the buttons. */
  readonly more?: ComponentChildren;
  readonly children?: ComponentChildren;
};

export function Panel({ tone, title, text, note, more, children }: PanelProps) {
  return (
    <section class="panel" data-tone={tone} role={tone === "bad" ? "alert" : "status"}>
      <span class="panel-light" aria-hidden="true" />
      <h1>{title}</h1>
      <p>{text}</p>
      {more}
      {children && <div class="panel-actions">{children}</div>}
      {note && <small>{note}</small>}
    </section>
  );
}

const DETACH_WORDS: Readonly<Record<DetachReason, { readonly title: string; readonly text: string; readonly button: string }>> = {
  "taken-over": {
    title: "Taken over",
    text: "The session goes on in another tab or on another device.",
    button: "Take over here",
  },
  "node-restarting": { title: "The node restarts", text: "The session goes on in a moment.", button: "Connect again" },
  "protocol-error": {
    title: "The node hung up",
    text: "It did not understand this page. Reload the page; the session goes on where it is.",
    button: "Connect again",
  },
  "link-revoked": {
    title: "The watch link is over",
    text: "It was revoked, or its time is up. Ask the player for a new one.",
    button: "Try again",
  },
  "codec-changed": {
    title: "The picture changed",
    text: "The player's browser takes another kind of video than this page agreed to.",
    button: "Connect again",
  },
};

function Detached({ reason, room }: { readonly reason: DetachReason; readonly room: PlayRoom }) {
  const words = DETACH_WORDS[reason];
  return (
    <Panel tone="calm" title={words.title} text={words.text}>
      <TakeOver room={room} label={words.button} />
      <ToLobby />
    </Panel>
  );
}

function TakeOver({ room, label }: { readonly room: PlayRoom; readonly label: string }) {
  const click = (): void => {
    unlockSound();
    room.takeOver();
  };
  return (
    <button type="button" class="button primary" data-action="take-over" onClick={click}>
      {label}
    </button>
  );
}

function PlayAgain({ room, app, lobby }: CurtainProps) {
  const id = room.snapshot.value?.app ?? app?.id;
  const refused = lobby.refused.value;
  if (id === undefined) return null;
  return (
    <>
      <button
        type="button"
        class="button primary"
        data-action="play-again"
        disabled={lobby.starting.value !== null}
        onClick={() => void lobby.play(id)}
      >
        <Icon name="play" />
        {lobby.starting.value === null ? "Play again" : "Starting…"}
      </button>
      {refused?.app === id && (
        <p class="panel-problem" role="alert" data-problem={refused.refusal.name}>
          {wishWords(refused.refusal).title}. {wishWords(refused.refusal).advice}
        </p>
      )}
      {refused?.app === id && refused.refusal.name === "save-elsewhere" && <SaveChoice app={id} model={lobby} />}
    </>
  );
}

export function ToLobby({ primary = false }: { readonly primary?: boolean }) {
  return (
    <button type="button" class={primary ? "button primary" : "button"} data-action="lobby" onClick={() => navigate("/")}>
      Back to the lobby
    </button>
  );
}
