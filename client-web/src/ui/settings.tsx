/** The few things worth setting while playing, and what the keys do. */
import { useEffect, useRef } from "preact/hooks";
import { LAYOUTS } from "../input/layout.ts";
import type { App, Node } from "../wire/types.ts";
import { Controls } from "./card.tsx";
import { Icon } from "./icons.tsx";
import type { PlayRoom } from "./play-room.ts";
import { PictureSettings } from "./picture-settings.tsx";
import { chosenLayout, guessedLayout, muted, statsShown, volume } from "./prefs.ts";

type SettingsProps = { readonly room: PlayRoom; readonly app: App | undefined; readonly node: Node | undefined; readonly close: () => void };

export function Settings({ room, app, node, close }: SettingsProps) {
  const first = useRef<HTMLButtonElement>(null);
  useEffect(() => first.current?.focus(), []);
  const measured = room.measured.value;
  const leave = (): void => {
    close();
    room.focus();
  };
  return (
    <section class="drawer" role="dialog" aria-label="Settings" onKeyDown={(event) => event.key === "Escape" && leave()}>
      <header>
        <h2>Settings</h2>
        <button ref={first} type="button" class="dock-button" aria-label="Close settings" onClick={leave}>
          <Icon name="close" />
        </button>
      </header>
      <PictureSettings
        receivedKbps={measured?.stream.received_kbps ?? null}
        nodeKbps={measured?.sender?.kbps_max ?? null}
        encoders={node?.encoders}
      />
      <h3>Keys, sound and more</h3>
      <label class="row">
        <span>Keyboard layout</span>
        <select
          data-field="layout"
          value={chosenLayout.value ?? ""}
          onChange={(event) => {
            chosenLayout.value = event.currentTarget.value || null;
            room.setLayout();
          }}
        >
          <option value="">Auto: {LAYOUTS.find(({ name }) => name === guessedLayout.value)?.title ?? guessedLayout.value}</option>
          {LAYOUTS.map((layout) => (
            <option key={layout.name} value={layout.name}>
              {layout.title}
            </option>
          ))}
        </select>
      </label>
      <label class="row">
        <span>Volume</span>
        <input
          type="range"
          min={0}
          max={1}
          step={0.05}
          value={volume.value}
          onInput={(event) => {
            volume.value = Number(event.currentTarget.value);
            muted.value = false;
          }}
        />
      </label>
      <label class="row">
        <span>
          Statistics<small>Ctrl+Alt+S</small>
        </span>
        <input class="switch" type="checkbox" role="switch" checked={statsShown.value} onChange={() => (statsShown.value = !statsShown.value)} />
      </label>
      <div class="row">
        <span>
          Clipboard<small>Ctrl+V always pastes. Sharing sends it each time you come back to this page.</small>
        </span>
        <button type="button" class="button small" onClick={() => void room.allowClipboard()}>
          Share
        </button>
      </div>
      {app && app.controls.length > 0 && (
        <>
          <h3>What the keys do</h3>
          <Controls app={app} />
        </>
      )}
      <h3>Nearlight's own keys</h3>
      <dl class="controls">
        {[
          ["F11", "Full screen"],
          ["Ctrl Alt S", "Statistics"],
          ["Ctrl Alt M", "Menu"],
        ].map(([keys, action]) => (
          <div key={keys}>
            <dt>
              <kbd>{keys}</kbd>
            </dt>
            <dd>{action}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}
