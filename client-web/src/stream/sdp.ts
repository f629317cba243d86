/**
 * The few edits that we make to session descriptions, each a pure function on text.
 */

/** Asks for stereo: without it Chromium decodes Opus to one channel (RFC 7587 section 6.1). */
export function askStereo(offer: string): string {
  const payload = /^a=rtpmap:(\d+) opus\/48000\/2\r?$/im.exec(offer)?.[1];
  if (payload === undefined) return offer;
  const fmtp = new RegExp(`^(a=fmtp:${payload} )(.*?)(\\r?)$`, "m");
  return offer.replace(fmtp, (line, head: string, parameters: string, end: string) =>
    /(^|;)\s*stereo=/.test(parameters) ? line : `${head}${parameters};stereo=1;sprop-stereo=1${end}`,
  );
}

/**
 * Gives sound a media stream of its own. Browsers delay the faster of two tracks of one stream for
 * lip sync, and sound is the slower one: 10 to 200 ms that a player would feel in every click.
 */
export function partStreams(answer: string): string {
  return answer
    .split(/^(?=m=)/m)
    .map((section) =>
      section.startsWith("m=audio")
        ? section
            .replace(/^a=msid:\S+/m, "a=msid:nearlight-sound")
            .replace(/^(a=ssrc:\d+ msid:)\S+/gm, "$1nearlight-sound")
        : section,
    )
    .join("");
}

/** Trickled candidates as `application/trickle-ice-sdpfrag` (RFC 8840 section 9). */
export function fragment(
  local: string,
  candidates: readonly { readonly candidate: string; readonly mid: string | null }[],
  complete: boolean,
): string {
  const line = (name: string): string => new RegExp(`^a=${name}:.*$`, "m").exec(local)?.[0].trim() ?? "";
  const mid = /^a=mid:(.*)$/m.exec(local)?.[1]?.trim() ?? "0";
  const media = /^m=\S+/m.exec(local)?.[0] ?? "m=video";
  const lines = [
    line("ice-ufrag"),
    line("ice-pwd"),
    // One transport carries all media (BUNDLE): the first section stands for it.
    `${media} 9 UDP/TLS/RTP/SAVPF 0`,
    `a=mid:${mid}`,
    ...candidates.filter((one) => one.candidate !== "").map((one) => `a=${one.candidate}`),
    ...(complete ? ["a=end-of-candidates"] : []),
  ];
  return `${lines.filter((text) => text !== "").join("\r\n")}\r\n`;
}

type OfferedCodec = { readonly mimeType: string; readonly sdpFmtpLine?: string };

/** The codecs to offer, best first. The node chooses among them, so a player who wants one codec
 *  offers that one alone, with the formats that mend losses; one that the browser lacks counts as
 *  no wish. */
export function chooseCodecs<C extends OfferedCodec>(codecs: readonly C[], only: string | null): C[] {
  const sorted = [...codecs].sort((a, b) => codecRank(a) - codecRank(b));
  const wanted = sorted.filter((codec) => codec.mimeType.toLowerCase() === `video/${(only ?? "").toLowerCase()}`);
  return wanted.length === 0 ? sorted : [...wanted, ...sorted.filter(isRepair)];
}

const isRepair = ({ mimeType }: OfferedCodec): boolean => /\/(rtx|red|ulpfec|flexfec-03)$/i.test(mimeType);

/** How much we like a codec: smaller is better. H.264 as the edge makes it, any H.264, VP8, the
 *  rest; formats that mend losses keep their place behind. */
function codecRank(codec: OfferedCodec): number {
  const name = codec.mimeType.toLowerCase();
  const fmtp = codec.sdpFmtpLine?.toLowerCase() ?? "";
  if (name === "video/h264") {
    if (!fmtp.includes("packetization-mode=1")) return 2;
    return fmtp.includes("profile-level-id=42e01f") ? 0 : 1;
  }
  if (name === "video/vp8") return 3;
  return isRepair(codec) ? 5 : 4;
}
