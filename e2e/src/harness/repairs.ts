/** How what a path lost was made good, as a browser counts it. */

import type { Picture } from "./picture.js";

/** Packets and samples, since the connection began or since another look. */
interface Counts {
  readonly picture: {
    readonly lost: number;
    /** Sent again (RTX). */
    readonly again: number;
    /** Repair packets that were sent ahead (FlexFEC). */
    readonly ahead: number;
    readonly keys: number;
  };
  readonly sound: {
    readonly packets: number;
    readonly lost: number;
    readonly samples: number;
    /** Samples that stand for others which came too late or never. */
    readonly concealed: number;
  };
}

export class Repairs implements Counts {
  constructor(
    readonly picture: Counts["picture"],
    readonly sound: Counts["sound"],
  ) {}

  /** What has come since an earlier look. */
  since(before: Repairs): Repairs {
    return new Repairs(difference(this.picture, before.picture), difference(this.sound, before.sound));
  }
}

function difference<T extends Readonly<Record<string, number>>>(now: T, before: T): T {
  return Object.fromEntries(Object.entries(now).map(([name, value]) => [name, value - (before[name] ?? 0)])) as T;
}

/** A look at the connection of a page. */
export async function repairs({ picture }: { readonly picture: Picture }): Promise<Repairs> {
  const [video, audio] = [await picture.inbound("video"), await picture.inbound("audio")];
  const of = (entry: Record<string, number | string>, name: string): number => Number(entry[name] ?? 0);
  return new Repairs(
    {
      lost: of(video, "packetsLost"),
      again: of(video, "retransmittedPacketsReceived"),
      ahead: of(video, "fecPacketsReceived"),
      keys: of(video, "keyFramesDecoded"),
    },
    {
      packets: of(audio, "packetsReceived") + of(audio, "packetsLost"),
      lost: of(audio, "packetsLost"),
      samples: of(audio, "totalSamplesReceived"),
      concealed: of(audio, "concealedSamples"),
    },
  );
}
