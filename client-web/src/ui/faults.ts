/** Who is at fault, what limits the picture and how losses are mended, in plain words. */
import type { Fault } from "../stream/diagnosis.ts";
import type { LimitedBy, Repair } from "../wire/types.ts";

export type FaultWords = {
  /** One or two words, for a label. */
  readonly name: string;
  readonly title: string;
  readonly advice: string;
};

export const FAULT_WORDS: Readonly<Record<Fault, FaultWords>> = {
  device: {
    name: "This device",
    title: "This device cannot keep up",
    advice: "Close other tabs and programs, or choose a lower resolution or frame rate.",
  },
  node: {
    name: "The node",
    title: "The node is at its limit",
    advice: "It is busy drawing and sending. A lower resolution or frame rate helps; so does another time.",
  },
  line: {
    name: "Your line",
    title: "Your line holds the picture back",
    advice: "Pause downloads and videos in your network, or choose a lower bitrate.",
  },
  wifi: {
    name: "Wi-Fi",
    title: "Your Wi-Fi is unsteady",
    advice: "Move closer to the router, use its 5 GHz network, or plug in a cable.",
  },
  distance: {
    name: "Distance",
    title: "The node is far away",
    advice: "The way there takes this long. Only a nearer node makes it shorter.",
  },
};

export const LIMIT_WORDS: Readonly<Record<LimitedBy, string>> = {
  nothing: "Nothing",
  capacity: "What the line carries",
  loss: "Losses on the line",
  uplink: "The node's uplink, shared",
  node: "The node's speed",
  player: "Your settings",
  operator: "What the node gives one session",
};

export const REPAIR_WORDS: Readonly<Record<Repair, string>> = {
  "key-frame": "Key frames",
  rtx: "Sent again",
  "flex-fec": "Spare packets, sent again",
};
