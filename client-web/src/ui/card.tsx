/** One app of the catalogue. */
import { useEffect, useRef } from "preact/hooks";
import { useSignal } from "@preact/signals";
import { wishWords } from "../session/wish.ts";
import type { App } from "../wire/types.ts";
import { Icon } from "./icons.tsx";
import type { LobbyModel } from "./lobby-model.ts";

export function AppCard({ app, model }: { readonly app: App; readonly model: LobbyModel }) {
  const starting = model.starting.value;
  const refused = model.refused.value;
  const words = refused?.app === app.id ? wishWords(refused.refusal) : null;
  const card = useRef<HTMLLIElement>(null);
  const named = model.named.value === app.id;
  useEffect(() => {
    if (!named) return;
    card.current?.scrollIntoView({ block: "center" });
    card.current?.querySelector<HTMLButtonElement>('[data-action="play"]')?.focus({ preventScroll: true });
  }, [named]);
  const verb = app.shelf === "game" ? "Play" : "Open";
  return (
    <li class="card" ref={card} data-app={app.id} data-available={app.available} data-named={named}>
      <Picture app={app} />
      <div class="card-body">
        <h3>{app.title}</h3>
        <p class="card-summary">{app.summary}</p>
        <Controls app={app} />
        <div class="card-foot">
          <button
            type="button"
            class="button primary"
            data-action="play"
            aria-label={`${verb} ${app.title}`}
            disabled={!app.available || starting !== null}
            onClick={() => void model.play(app.id)}
          >
            <Icon name="play" />
            {starting === app.id ? "Starting…" : verb}
          </button>
          <ul class="facts" aria-label="Facts">
            <li>
              <Icon name="screen" />
              {app.display.height}p · {app.display.hz} Hz
            </li>
            {app.saves && (
              <li>
                <Icon name="save" />
                Saves kept
              </li>
            )}
            {app.gpu !== "none" && (
              <li>
                <Icon name="chip" />
                GPU
              </li>
            )}
          </ul>
        </div>
        {!app.available && <p class="card-note">No node can run this at the moment.</p>}
        {words && (
          <p class="card-note" role="alert" data-problem={refused?.refusal.name}>
            <strong>{words.title}.</strong> {words.advice}
          </p>
        )}
        {refused?.app === app.id && refused.refusal.name === "save-elsewhere" && <SaveChoice app={app.id} model={model} />}
      </div>
    </li>
  );
}

/** The saves are where nothing can be played now: the player decides. */
export function SaveChoice({ app, model }: { readonly app: string; readonly model: LobbyModel }) {
  return (
    <div class="card-foot" data-choice="saves">
      <button type="button" class="button small primary" data-action="wait-for-saves" onClick={() => void model.play(app, "wait")}>
        Wait for my saves
      </button>
      <button type="button" class="button small" data-action="begin-without-saves" onClick={() => void model.play(app, "without")}>
        Begin without
      </button>
    </div>
  );
}

/** The app's picture; where it does not load, its name stands in. */
export function Picture({ app }: { readonly app: Pick<App, "title" | "picture"> }) {
  const broken = useSignal(false);
  return (
    <div class="picture">
      {broken.value ? (
        <span class="picture-none" aria-hidden="true">
          {app.title.slice(0, 1)}
        </span>
      ) : (
        <img src={app.picture} alt="" width={1280} height={800} decoding="async" onError={() => (broken.value = true)} />
      )}
    </div>
  );
}

export function Controls({ app }: { readonly app: Pick<App, "controls"> }) {
  if (app.controls.length === 0) return null;
  return (
    <dl class="controls" aria-label="Controls">
      {app.controls.map((control) => (
        <div key={control.keys}>
          <dt>
            <kbd>{control.keys}</kbd>
          </dt>
          <dd>{control.action}</dd>
        </div>
      ))}
    </dl>
  );
}

export function GhostCard({ still }: { readonly still: boolean }) {
  return (
    <li class="card ghost" data-still={still} aria-hidden="true">
      <div class="picture" />
      <div class="card-body">
        <span class="bone wide" />
        <span class="bone" />
        <span class="bone short" />
      </div>
    </li>
  );
}
