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
}

export interface Asked {
  method: string;
  path: string;
  headers: IncomingHttpHeaders;
  body: unknown;
}

export interface Server extends AsyncDisposable {
  url: string;
  asked: Asked[];
  answers: Answer[];
}

export async function serving(...answers: Answer[]): Promise<Server> {
  const asked: Asked[] = [];
  const server = createServer((request, response) => {
    void (async () => {
      const hasBody = Number(request.headers["content-length"] ?? 0) > 0 || "transfer-encoding" in request.headers;
      const isJson = request.headers["content-type"] === "application/json";
      const body = hasBody ? await (isJson ? json(request) : text(request)) : undefined;
      asked.push({ method: request.method ?? "", path: request.url ?? "", headers: request.headers, body });
      const answer = answers.shift();
      if (answer?.status === undefined && answer?.events === undefined) return void request.socket.destroy();
      const events = answer.events?.map((event) => `event: session\ndata: ${JSON.stringify(event)}\n\n`);
      response.writeHead(answer.status ?? 200, { "Content-Type": "application/json", ...answer.headers, Connection: "close" });
      response.end(answer.raw !== undefined ? answer.raw : events ? `: ping\n\n${events.join("")}` : JSON.stringify(answer.body ?? null));
    })();
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    answers,
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => void server.close(() => resolve())),
  };
}
