/** A tenant's endpoint for the soak of jobs: it hears of each end, once, whoever is killed while it is told. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { describe } from "./api.js";
import { rows } from "./job-soak-left.js";
import { patient } from "./job-soak-strikes.js";
import type { Stack } from "./stack.js";
import { until } from "./until.js";

/** A notice that a broker was sending as it was killed is tried again after minutes. */
const SENT_MS = 600_000;

interface Notice {
  type: string;
  data: { session?: string };
}

export class Notices {
  /** Ids of notices by what they say. One that comes again has the id that it had. */
  private readonly heard = new Map<string, Set<string>>();

  private constructor(private readonly server: Server) {}

  static async listen(stack: Stack): Promise<Notices> {
    const server = createServer((request, response) => {
      const heard = (body: string): void => {
        const { type, data } = JSON.parse(body) as Notice;
        const what = `${type} ${data.session}`;
        notices.heard.set(what, new Set([...(notices.heard.get(what) ?? []), String(request.headers["webhook-id"])]));
        response.writeHead(204).end();
      };
      // A broker that was killed as it said it says it again.
      text(request).then(heard, () => response.destroy());
    });
    const notices = new Notices(server);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const reply = await patient(stack, "PUT", "/v1/webhook", { json: { url: `http://127.0.0.1:${port}/` } });
    assert.equal(reply.status, 200, describe(reply));
    return notices;
  }

  /** Every notice arrives, and of each session one end is told. */
  async complete(stack: Stack, ids: readonly string[]): Promise<void> {
    const waiting = (): string[] => rows(stack, "end");
    await until("every notice to be sent", () => waiting().length === 0, { within_ms: SENT_MS, every_ms: 500, instead: waiting });
    const told = ids.map((id) => this.heard.get(`session.ended ${id}`)?.size ?? 0);
    assert.deepEqual(ids.filter((_, i) => told[i] !== 1), [], "sessions whose end is not told once");
  }

  close(): void {
    this.server.closeAllConnections();
    this.server.close();
  }
}
