/**
 * What the player chose about the stream on this device, and what follows from it: the limits of
 * the display, the wish that the node is told, and what an hour of play costs. Pure.
 */
import type { InputEvent } from "../wire/codec.ts";
import type { DisplayMode, GpuClass } from "../wire/types.ts";

/** `null` is "auto". */
export type Choices = {
  readonly kbpsMax: number | null;
  readonly heightMax: number | null;
  readonly fpsMax: number | null;
  readonly dataSaver: boolean;
};

/** Up to where "auto" goes. */
export type Ceiling = { readonly heightMax: number; readonly hzMax: number };

export const KBPS_CHOICES = [2, 3, 5, 8, 12, 16, 20, 30, 40, 50].map((mbps) => mbps * 1000);
export const HEIGHT_CHOICES = [720, 1080, 1440] as const;
export const FPS_CHOICES = [30, 60, 90, 120, 144] as const;
/** What the data saver allows: 1.35 GB an hour, and still 60 pictures a second. */
export const SAVER = { kbpsMax: 3_000, heightMax: 720, fpsMax: 60 } as const;

const GPU_CEILING: Ceiling = { heightMax: 1080, hzMax: 144 };
const SOFTWARE_CEILING: Ceiling = { heightMax: 720, hzMax: 60 };

/** Where a node has no GPU, the app gets the size and the rate that its slot was measured for. */
export function ceilingOf(app: DisplayMode | undefined, gpu: GpuClass | undefined): Ceiling {
  if (gpu !== undefined && gpu !== "none") return GPU_CEILING;
  return app ? { heightMax: app.height, hzMax: app.hz } : SOFTWARE_CEILING;
}

const least = (a: number | null, b: number | null): number | null => (a === null ? b : b === null ? a : Math.min(a, b));

/** The most that can come in, kbit/s: what was chosen, or the node's own limit where that is less; null where neither says. */
export function kbpsAtMost(choices: Choices, nodeKbps: number | null): number | null {
  return least(effective(choices).kbpsMax, nodeKbps);
}

/** The choices with the data saver worked in. */
export function effective(choices: Choices): Omit<Choices, "dataSaver"> {
  const saver = choices.dataSaver ? SAVER : { kbpsMax: null, heightMax: null, fpsMax: null };
  return {
    kbpsMax: least(choices.kbpsMax, saver.kbpsMax),
    heightMax: least(choices.heightMax, saver.heightMax),
    fpsMax: least(choices.fpsMax, saver.fpsMax),
  };
}

/** The display's limits. A chosen rate is asked for as it is: twice the screen's rate halves a wait. */
export function displayLimits(choices: Choices, ceiling: Ceiling): {
  readonly heightMax: number;
  readonly hz: { readonly max: number } | { readonly exact: number };
} {
  const { heightMax, fpsMax } = effective(choices);
  const hz = choices.fpsMax === null ? { max: Math.min(ceiling.hzMax, fpsMax ?? ceiling.hzMax) } : { exact: fpsMax ?? choices.fpsMax };
  return { heightMax: heightMax ?? ceiling.heightMax, hz };
}

export function wishOf(choices: Choices): Extract<InputEvent, { kind: "wish" }> {
  const { kbpsMax, heightMax, fpsMax } = effective(choices);
  return { kind: "wish", kbpsMax: kbpsMax ?? 0, heightMax: heightMax ?? 0, fpsMax: fpsMax ?? 0 };
}

/** Gigabytes in an hour at so many kbit/s. */
export function gigabytesAnHour(kbps: number): number {
  return (kbps * 1000 * 3600) / 8 / 1e9;
}

/** `1.4 GB`, `14 GB`, `45 MB`: no digits that nobody can use. */
export function hourlyWords(kbps: number): string {
  const gigabytes = gigabytesAnHour(kbps);
  if (gigabytes < 0.1) return `${Math.round(gigabytes * 1000)} MB`;
  return `${gigabytes < 10 ? gigabytes.toFixed(1) : Math.round(gigabytes)} GB`;
}

/** Codecs by the names of `RTCRtpReceiver.getCapabilities`, best known first. */
export const CODECS = ["H264", "VP9", "AV1", "H265"] as const;
export type Codec = (typeof CODECS)[number];
export const CODEC_TITLES: Readonly<Record<Codec, string>> = { H264: "H.264", VP9: "VP9", AV1: "AV1", H265: "HEVC" };

/** Those of them that this browser can decode. */
export function codecsIn(mimeTypes: readonly string[]): readonly Codec[] {
  const known = new Set(mimeTypes.map((mime) => mime.toLowerCase()));
  return CODECS.filter((codec) => known.has(`video/${codec.toLowerCase()}`));
}

/** What an encoder's name, such as `x264enc` or `vah265enc`, says of its codec. */
const MADE_BY: Readonly<Record<Codec, RegExp>> = { H264: /264/, VP9: /vp9/i, AV1: /av1/i, H265: /265|hevc/i };

/** Those of `codecs` that a node makes; all of them while its encoders are not known. */
export function codecsMadeBy(codecs: readonly Codec[], encoders: readonly string[] | undefined): readonly Codec[] {
  if (encoders === undefined) return codecs;
  return codecs.filter((codec) => encoders.some((name) => MADE_BY[codec].test(name)));
}
