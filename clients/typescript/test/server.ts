/** A real HTTP server that answers what a test says, in order, and keeps what it was asked. */

import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { json, text } from "node:stream/consumers";

export interface Answer {
  /** Without one the connection is closed without an answer. */
  status?: number;
  body?: unknown;
  headers?: Record<string, string>;
  events?: unknown[];
  raw?: string;
  /** The head and `raw` are sent, and the connection stays open. */
  stays?: boolean;
  /** Bodies are counted, not kept; the answer begins once this is over. */
  after?: Promise<unknown>;
}

export interface Asked {
  method: string;
  path: string;
  headers: IncomingHttpHeaders;
  body: unknown;
  /** Once its connection is closed before all of the answer was sent. */
  left: Promise<"left">;
}

export interface Server extends AsyncDisposable {
  url: string;
  asked: Asked[];
  answers: Answer[];
  /** Once so many requests are there with all of their bodies. */
  came: (count: number) => Promise<void>;
}

async function length(body: AsyncIterable<Uint8Array>): Promise<number> {
  let bytes = 0;
  for await (const piece of body) bytes += piece.length;
  return bytes;
}

export async function serving(...answers: Answer[]): Promise<Server> {
  const asked: Asked[] = [];
  const news = new EventTarget();
  const server = createServer((request, response) => {
    const left = new Promise<"left">((resolve) => response.once("close", () => !response.writableFinished && resolve("left")));
    void (async () => {
      const hasBody = Number(request.headers["content-length"] ?? 0) > 0 || "transfer-encoding" in request.headers;
      const isJson = request.headers["content-type"] === "application/json";
      const body = !hasBody ? undefined : answers[0]?.after ? await length(request) : await (isJson ? json(request) : text(request));
      asked.push({ method: request.method ?? "", path: request.url ?? "", headers: request.headers, body, left });
      news.dispatchEvent(new Event("came"));
      const answer = answers.shift();
      await answer?.after;
      if (answer?.status === undefined && answer?.events === undefined) return void request.socket.destroy();
      const events = answer.events?.map((event) => `event: session\ndata: ${JSON.stringify(event)}\n\n`);
      response.writeHead(answer.status ?? 200, { "Content-Type": "application/json", ...answer.headers, Connection: "close" });
      if (answer.stays) return void response.write(answer.raw ?? "");
      response.end(answer.raw !== undefined ? answer.raw : events ? `: ping\n\n${events.join("")}` : JSON.stringify(answer.body ?? null));
    })();
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    answers,
    came: async (count) => {
      while (asked.length < count) await new Promise((resolve) => news.addEventListener("came", resolve, { once: true }));
    },
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
