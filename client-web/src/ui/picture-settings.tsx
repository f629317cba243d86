/** What the picture may cost and show, kept on this device, with what an hour of it takes. */
import type { Signal } from "@preact/signals";
import { CODEC_TITLES, codecsMadeBy, FPS_CHOICES, HEIGHT_CHOICES, hourlyWords, kbpsAtMost, KBPS_CHOICES, SAVER } from "../stream/choices.ts";
import { choices, codec, codecs, dataSaver, fpsMax, heightMax, kbpsMax } from "./prefs.ts";

type PictureSettingsProps = {
  /** What comes in now, or null while nothing does. */
  readonly receivedKbps: number | null;
  /** The most that the node sends to one session, headers included, or null while it has not said. */
  readonly nodeKbps: number | null;
  /** The node's encoders, where they are known. */
  readonly encoders: readonly string[] | undefined;
};

export function PictureSettings({ receivedKbps, nodeKbps, encoders }: PictureSettingsProps) {
  const saving = dataSaver.value;
  const made = codecsMadeBy(codecs, encoders);
  // What was chosen stays in sight, also where this node cannot make it.
  const offered = codecs.filter((one) => made.includes(one) || one === codec.value);
  return (
    <>
      <h3>Picture</h3>
      <label class="row">
        <span>
          Data saver
          <small>
            At most {hourlyWords(SAVER.kbpsMax)} an hour, {SAVER.heightMax}p
          </small>
        </span>
        <input
          class="switch"
          type="checkbox"
          role="switch"
          data-field="data-saver"
          checked={saving}
          onChange={() => (dataSaver.value = !saving)}
        />
      </label>
      <NumberChoice field="bitrate" label="Bitrate" auto="Auto: what the line carries" unit="Mbit/s" scale={1000} all={KBPS_CHOICES} chosen={kbpsMax} most={nodeKbps} />
      <NumberChoice field="resolution" label="Resolution" auto="Auto: fits the window" unit="p" scale={1} all={HEIGHT_CHOICES} chosen={heightMax} />
      <NumberChoice field="frame-rate" label="Frame rate" auto="Auto: fits the screen" unit="fps" scale={1} all={FPS_CHOICES} chosen={fpsMax} />
      {offered.length > 1 && (
        <label class="row">
          <span>Video format</span>
          <select
            data-field="codec"
            value={codec.value ?? ""}
            onChange={(event) => (codec.value = codecs.find((one) => one === event.currentTarget.value) ?? null)}
          >
            <option value="">Auto</option>
            {offered.map((one) => (
              <option key={one} value={one}>
                {CODEC_TITLES[one]}
              </option>
            ))}
          </select>
        </label>
      )}
      <Cost receivedKbps={receivedKbps} nodeKbps={nodeKbps} />
    </>
  );
}

function Cost({ receivedKbps, nodeKbps }: Omit<PictureSettingsProps, "encoders">) {
  const limit = kbpsAtMost(choices.value, nodeKbps);
  const capped = nodeKbps !== null && limit === nodeKbps;
  return (
    <p class="cost" data-testid="cost">
      {limit === null ? "No limit on data." : <>At most <strong>{hourlyWords(limit)}</strong> an hour{capped && `: this node gives no more than ${Math.round(nodeKbps / 1000)} Mbit/s`}.</>}
      {receivedKbps !== null && (
        <>
          {" "}
          Now <strong>{(receivedKbps / 1000).toFixed(1)} Mbit/s</strong>: {hourlyWords(receivedKbps)} an hour.
        </>
      )}
    </p>
  );
}

type NumberChoiceProps = {
  readonly field: string;
  readonly label: string;
  readonly auto: string;
  readonly unit: string;
  /** One of `unit` in what is kept. */
  readonly scale: number;
  readonly all: readonly number[];
  readonly chosen: Signal<number | null>;
  /** Past it a choice changes nothing on this node. */
  readonly most?: number | null;
};

function NumberChoice({ field, label, auto, unit, scale, all, chosen, most = null }: NumberChoiceProps) {
  return (
    <label class="row">
      <span>{label}</span>
      <select data-field={field} value={chosen.value ?? ""} onChange={(event) => (chosen.value = Number(event.currentTarget.value) || null)}>
        <option value="">{auto}</option>
        {all.map((one) => (
          <option key={one} value={one}>
            {field === "resolution" ? "Up to " : ""}
            {one / scale}
            {unit === "p" ? "" : " "}
            {unit}
            {most !== null && one > most ? ": more than this node gives" : ""}
          </option>
        ))}
      </select>
    </label>
  );
}
