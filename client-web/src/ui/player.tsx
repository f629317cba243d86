/** The page of one session: the stage, and over it whatever there is to say. */
import { useEffect, useMemo, useRef } from "preact/hooks";
import { useSignal } from "@preact/signals";
import { ceilingOf } from "../stream/choices.ts";
import type { Deps } from "./app.tsx";
import { Curtain } from "./curtain.tsx";
import { Dock, type Drawer } from "./dock.tsx";
import { Hints } from "./hints.tsx";
import type { LobbyModel } from "./lobby-model.ts";
import { PlayRoom } from "./play-room.ts";
import { statsShown } from "./prefs.ts";
import { Settings } from "./settings.tsx";
import { Share } from "./share.tsx";
import { StatsPanel } from "./stats-panel.tsx";
import { Toasts } from "./toasts.tsx";

type PlayerProps = { readonly session: string; readonly deps: Deps; readonly lobby: LobbyModel };

export function Player({ session, deps, lobby }: PlayerProps) {
  const root = useRef<HTMLDivElement>(null);
  const surface = useRef<HTMLDivElement>(null);
  const video = useRef<HTMLVideoElement>(null);
  const frozen = useRef<HTMLCanvasElement>(null);
  const field = useRef<HTMLTextAreaElement>(null);
  const drawer = useSignal<Drawer>(null);
  const room = useMemo(() => new PlayRoom(session, deps), [session, deps]);
  useEffect(() => {
    void lobby.loadPlaces();
    if (!root.current || !surface.current || !video.current || !frozen.current || !field.current) return undefined;
    room.open({
      root: root.current,
      surface: surface.current,
      video: video.current,
      frozen: frozen.current,
      field: field.current,
    });
    return () => room.close();
  }, [room, lobby]);

  const snapshot = room.snapshot.value;
  const title = snapshot?.title ?? "Nearlight";
  useEffect(() => {
    document.title = snapshot ? `${title} · Nearlight` : "Nearlight";
  }, [snapshot, title]);
  const app = snapshot ? lobby.app(snapshot.app) : undefined;
  const node = lobby.node(snapshot?.node);
  const gpu = node?.gpu;
  useEffect(() => room.setCeiling(ceilingOf(app?.display, gpu)), [room, app, gpu]);
  const { phase } = room.phase.value;
  // The stream needs the whole line now, and the overlay goes on where the check ends.
  useEffect(() => {
    if (phase === "playing") lobby.line.stop();
    // Whatever is said now has buttons of its own.
    else if (!["starting", "reconnecting"].includes(phase)) drawer.value = null;
  }, [phase, lobby, drawer]);
  return (
    <div class="player" ref={root} data-phase={phase} data-had-picture={room.hadPicture.value}>
      <div
        class="surface"
        ref={surface}
        tabIndex={phase === "playing" ? 0 : -1}
        role="application"
        aria-label={`${title}. Keys and pointer go to the app. Control Alt M opens the menu.`}
      >
        <video ref={video} id="stage-video" muted playsInline autoPlay disablePictureInPicture />
      </div>
      <canvas class="frozen" ref={frozen} aria-hidden="true" />
      <textarea
        class="type-field"
        ref={field}
        aria-label="Text for the app"
        autocomplete="off"
        autocapitalize="off"
        spellcheck={false}
        tabIndex={-1}
      />
      <Curtain room={room} app={app} lobby={lobby} />
      {phase === "playing" && <Hints room={room} app={app} />}
      {statsShown.value && phase === "playing" && <StatsPanel measured={room.measured} />}
      <Dock room={room} title={title} drawer={drawer} />
      {drawer.value === "settings" && <Settings room={room} app={app} node={node} close={() => (drawer.value = null)} />}
      {drawer.value === "share" && <Share room={room} api={deps.api} session={session} close={() => (drawer.value = null)} />}
      <Toasts done={room.focus} />
    </div>
  );
}
