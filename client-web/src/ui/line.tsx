/** What a line check says: a strip at the top of the lobby, and a word at each node and at a start. */
import type { Check } from "../probe/kept.ts";
import type { Grade } from "../stream/diagnosis.ts";
import { FAULT_WORDS } from "./faults.ts";
import { Icon } from "./icons.tsx";
import type { FailedCheck, LineModel } from "./line-model.ts";

export const GRADE_WORDS: Readonly<Record<Grade, string>> = { good: "Good", fair: "Playable", poor: "Poor" };

/** `12 ms · ±3 ms · 48 Mbit/s`: what the verdict rests on. */
export function figuresWords({ figures: { trips, kbps, loss_permille } }: Check): string {
  const parts = [
    trips && `${trips.min_ms < 10 ? trips.min_ms.toFixed(1) : Math.round(trips.min_ms)} ms`,
    trips && `±${Math.max(1, Math.round(trips.jitter_ms))} ms`,
    kbps === null ? null : kbps >= 100_000 ? "over 100 Mbit/s" : `about ${kbps < 10_000 ? (kbps / 1000).toFixed(1) : Math.round(kbps / 1000)} Mbit/s`,
    loss_permille > 0 && `${(loss_permille / 10).toFixed(1)} % lost`,
  ];
  return parts.filter(Boolean).join(" · ");
}

const FAILED_WORDS: Readonly<Record<FailedCheck, string>> = {
  busy: "The node checks other lines at the moment. Try again in some seconds; playing works all the same.",
  refused: "The node took no check this time. Playing works all the same.",
  unreachable: "No packet came through to the node. If an app shows no picture either, a firewall between you blocks UDP.",
  impossible: "WebRTC is switched off in this browser, or blocked by a policy or an extension. Nothing can be played until it is allowed for this site.",
};

type LineStripProps = { readonly line: LineModel; readonly nodeName: (id: string) => string };

/** At the top of the lobby: the check as it goes, then what came of it until it is put away. */
export function LineStrip({ line, nodeName }: LineStripProps) {
  const state = line.state.value;
  switch (state.name) {
    case "idle":
      return null;
    case "checking":
      return (
        <section class="line-strip" role="status" aria-label="Line check" data-line="checking">
          <span class="line-pulse" aria-hidden="true" />
          <div>
            <h2>Checking your line to {nodeName(state.node)}</h2>
            <progress max={1} value={state.share} aria-label="Line check" />
          </div>
          <button type="button" class="button small quiet" data-action="skip-check" onClick={() => line.stop()}>
            Skip
          </button>
        </section>
      );
    case "checked": {
      const { verdict } = state.check;
      const words = verdict.fault && FAULT_WORDS[verdict.fault];
      return (
        <section class="line-strip" role="status" aria-label="Line check" data-line={verdict.grade} data-fault={verdict.fault ?? "none"}>
          <span class="dot" />
          <div>
            <h2>{words ? `${GRADE_WORDS[verdict.grade]} line: ${words.title.toLowerCase().replace("wi-fi", "Wi-Fi")}` : "Good line, ready to play"}</h2>
            <p>
              {words && `${words.advice} `}
              <small>{figuresWords(state.check)}</small>
            </p>
          </div>
          <StripButtons line={line} node={state.node} again={verdict.grade !== "good"} />
        </section>
      );
    }
    case "failed":
      return (
        <section class="line-strip" role="status" aria-label="Line check" data-line="failed">
          <span class="dot" />
          <div>
            <h2>The line could not be checked</h2>
            <p>{FAILED_WORDS[state.why]}</p>
          </div>
          <StripButtons line={line} node={state.node} again />
        </section>
      );
  }
}

function StripButtons({ line, node, again }: { readonly line: LineModel; readonly node: string; readonly again: boolean }) {
  return (
    <>
      {again && (
        <button type="button" class="button small" data-action="check-line" onClick={() => void line.check(node, true)}>
          Check again
        </button>
      )}
      <button type="button" class="dock-button" aria-label="Put away" onClick={() => line.dismiss()}>
        <Icon name="close" />
      </button>
    </>
  );
}

/** One word on the line to a node, or nothing where it is not known. */
export function LineWord({ check }: { readonly check: Check | null }) {
  if (!check) return null;
  const { grade, fault } = check.verdict;
  return (
    <span class="line-word" data-grade={grade} title={figuresWords(check)}>
      <span class="dot" />
      {GRADE_WORDS[grade]} line{fault && `: ${FAULT_WORDS[fault].name}`}
    </span>
  );
}

/** While a session starts: how the line is, or that it is being looked at. */
export function LineNote({ line, node }: { readonly line: LineModel; readonly node: string | null }) {
  const state = line.state.value;
  if (state.name === "checking") return <p class="line-note">Checking your line…</p>;
  const check = node === null ? null : line.of(node);
  if (!check) return null;
  const { grade, fault } = check.verdict;
  return (
    <p class="line-note" data-grade={grade}>
      <LineWord check={check} />
      {grade === "poor" && fault && <small>{FAULT_WORDS[fault].advice}</small>}
    </p>
  );
}
