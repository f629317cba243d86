/** The page of a watch link: somebody else's session, to see and to hear. */
import { useEffect, useMemo, useRef } from "preact/hooks";
import { Fullscreen, canFullscreen } from "../input/fullscreen.ts";
import type { Api } from "../session/api.ts";
import type { WatchEnd, WatchState } from "../session/watch.ts";
import { refusalWords } from "../session/words.ts";
import { Panel } from "./curtain.tsx";
import { DockButton } from "./dock-button.tsx";
import { Mark } from "./icons.tsx";
import { watchPhase } from "./phase.ts";
import { muted, volume } from "./prefs.ts";
import { navigate } from "./router.ts";
import { soundBlocked } from "./sound.ts";
import { Toasts } from "./toasts.tsx";
import { WatchRoom } from "./watch-room.ts";

export function Watch({ token, api }: { readonly token: string; readonly api: Api }) {
  const root = useRef<HTMLDivElement>(null);
  const video = useRef<HTMLVideoElement>(null);
  const frozen = useRef<HTMLCanvasElement>(null);
  const room = useMemo(() => new WatchRoom(token, api), [token, api]);
  useEffect(() => {
    if (!video.current || !frozen.current) return undefined;
    room.open({ video: video.current, frozen: frozen.current });
    return () => room.close();
  }, [room]);
  const title = room.watched.value?.title;
  useEffect(() => {
    document.title = title ? `Watching ${title} · Nearlight` : "Nearlight";
  }, [title]);
  const state = room.state.value;
  const fullscreen = (): void => {
    if (root.current) void new Fullscreen().toggle(root.current);
  };
  return (
    <div class="player watch" ref={root} data-phase={watchPhase(state, room.hadPicture.value)} data-had-picture={room.hadPicture.value}>
      <div class="surface" onDblClick={fullscreen}>
        <video ref={video} id="stage-video" muted playsInline autoPlay disablePictureInPicture aria-label={title ?? "Picture"} />
      </div>
      <canvas class="frozen" ref={frozen} aria-hidden="true" />
      {state.name !== "watching" && (
        <div class="curtain" data-state={state.name}>
          <div class="curtain-shade" />
          <div class="curtain-body">
            <WatchPanel state={state} room={room} />
          </div>
        </div>
      )}
      {state.name === "watching" && soundBlocked.value && !muted.value && (
        <div class="hints" role="status">
          <p class="hint" data-hint="sound">
            Click anywhere for sound
          </p>
        </div>
      )}
      <nav class="dock watch-bar" data-shown="true" aria-label="Watching">
        <button type="button" class="dock-button" aria-label="Nearlight" data-action="lobby" onClick={() => navigate("/")}>
          <Mark />
        </button>
        <span class="dock-title">{title ? `Watching ${title}` : "Nearlight"}</span>
        <DockButton action="mute" icon={muted.value ? "silent" : "sound"} label={muted.value ? "Sound on" : "Mute"} pressed={muted.value} onClick={() => (muted.value = !muted.value)} />
        <input
          class="volume"
          type="range"
          min={0}
          max={1}
          step={0.05}
          value={volume.value}
          aria-label="Volume"
          data-field="volume"
          onInput={(event) => {
            volume.value = Number(event.currentTarget.value);
            muted.value = false;
          }}
        />
        {canFullscreen() && <DockButton action="fullscreen" icon="fullscreen" label="Full screen" onClick={fullscreen} />}
      </nav>
      <Toasts />
    </div>
  );
}

const END_WORDS: Readonly<Record<Exclude<WatchEnd, "refused">, { readonly title: string; readonly text: string }>> = {
  "link-ended": { title: "The watch link is over", text: "It was revoked, its time is up, or its session has ended. Ask whoever sent it for a new one." },
  "session-ended": { title: "That was it", text: "The session has ended." },
  "not-found": { title: "There is no such link", text: "It may be incomplete: copy it whole, up to its last character." },
};

function WatchPanel({ state, room }: { readonly state: WatchState; readonly room: WatchRoom }) {
  switch (state.name) {
    case "looking":
    case "attaching":
      return <Panel tone="wait" title={room.hadPicture.value ? "Reconnecting" : "One moment"} text="Getting the picture." />;
    case "watching":
      return null;
    case "waiting":
      return <Panel tone="wait" title="No picture yet" text="The player's app shows nothing at the moment. This page goes on by itself as soon as it does." />;
    case "reconnecting":
      return (
        <Panel tone="wait" title="Reconnecting" text="The picture was lost. This page keeps trying.">
          <button type="button" class="button primary" data-action="retry" onClick={room.retry}>
            Try now
          </button>
        </Panel>
      );
    case "over": {
      if (state.why !== "refused") {
        const words = END_WORDS[state.why];
        return (
          <Panel tone="calm" title={words.title} text={words.text}>
            <OwnLobby />
          </Panel>
        );
      }
      const words = state.refusal ? refusalWords(state.refusal) : { title: "The node hung up", advice: "It did not understand this page. Reload it." };
      const note = state.refusal?.instance ? `Request ${state.refusal.instance}` : "";
      return (
        <Panel tone="bad" title={words.title} text={words.advice} note={note}>
          <button type="button" class="button primary" data-action="retry" onClick={room.retry}>
            Try again
          </button>
        </Panel>
      );
    }
  }
}

const OwnLobby = () => (
  <button type="button" class="button" data-action="lobby" onClick={() => navigate("/")}>
    Play something yourself
  </button>
);
