/** How a session went, in plain words, and where its receipt is once there is one. */
import type { Quality } from "../wire/quality.ts";
import type { NodeRank } from "../wire/types.ts";
import type { Chronicle } from "./chronicle.ts";

export function HowItWent({ chronicle }: { readonly chronicle: Chronicle }) {
  const [quality, receipt] = [chronicle.summary.value, chronicle.receipt.value];
  if (!quality) return null;
  const ranks = receipt?.node_rank ? howItRanks(receipt.node_rank) : "";
  return (
    <div class="how-it-went">
      <p data-how="words">{howItWent(quality)}</p>
      {ranks && <p data-how="rank">{ranks}</p>}
      {receipt && (
        <p data-how="receipt">
          {AGREEMENT[receipt.agreement] ?? ""}{" "}
          <a href={`/receipts/${receipt.index}`} data-action="verify">
            Verify this session
          </a>
        </p>
      )}
    </div>
  );
}

const AGREEMENT: Readonly<Record<string, string>> = {
  agree: "The node measured the same.",
  disagree: "The node measured something else; the receipt has both.",
  "edge-only": "Only the node's figures are on record.",
};

/** In one line; what was not measured is left out. */
export function howItWent(quality: Quality): string {
  const [input] = quality.input_us;
  const [trip] = quality.rtt_us;
  const parts = [
    `${length(quality.seconds)} at ${Math.round(quality.fps_milli / 1000)} pictures a second`,
    input > 0 && `${ms(input)} from input to picture`,
    trip > 0 && `${ms(trip)} to the node and back`,
    freezes(quality.freezes),
  ];
  return `${parts.filter(Boolean).join(", ")}.`;
}

/** What checks say of the node, in one line; nothing where nobody checks. */
export function howItRanks({ gate, rank_permille }: NodeRank): string {
  switch (gate) {
    case "unchecked":
      return "";
    case "unproven":
      return "No check has passed the node yet, so it takes few players at a time.";
    case "failing":
      return "The node has failed its last checks, and takes no new players until it passes.";
    case "proven":
      return `The node passes its checks: rank ${rank_permille} of 1000.`;
  }
}

function ms(us: number): string {
  return us < 1000 ? "less than 1 ms" : `${Math.round(us / 1000)} ms`;
}

function length(seconds: number): string {
  if (seconds < 60) return seconds === 1 ? "1 second" : `${seconds} seconds`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return minutes === 1 ? "1 minute" : `${minutes} minutes`;
  const rest = minutes % 60;
  return rest === 0 ? `${Math.floor(minutes / 60)} h` : `${Math.floor(minutes / 60)} h ${rest} min`;
}

function freezes(count: number): string {
  if (count === 0) return "no freeze";
  return count === 1 ? "1 freeze" : `${count} freezes`;
}
