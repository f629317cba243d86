/** The player's running sessions: go on, or end them. */
import { useMemo } from "preact/hooks";
import { durationWords, refusalWords, STEP_WORDS, startStep } from "../session/words.ts";
import type { Session } from "../wire/types.ts";
import { Picture } from "./card.tsx";
import { EndModel } from "./end-model.ts";
import { Icon } from "./icons.tsx";
import type { LobbyModel } from "./lobby-model.ts";
import { navigate } from "./router.ts";
import { unlockSound } from "./sound.ts";

export function Running({ model }: { readonly model: LobbyModel }) {
  const live = model.live.value;
  if (live.length === 0) return null;
  return (
    <section class="running" aria-label="Your sessions">
      <h2>Keep playing</h2>
      <ul>
        {live.map((session) => (
          <Row key={session.id} session={session} model={model} />
        ))}
      </ul>
    </section>
  );
}

const END_LABELS = { idle: "End", sure: "Really end?", ending: "Ending…" } as const;

function Row({ session, model }: { readonly session: Session; readonly model: LobbyModel }) {
  const end = useMemo(() => new EndModel(() => model.end(session.id)), [model, session.id]);
  const refused = end.refused.value;
  const app = model.app(session.app);
  const resume = (): void => {
    unlockSound();
    navigate(session.play_path);
  };
  return (
    <li class="run" data-session={session.id} data-phase={session.state.phase}>
      {app && <Picture app={app} />}
      <div class="run-words">
        <h3>{session.title}</h3>
        <p>
          {stateWords(session)}
          {session.watchers > 0 && ` · ${session.watchers} watch`}
        </p>
        {refused && (
          <p class="card-note" role="alert" data-problem={refused.name}>
            <strong>Not ended: {refusalWords(refused).title}.</strong> {refusalWords(refused).advice}
            {refused.instance !== "" && <small> Request {refused.instance}</small>}
          </p>
        )}
      </div>
      <button type="button" class="button primary" data-action="resume" aria-label={`Resume ${session.title}`} onClick={resume}>
        <Icon name="play" />
        Resume
      </button>
      <button
        type="button"
        class={end.state.value === "sure" ? "button danger" : "button"}
        data-action="end"
        data-sure={end.state.value === "sure"}
        aria-label={`${END_LABELS[end.state.value]} ${session.title}`}
        disabled={end.state.value === "ending"}
        onBlur={() => end.leave()}
        onClick={() => void end.press()}
      >
        <Icon name="power" />
        {END_LABELS[end.state.value]}
      </button>
    </li>
  );
}

function stateWords({ state, ends_at }: Session): string {
  switch (state.phase) {
    case "queued":
      return `In line, number ${state.position}`;
    case "placing":
    case "starting":
      return STEP_WORDS[startStep(state)];
    case "ready":
    case "detached":
      return ends_at === null ? "Waits for you" : `Waits for you another ${durationWords((ends_at - Date.now()) / 1000)}`;
    case "playing":
      return "Being played in another tab or on another device";
    case "ending":
    case "ended":
      return "Ending";
  }
}
