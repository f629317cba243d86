/**
 * The player's own controls, above the app: out of sight while playing, back when the pointer goes
 * to the top, on Ctrl+Alt+M, on focus, or on a tap of the handle.
 */
import { useEffect, useRef } from "preact/hooks";
import { useSignal, type Signal } from "@preact/signals";
import { canFullscreen } from "../input/fullscreen.ts";
import { DockButton } from "./dock-button.tsx";
import { Icon, Mark } from "./icons.tsx";
import type { PlayRoom } from "./play-room.ts";
import { muted, statsShown, volume } from "./prefs.ts";
import { navigate } from "./router.ts";
import { toast } from "./toasts.tsx";

/** What is open at the side of the picture. */
export type Drawer = "settings" | "share" | null;

type DockProps = { readonly room: PlayRoom; readonly title: string; readonly drawer: Signal<Drawer> };

/** How near to the top the pointer calls the dock, CSS pixels. */
const NEAR_TOP_PX = 36;
const LINGER_MS = 1_600;

export function Dock({ room, title, drawer }: DockProps) {
  const dock = useRef<HTMLElement>(null);
  const near = useSignal(true);
  const sure = useSignal(false);
  useEffect(() => {
    const over = new AbortController();
    let timer = setTimeout(() => (near.value = false), LINGER_MS * 2);
    const look = (event: PointerEvent): void => {
      if (event.pointerType === "touch" || document.pointerLockElement) return;
      const inside = event.target instanceof Node && dock.current?.contains(event.target);
      if (event.clientY <= NEAR_TOP_PX || inside) {
        near.value = true;
        clearTimeout(timer);
        timer = setTimeout(() => (near.value = false), LINGER_MS);
      }
    };
    addEventListener("pointermove", look, { signal: over.signal, capture: true, passive: true });
    return () => {
      over.abort();
      clearTimeout(timer);
    };
  }, [near]);
  const open = room.menuOpen.value;
  useEffect(() => {
    if (open) dock.current?.querySelector("button")?.focus();
  }, [open]);

  const back = (event: KeyboardEvent): void => {
    if (event.key !== "Escape") return;
    room.menuOpen.value = false;
    sure.value = false;
    room.focus();
  };
  const { phase } = room.phase.value;
  const playing = phase === "playing";
  const shown = near.value || open || !playing || drawer.value !== null;
  const toggle = (one: Drawer): void => void (drawer.value = drawer.value === one ? null : one);
  const copyLink = (): void => {
    navigator.clipboard.writeText(location.href).then(
      () => toast("Link copied. It opens this session in your other tabs of this browser."),
      () => toast(`Copy the address bar: ${location.href}`),
    );
  };
  return (
    <>
      <button
        type="button"
        class="handle"
        data-action="menu"
        aria-expanded={shown}
        aria-label="Menu"
        data-on={open}
        onClick={() => (room.menuOpen.value = !open)}
      >
        <Mark />
      </button>
      <nav class="dock" ref={dock} data-shown={shown} aria-label="Session" onKeyDown={back}>
        <DockButton action="lobby" icon="back" label="Lobby" onClick={() => navigate("/")} />
        <span class="dock-title">{title}</span>
        {playing && (
          <>
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
            <DockButton action="type" icon="keyboard" label="Type text" pressed={room.typing.value} onClick={() => room.toggleTyping()} />
            <DockButton action="stats" icon="stats" label="Statistics" hint="Ctrl+Alt+S" pressed={statsShown.value} onClick={() => (statsShown.value = !statsShown.value)} />
          </>
        )}
        {playing && (
          <DockButton
            action="share"
            icon="eye"
            label={room.watchers.value === 0 ? "Let others watch" : `Let others watch: ${room.watchers.value} watch now`}
            pressed={drawer.value === "share"}
            badge={room.watchers.value}
            onClick={() => toggle("share")}
          />
        )}
        <DockButton action="copy-link" icon="link" label="Copy link" onClick={copyLink} />
        <DockButton action="settings" icon="settings" label="Settings" pressed={drawer.value === "settings"} onClick={() => toggle("settings")} />
        {canFullscreen() && (
          <DockButton
            action="fullscreen"
            icon={room.fullscreen.value.on ? "windowed" : "fullscreen"}
            label={room.fullscreen.value.on ? "Leave full screen" : "Full screen"}
            hint="F11"
            onClick={() => room.toggleFullscreen()}
          />
        )}
        {["playing", "reconnecting", "elsewhere", "detached"].includes(phase) && (
          <button
            type="button"
            class="button small danger"
            data-action="end"
            data-sure={sure.value}
            onBlur={() => (sure.value = false)}
            onClick={() => (sure.value ? room.end() : (sure.value = true))}
          >
            <Icon name="power" />
            {sure.value ? "Really end?" : "End"}
          </button>
        )}
      </nav>
    </>
  );
}
