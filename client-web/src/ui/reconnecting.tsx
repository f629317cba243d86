/** The line dropped: what happened, what is being done, and for how long the session waits. */
import { useEffect } from "preact/hooks";
import { useSignal } from "@preact/signals";
import type { LossCause, State } from "../session/machine.ts";
import { durationWords } from "../session/words.ts";
import { ToLobby } from "./curtain.tsx";
import type { PlayRoom } from "./play-room.ts";

const CAUSE_WORDS: Readonly<Record<LossCause, string>> = {
  network: "The line to the node dropped.",
  "no-way": "The connection to the node did not come about.",
  "no-picture": "The node sent no picture.",
  "node-restarting": "The node restarts its streaming.",
  "codec-changed": "The picture goes on in another codec.",
  broker: "The broker does not answer at the moment.",
  refused: "The node is not ready for you yet.",
};

const words = (state: State): string =>
  state.name === "reconnecting" ? CAUSE_WORDS[state.cause] : "Connecting again.";

export function Reconnecting({ room }: { readonly room: PlayRoom }) {
  const now = useSignal(Date.now());
  useEffect(() => {
    const timer = setInterval(() => (now.value = Date.now()), 1_000);
    return () => clearInterval(timer);
  }, [now]);
  const state = room.state.value;
  const session = room.snapshot.value;
  const left = session?.state.phase === "detached" && session.ends_at !== null ? (session.ends_at - now.value) / 1000 : null;
  const attempt = "attempt" in state ? state.attempt : 1;
  return (
    <section class="panel" data-tone="wait" role="status">
      <span class="panel-light" aria-hidden="true" />
      <h1>Reconnecting</h1>
      <p>
        {words(state)} The app keeps running{left === null || left <= 0 ? "." : `, and waits for you another ${durationWords(left)}.`}
      </p>
      <div class="panel-actions">
        <button type="button" class="button primary" data-action="retry" onClick={room.retry} disabled={state.name !== "reconnecting"}>
          Try now
        </button>
        <ToLobby />
      </div>
      {attempt > 1 && <small>Attempt {attempt}</small>}
    </section>
  );
}
