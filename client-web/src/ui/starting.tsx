/** The way to the first picture, step by step, with honest numbers where there are some. */
import { useEffect } from "preact/hooks";
import { useSignal } from "@preact/signals";
import type { State } from "../session/machine.ts";
import { bytesWords, pulledShare, START_STEPS, startStep, STEP_WORDS, WAIT_WORDS, waitWords, type StartStep } from "../session/words.ts";
import type { App, SessionState } from "../wire/types.ts";
import { Controls } from "./card.tsx";
import { ToLobby } from "./curtain.tsx";
import type { LineModel } from "./line-model.ts";
import { LineNote } from "./line.tsx";
import type { PlayRoom } from "./play-room.ts";

type StartingProps = { readonly room: PlayRoom; readonly app: App | undefined; readonly state: State; readonly line: LineModel };

export function Starting({ room, app, state, line }: StartingProps) {
  const session = state.name === "waiting" ? state.session : null;
  const step: StartStep = session ? startStep(session) : state.name === "opening" ? "place" : "connect";
  const at = START_STEPS.indexOf(step);
  const queued = session?.phase === "queued" ? session : null;
  // A node that has the app skips the fetching: it is a step only while it happens.
  const steps = START_STEPS.filter((one) => one !== "pulling" || step === "pulling");
  return (
    <section class="starting" role="status" aria-label="Starting" data-step={step}>
      <span class="lamp" aria-hidden="true">
        <i />
      </span>
      <h1>{room.snapshot.value?.title ?? app?.title ?? "Your session"}</h1>
      {queued ? <Queue {...queued} /> : <Headline state={state} step={step} />}
      {session?.phase === "starting" && session.progress.step === "pulling" && <Pulling session={session} />}
      {!queued && (
        <ol class="steps">
          {steps.map((one) => {
            const index = START_STEPS.indexOf(one);
            return (
              <li key={one} data-is={index < at ? "done" : index === at ? "now" : "next"} aria-current={index === at ? "step" : undefined}>
                {STEP_WORDS[one]}
              </li>
            );
          })}
        </ol>
      )}
      <LineNote line={line} node={room.snapshot.value?.node ?? null} />
      {app && <Controls app={app} />}
      <div class="panel-actions">
        <ToLobby />
        {session && (
          <button type="button" class="button quiet" data-action="end" onClick={room.end}>
            {queued ? "Leave the line" : "Cancel"}
          </button>
        )}
      </div>
    </section>
  );
}

function Headline({ state, step }: { readonly state: State; readonly step: StartStep }) {
  const patience = useSignal(false);
  useEffect(() => {
    patience.value = false;
    const timer = setTimeout(() => (patience.value = true), 8_000);
    return () => clearTimeout(timer);
  }, [step, patience]);
  if (state.name === "reconnecting" || (state.name === "opening" && state.attempt > 1)) {
    return <p class="starting-words">No luck yet. Trying again, attempt {state.attempt}…</p>;
  }
  const words = state.name === "attaching" && state.step === "picture" ? "Waiting for the picture" : STEP_WORDS[step];
  return (
    <p class="starting-words">
      {words}…{patience.value && <small>This takes longer than usual.</small>}
    </p>
  );
}

function Queue({ position, eta_s, eta_most_s, waits_for }: Extract<SessionState, { phase: "queued" }>) {
  return (
    <div class="queue">
      <p class="queue-place">
        <span>#</span>
        {position}
      </p>
      <p class="starting-words">
        {position === 1 ? "You are next in line" : `You are number ${position} in line`}
        <small>
          {WAIT_WORDS[waits_for ?? "slot"]} {waitWords(eta_s, eta_most_s)}{" "}
          Keep this page open: it starts by itself.
        </small>
      </p>
    </div>
  );
}

function Pulling({ session }: { readonly session: Extract<SessionState, { phase: "starting" }> }) {
  const { progress } = session;
  if (progress.step !== "pulling") return null;
  const share = pulledShare(progress);
  return (
    <div class="pulling">
      <progress aria-label="Fetching the app" {...(share === null ? {} : { value: share })} max={1} />
      <small>
        {bytesWords(progress.done_bytes)}
        {progress.total_bytes > 0 && ` of ${bytesWords(progress.total_bytes)}`}
        {progress.layers > 1 && `, ${progress.layers_done} of ${progress.layers} layers`}
      </small>
    </div>
  );
}
