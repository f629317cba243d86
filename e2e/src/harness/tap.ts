/**
 * What a node gets of its players: a relay for UDP on a port that the node's answers name, and a relay for HTTP in front of
 * the broker. Both pass everything on, and remember what came from the player's side.
 *
 * Owns its sockets. Does not know what the bytes mean: wire.ts reads them.
 */

import { createSocket, type Socket } from "node:dgram";
import { createServer, request, type IncomingHttpHeaders, type Server } from "node:http";
import { until } from "./until.js";

/** A datagram from a player. */
export interface Datagram {
  readonly atMs: number;
  readonly bytes: Buffer;
}

export class UdpTap {
  private readonly ways = new Map<string, Socket>();
  private seen: Datagram[] = [];

  private constructor(private readonly listening: Socket) {}

  /** From `port` to the node at `to`, both on the loopback address. */
  static async open(port: number, to: number): Promise<UdpTap> {
    const socket = createSocket("udp4");
    const tap = new UdpTap(socket);
    socket.on("message", (bytes, from) => {
      tap.seen.push({ atMs: performance.now(), bytes });
      tap.way(from.address, from.port).send(bytes, to, "127.0.0.1");
    });
    await new Promise<void>((done) => socket.bind(port, "127.0.0.1", done));
    return tap;
  }

  /** What came since it was asked last. */
  take(): Datagram[] {
    const seen = this.seen;
    this.seen = [];
    return seen;
  }

  close(): void {
    for (const way of this.ways.values()) way.close();
    this.listening.close();
  }

  /** To the node each player comes from a port of its own. */
  private way(address: string, port: number): Socket {
    const name = `${address}:${port}`;
    const known = this.ways.get(name);
    if (known) return known;
    const way = createSocket("udp4");
    way.on("message", (bytes) => this.listening.send(bytes, port, address));
    this.ways.set(name, way);
    return way;
  }
}

/** A request of a player. */
export interface Asked {
  readonly atMs: number;
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  body: string;
}

export class HttpTap {
  private constructor(
    private readonly server: Server,
    readonly asked: Asked[],
    readonly base: string,
  ) {}

  /** In front of a broker at `base`. */
  static async open(base: string): Promise<HttpTap> {
    const to = new URL(base);
    const asked: Asked[] = [];
    const server = createServer((incoming, outgoing) => {
      const one: Asked = {
        atMs: performance.now(),
        method: incoming.method ?? "",
        path: incoming.url ?? "",
        headers: incoming.headers,
        body: "",
      };
      asked.push(one);
      const { method, headers } = incoming;
      const onward = request({ host: to.hostname, port: to.port, path: incoming.url, method, headers }, (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(outgoing);
      });
      onward.on("error", () => outgoing.destroy());
      incoming.on("data", (chunk: Buffer) => (one.body += chunk.toString()));
      incoming.pipe(onward);
    });
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("the relay has no port");
    return new HttpTap(server, asked, `http://127.0.0.1:${address.port}`);
  }

  /** The first request like this, once it came. */
  first(method: string, path: RegExp): Promise<Asked> {
    return until(`a request ${method} ${path}`, () => this.asked.find((one) => one.method === method && path.test(one.path)));
  }

  close(): void {
    this.server.closeAllConnections();
    this.server.close();
  }
}
