/**
 * Reads what a node can see of a player: ICE checks (RFC 8489), the DTLS handshake (RFC 6347), kinds and times of SRTCP
 * (RFC 3711), and the offer. Pure. What is encrypted stays so here; the node itself sees more, and docs/proof.md says what.
 */

import type { Datagram } from "./tap.js";

/** One facet of a player: its name, and what it is like, in a form that two players can be compared in. */
export type Facets = Readonly<Record<string, string>>;

const STUN = new Map([
  [0x0006, "USERNAME"],
  [0x0008, "MESSAGE-INTEGRITY"],
  [0x0009, "ERROR-CODE"],
  [0x0020, "XOR-MAPPED-ADDRESS"],
  [0x0024, "PRIORITY"],
  [0x0025, "USE-CANDIDATE"],
  [0x8022, "SOFTWARE"],
  [0x8028, "FINGERPRINT"],
  [0x8029, "ICE-CONTROLLED"],
  [0x802a, "ICE-CONTROLLING"],
  [0xc057, "GOOG-NETWORK-INFO"],
  [0xc05e, "GOOG-DELTA"],
  [0xc05f, "GOOG-DELTA-ACK"],
]);
const RTCP = new Map([
  [200, "SR"],
  [201, "RR"],
  [205, "RTPFB"],
  [206, "PSFB"],
  [207, "XR"],
]);
const hex = (value: number): string => `0x${value.toString(16).padStart(4, "0")}`;
const kind = ({ bytes }: Datagram): "stun" | "dtls" | "rtcp" | "rtp" | "other" => {
  const [first = 255, second = 0] = bytes;
  if (first < 4) return "stun";
  if (first >= 20 && first < 64) return "dtls";
  if (first < 128 || first > 191) return "other";
  return second >= 192 && second <= 223 ? "rtcp" : "rtp";
};
const unique = (values: readonly string[]): string => [...new Set(values)].sort().join(" | ");

/** Everything of one player's datagrams. */
export function facetsOf(datagrams: readonly Datagram[]): Facets {
  const of = (wanted: string): Datagram[] => datagrams.filter((one) => kind(one) === wanted);
  return { ...stun(of("stun")), ...dtls(of("dtls")), ...rtcp(of("rtcp")) };
}

function stun(datagrams: readonly Datagram[]): Facets {
  const attributes = (type: number): string[] =>
    datagrams
      .filter(({ bytes }) => bytes.length >= 20 && bytes.readUInt16BE(0) === type)
      .map(({ bytes }) => {
        const names: string[] = [];
        for (let at = 20; at + 4 <= bytes.length; at += 4 + 4 * Math.ceil(bytes.readUInt16BE(at + 2) / 4)) {
          const number = bytes.readUInt16BE(at);
          names.push(STUN.get(number) ?? hex(number));
        }
        return names.join(" ");
      });
  return { "stun-request": unique(attributes(0x0001)), "stun-response": unique(attributes(0x0101)) };
}

/** The messages of a handshake that are not encrypted: type, and the body's first fragment. */
function handshake(datagrams: readonly Datagram[]): [number, Buffer][] {
  const messages: [number, Buffer][] = [];
  for (const { bytes } of datagrams) {
    for (let at = 0; at + 13 <= bytes.length; at += 13 + bytes.readUInt16BE(at + 11)) {
      const record = bytes.subarray(at + 13, at + 13 + bytes.readUInt16BE(at + 11));
      const [isHandshake, isPlain] = [bytes[at] === 22, bytes.readUInt16BE(at + 3) === 0];
      if (!isHandshake || !isPlain || record.length < 12) continue;
      const first = record.readUIntBE(6, 3) === 0;
      if (first) messages.push([record[0] ?? 0, record.subarray(12)]);
    }
  }
  return messages;
}

function dtls(datagrams: readonly Datagram[]): Facets {
  const messages = handshake(datagrams);
  const of = (type: number): Buffer | undefined => messages.find(([one]) => one === type)?.[1];
  const hello = of(2);
  const client = of(1);
  return {
    "dtls-role": client ? "client" : "server",
    "dtls-messages": [...new Set(messages.map(([type]) => type))].sort((a, b) => a - b).join(" "),
    "dtls-hello": hello ? serverHello(hello) : "",
    "dtls-certificate": certificate(of(11)),
    "dtls-certificate-request": (of(13) ?? Buffer.alloc(0)).toString("hex"),
    "dtls-curve": (of(12) ?? Buffer.alloc(3)).subarray(0, 3).toString("hex"),
  };
}

/** Version, session id's length, cipher suite, and extensions in their order. */
function serverHello(body: Buffer): string {
  const idBytes = body[34] ?? 0;
  let at = 35 + idBytes;
  const suite = hex(body.readUInt16BE(at));
  at += 5;
  const extensions: string[] = [];
  while (at + 4 <= body.length) {
    extensions.push(hex(body.readUInt16BE(at)));
    at += 4 + body.readUInt16BE(at + 2);
  }
  return `${hex(body.readUInt16BE(0))} id ${idBytes} suite ${suite} extensions ${extensions.join(" ")}`;
}

/** What is not random of a self-signed certificate: how its key and signature are made, and whom it names. */
function certificate(body: Buffer | undefined): string {
  if (!body) return "";
  const text = body.toString("latin1");
  const has = (name: string, oid: string): string => (text.includes(Buffer.from(oid, "hex").toString("latin1")) ? name : "");
  const names = [...text.matchAll(/\x06\x03\x55\x04\x03[\x0c\x13\x16].([ -~]{1,64}?)(?=[^ -~])/gs)].map(([, name]) => (name ?? "").length);
  return [
    has("ec-public-key", "2a8648ce3d0201"),
    has("p256", "2a8648ce3d030107"),
    has("ecdsa-sha256", "2a8648ce3d040302"),
    has("extensions", "551d"),
    `names of ${names.length} with ${[...new Set(names)].join(",")} letters`,
  ].filter(Boolean).join(" ");
}

function rtcp(datagrams: readonly Datagram[]): Facets {
  const name = ({ bytes }: Datagram): string => RTCP.get(bytes[1] ?? 0) ?? String(bytes[1]);
  const format = (one: Datagram): string => (name(one).endsWith("FB") ? `${name(one)}/${(one.bytes[0] ?? 0) & 31}` : name(one));
  // What answers loss is of the way, not of who plays.
  const answersLoss = ["RTPFB/1", "PSFB/1"];
  return { "rtcp-kinds": unique(datagrams.map(format).filter((one) => !answersLoss.includes(one))) };
}

/** The moments at which SRTCP of a kind came: `feedback` of transport-wide congestion control, or `reports`. */
export function rtcpTimesMs(datagrams: readonly Datagram[], wanted: "feedback" | "reports"): number[] {
  const isWanted = ({ bytes: [first = 0, type = 0] }: Datagram): boolean =>
    wanted === "feedback" ? type === 205 && (first & 31) === 15 : type === 200 || type === 201;
  return datagrams.filter((one) => kind(one) === "rtcp" && isWanted(one)).map(({ atMs }) => atMs);
}

/** An offer or a fragment with what is drawn anew each time left out. */
export function withoutChance(sdp: string): string {
  return sdp
    .replace(/^o=- \d+/m, "o=- ID")
    .replace(/^a=ice-ufrag:(.*)$/gm, (_, word: string) => `a=ice-ufrag:${word.trim().length}`)
    .replace(/^a=ice-pwd:(.*)$/gm, (_, word: string) => `a=ice-pwd:${word.trim().length}`)
    .replace(/^a=fingerprint:sha-256 (?:[0-9A-F]{2}:){31}[0-9A-F]{2}/gm, "a=fingerprint:sha-256 HASH")
    .replace(/^a=candidate:\d+ 1 udp \d+ [0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\.local \d+ (.*) ufrag \S+/gm, "a=candidate:NAME.local $1");
}
