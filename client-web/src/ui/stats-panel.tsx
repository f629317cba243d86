/** The numbers, once a second: who is at fault, the line, the picture, and where a frame's time goes. */
import type { Signal } from "@preact/signals";
import type { Stage } from "../stream/latency.ts";
import { hourlyWords } from "../stream/choices.ts";
import type { Measured } from "../stream/gauge.ts";
import { STAGES } from "../wire/constants.ts";
import type { StreamState } from "../wire/types.ts";
import { FAULT_WORDS, LIMIT_WORDS, REPAIR_WORDS } from "./faults.ts";

const ms = (value: number | null | undefined): string => (value === null || value === undefined ? "–" : `${value.toFixed(1)} ms`);
const short = (value: number | undefined): string => (value === undefined ? "–" : value.toFixed(value < 100 ? 1 : 0));
const STAGE_TITLES: Readonly<Record<Stage, string>> = {
  input: "Your input, on its way to the node",
  render: "From the input to the app's next picture",
  capture: "Copying the picture out of the app",
  encode: "Picture to compressed picture",
  pace: "Compressed picture to its last packet",
  network: "Node to browser",
  decode: "Decoding in the browser",
  present: "Jitter buffer, compositor and screen",
};

export function StatsPanel({ measured }: { readonly measured: Signal<Measured | null> }) {
  const now = measured.value;
  return (
    <aside class="stats" aria-label="Statistics" data-testid="stats">
      {now ? <Numbers now={now} /> : <p class="quiet">Measuring…</p>}
    </aside>
  );
}

const mbps = (kbps: number | null): string => (kbps === null ? "–" : `${(kbps / 1000).toFixed(1)} Mbit/s`);

type Facts = readonly (readonly [string, string])[];

/** What the node tells of its sending. */
const senderFacts = (sender: StreamState): Facts => [
  ["Target of path", `${mbps(sender.kbps_target)} of ${mbps(sender.kbps_path)}`],
  ["Encodes", `${sender.width}×${sender.height}, up to ${sender.fps_max} fps`],
  ["Encoder", sender.encoder],
  ["Queue · loss", `${sender.queue_ms} ms · ${(sender.loss_permille / 10).toFixed(1)} %`],
  ["Repair", REPAIR_WORDS[sender.repair]],
  ["Limited by", LIMIT_WORDS[sender.limited_by]],
];

function Numbers({ now }: { readonly now: Measured }) {
  const { stream, latency, round_trips, sender } = now;
  const jitter = round_trips ? `${round_trips.min_ms.toFixed(0)} to ${(round_trips.min_ms + round_trips.jitter_ms).toFixed(0)} ms` : ms(latency.rtt_ms);
  const received = stream.received_kbps === null ? "" : ` · ${hourlyWords(stream.received_kbps)}/h`;
  const facts: Facts = [
    ["Received", `${mbps(stream.received_kbps ?? stream.video_kbps)}${received}`],
    ["Picture", stream.width ? `${stream.width}×${stream.height} ${stream.codec ?? ""}` : "–"],
    ...(sender ? senderFacts(sender) : []),
    ["Round trip", `${jitter} · ICE ${ms(stream.ice_rtt_ms)}`],
    ["Jitter buffer", `${ms(stream.video_jitter_buffer_ms)} · sound ${ms(stream.audio_jitter_buffer_ms)}`],
    ["Decode", ms(stream.decode_ms)],
    ["Dropped", `${stream.frames_dropped} frames · ${stream.packets_lost} packets`],
    ["Freezes", `${stream.freezes} · ${(stream.freezes_ms / 1000).toFixed(1)} s`],
  ];
  return (
    <>
      <Verdict now={now} />
      <div class="stats-big">
        <p>
          <strong>{stream.fps ?? "–"}</strong>fps
        </p>
        <p>
          <strong>{latency.frame_ms ? latency.frame_ms.p50.toFixed(0) : "–"}</strong>ms frame
        </p>
        <p>
          <strong>{latency.input_to_picture_ms ? latency.input_to_picture_ms.p50.toFixed(0) : "–"}</strong>ms input
        </p>
      </div>
      <Ledger now={now} />
      <dl class="stats-facts">
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </>
  );
}

/** One line: whether it is fine, and else what is at fault. */
function Verdict({ now: { diagnosis } }: { readonly now: Measured }) {
  const { grade, fault } = diagnosis;
  return (
    <p class="verdict" data-grade={grade} data-fault={fault ?? "none"} data-testid="diagnosis">
      <span class="dot" />
      {fault === null ? "Fine" : FAULT_WORDS[fault].title}
    </p>
  );
}

function Ledger({ now }: { readonly now: Measured }) {
  const { stages } = now.latency;
  const longest = Math.max(1, ...STAGES.map((stage) => stages[stage]?.p50 ?? 0));
  return (
    <table class="ledger">
      <thead>
        <tr>
          <th scope="col">stage</th>
          <th />
          <th scope="col">p50</th>
          <th scope="col">p95</th>
        </tr>
      </thead>
      <tbody>
        {STAGES.map((stage) => {
          const spread = stages[stage];
          return (
            <tr key={stage} data-stage={stage} title={STAGE_TITLES[stage]}>
              <th scope="row">{stage}</th>
              <td>
                <meter min={0} max={longest} value={spread?.p50 ?? 0} aria-hidden="true" />
              </td>
              <td>{short(spread?.p50)}</td>
              <td>{short(spread?.p95)}</td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}
