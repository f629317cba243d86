/** What the verifier found: the outcome large, then every check with whose key it rests on and what pinned that. */
import { when } from "../../receipts/story.ts";
import type { Check, Outcome, Report, Verified } from "../../receipts/verifier.ts";

const OUTCOME_WORDS: Readonly<Record<Outcome, string>> = {
  VALID: "Every check holds, and nothing in the log contests it.",
  DISPUTED: "Every check holds, and somebody contests what it says. A referee has not decided yet.",
  REVOKED: "Every check holds, and a later entry says that it is void.",
  MALFORMED: "This is no receipt: it cannot be read in the one form that there is.",
  "UNKNOWN-KEY": "Whoever issued it is not in the directory for this, or was not at that time.",
  FORGED: "A signature is missing or does not fit. Do not use it.",
  "NOT-LOGGED": "It is not in a log that the policy believes.",
  "NOT-WITNESSED": "Too few of the policy's witnesses saw the log that has it.",
};

const CHECK_WORDS: Readonly<Record<string, string>> = {
  form: "Form",
  "issuer-key": "Issuer's key",
  "issuer-signature": "Issuer's signature",
  countersignature: "Node's signature",
  checkpoint: "Checkpoint of the log",
  inclusion: "Place in the log",
  witnesses: "Witnesses",
  time: "Time",
  standing: "What came later",
};

const TONES: Readonly<Record<string, string>> = { VALID: "good", DISPUTED: "fair" };

export function Outcomes({ verified, policy }: { readonly verified: Verified; readonly policy: string }) {
  const { report, cautions } = verified;
  return (
    <section class="sheet outcome" data-outcome={report.outcome} data-tone={TONES[report.outcome] ?? "poor"} aria-label="What this browser found">
      <div class="found" role="status">
        <strong>{report.outcome}</strong>
        <p>{OUTCOME_WORDS[report.outcome]}</p>
        <p class="quiet">{asOf(report)}</p>
      </div>
      {cautions.length > 0 && (
        <ul class="cautions" aria-label="Warnings">
          {cautions.map((words) => (
            <li key={words}>{sentence(words)}</li>
          ))}
        </ul>
      )}
      <ol class="checks" aria-label="Checks">
        {report.checks.map((check) => (
          <CheckRow key={check.name} check={check} policy={policy} />
        ))}
      </ol>
    </section>
  );
}

function asOf(report: Report): string {
  if (report.as_of_size === null) return "The log was not looked at: an earlier check failed.";
  const seen = report.as_of_s === null ? "no witness says when" : `which a witness saw on ${when(report.as_of_s)}`;
  return `As of the checkpoint with ${report.as_of_size} entries, ${seen}.`;
}

/** Names of logs, which may begin one, stay as they are. */
const sentence = (words: string): string => (/^[a-z]+[ ,]/.test(words) ? `${words.charAt(0).toUpperCase()}${words.slice(1)}.` : `${words}.`);

/** It holds that nobody was asked for; that is no reason to be at ease. */
const isNeutral = (check: Check): boolean => check.passed && check.name === "witnesses" && check.keys.length === 0;

function CheckRow({ check, policy }: { readonly check: Check; readonly policy: string }) {
  const pinned = check.pinned_by === "the policy" ? policy : check.pinned_by;
  return (
    <li data-check={check.name} data-passed={check.passed} data-neutral={isNeutral(check) || undefined}>
      <span class="check-mark" aria-hidden="true">
        {isNeutral(check) ? "–" : check.passed ? "✓" : "✗"}
      </span>
      <div>
        <h3>
          {CHECK_WORDS[check.name] ?? check.name}
          <span class="unseen">{check.passed ? ": holds" : ": failed"}</span>
        </h3>
        <p>{sentence(check.found)}</p>
        {check.keys.map((key) => (
          <p key={key} class="key">
            By key <code>{key}</code>
          </p>
        ))}
        {pinned !== "" && <p class="key">It counts because of {pinned}.</p>}
      </div>
    </li>
  );
}
