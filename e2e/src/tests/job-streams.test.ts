/**
 * What streams through a job's endpoint, by the real broker, agent and container: nothing is held back, and what is large leaves
 * nothing in the memory of either.
 */

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { Agent, request, type ClientRequest, type IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { text } from "node:stream/consumers";
import { create, endpoint, type EndpointTicket } from "../harness/jobs.js";
import { Rig } from "../harness/rig.js";

const rig = Rig.forThisFile({ name: "job-streams", runtime: "docker" });
const PORT = 8000;
const MIB = 1024 * 1024;
const TOKENS = 64;
const MESSAGES = 10_000;
const AT_ONCE = 200;
/** A role may hold so much more at its highest than before: windows of streams, not bodies. */
const GROWTH_MAX = 24 * MIB;

/** Tornado, which is in Jupyter's image: each answer says nothing before it may. */
const SERVER = `
import asyncio, hashlib, os
import tornado.web, tornado.websocket
base, acked, waiting, all_here = os.urandom(${MIB}), [asyncio.Event() for _ in range(${TOKENS})], [], asyncio.Event()
class Page(tornado.web.RequestHandler):
    def get(self): self.finish("<title>streams</title>")
class Tokens(tornado.web.RequestHandler):
    async def get(self):
        self.set_header("Content-Type", "text/event-stream")
        for n in range(${TOKENS}):
            self.write(f"data: {n}\\n\\n")
            await self.flush()
            await acked[n].wait()
    def post(self): acked[int(self.get_argument("n"))].set()
class Echo(tornado.websocket.WebSocketHandler):
    def check_origin(self, origin): return True
    def on_message(self, message): self.write_message(message, isinstance(message, bytes))
@tornado.web.stream_request_body
class Body(tornado.web.RequestHandler):
    def prepare(self):
        self.request.connection.set_max_body_size(1 << 40)
        self.sum, self.count = hashlib.sha256(), 0
    def data_received(self, piece):
        self.sum.update(piece)
        self.count += len(piece)
    def put(self): self.finish(f"{self.count} {self.sum.hexdigest()}")
    async def get(self):
        total = hashlib.sha256()
        for n in range(int(self.get_argument("mib"))):
            piece = n.to_bytes(8, "big") + base[8:]
            total.update(piece)
            self.write(piece)
            await self.flush()
        self.finish(total.hexdigest())
class AtOnce(tornado.web.RequestHandler):
    async def get(self):
        waiting.append(self)
        if len(waiting) == ${AT_ONCE}: all_here.set()
        await all_here.wait()
        self.finish(self.get_argument("n"))
async def main():
    routes = [("/", Page), ("/tokens", Tokens), ("/echo", Echo), ("/body", Body), ("/at-once", AtOnce)]
    tornado.web.Application(routes).listen(${PORT})
    await asyncio.Event().wait()
asyncio.run(main())
`;

async function started(): Promise<EndpointTicket> {
  const ports = [{ name: "http", port: PORT, health: { path: "/", every_s: 1 } }];
  const command = ["/opt/jupyter/bin/python3", "-c", SERVER];
  const resources = { cpu_milli: 1000, mem_mib: 512, disk_mib: 0 };
  const { id } = await create(rig.stack, { image: "nearlight/job-jupyter:1", command, ports, resources, time: { stop_s: 1 } });
  await rig.stack.operator.reach(id, ["ready"]);
  return endpoint(rig.stack, id);
}

/** A request to the job; its name is no host's, so its address is said. */
function ask({ url, ticket }: EndpointTicket, method: string, path: string, agent?: Agent): { sent: ClientRequest; answer: Promise<IncomingMessage> } {
  const { host, port } = new URL(url);
  const headers = { Host: host, Authorization: `Bearer ${ticket}` };
  const sent = request({ hostname: "127.0.0.1", port, method, path, headers, ...(agent && { agent }) });
  const answer = new Promise<IncomingMessage>((resolve, reject) => {
    sent.once("response", resolve);
    sent.once("error", reject);
  });
  return { sent, answer };
}

async function get(at: EndpointTicket, path: string, agent?: Agent): Promise<IncomingMessage> {
  const { sent, answer } = ask(at, "GET", path, agent);
  sent.end();
  const got = await answer;
  assert.equal(got.statusCode, 200);
  return got;
}

/** Takes so much, and compares it with the sum that stands behind it. */
async function down(at: EndpointTicket, mib: number): Promise<void> {
  const sum = createHash("sha256");
  let left = mib * MIB;
  let said = "";
  for await (const piece of (await get(at, `/body?mib=${mib}`)) as AsyncIterable<Buffer>) {
    sum.update(piece.subarray(0, left));
    said += piece.subarray(left).toString();
    left = Math.max(0, left - piece.length);
  }
  assert.equal(said, sum.digest("hex"));
}

async function up(at: EndpointTicket, mib: number): Promise<void> {
  const sum = createHash("sha256");
  const piece = randomBytes(MIB);
  function* pieces(): Generator<Buffer> {
    for (let n = 0; n < mib; n++) {
      const next = Buffer.from(piece);
      next.writeUInt32BE(n);
      sum.update(next);
      yield next;
    }
  }
  const { sent, answer } = ask(at, "PUT", "/body");
  await pipeline(Readable.from(pieces()), sent);
  const got = await answer;
  assert.equal(await text(got), `${mib * MIB} ${sum.digest("hex")}`);
}

const ROLES = ["session-broker", "edge-node"] as const;

function bytesOf(pid: number, name: "VmRSS" | "VmHWM"): number {
  const found = new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  assert.ok(found, name);
  return Number(found[1]) * 1024;
}

/** Runs it, and says how far above what each role had before it rose at its highest. */
async function growth(body: () => Promise<void>): Promise<Map<string, number>> {
  const pids = ROLES.map((name) => rig.stack.role(name).pid);
  const before = pids.map((pid) => {
    // From here on VmHWM is the highest since now (proc(5)).
    writeFileSync(`/proc/${pid}/clear_refs`, "5");
    return bytesOf(pid, "VmRSS");
  });
  await body();
  return new Map(ROLES.map((name, at) => [name, bytesOf(pids[at] ?? 0, "VmHWM") - (before[at] ?? 0)]));
}

rig.test("an event passes before the next one is made", async () => {
  const at = await started();
  let [next, rest] = [0, ""];
  for await (const piece of (await get(at, "/tokens")) as AsyncIterable<Buffer>) {
    const events = (rest + piece.toString()).split("\n\n");
    rest = events.pop() ?? "";
    for (const event of events) {
      assert.equal(event, `data: ${next}`);
      // The job makes the next one once it hears this.
      const { sent, answer } = ask(at, "POST", `/tokens?n=${next}`);
      sent.end();
      (await answer).resume();
      next += 1;
    }
  }
  assert.equal(next, TOKENS);
});

rig.test("a WebSocket echoes ten thousand messages in their order", async () => {
  const { open_url } = await started();
  const page = await (await rig.browser()).newPage();
  try {
    await page.goto(open_url);
    const wrong = await page.evaluate(async (count) => {
      const socket = new WebSocket(`ws://${location.host}/echo`);
      let next = 0;
      return new Promise<string>((resolve) => {
        socket.onopen = () => {
          for (let n = 0; n < count; n++) socket.send(`message ${n}`);
        };
        socket.onmessage = ({ data }) => {
          if (data !== `message ${next}`) resolve(`${String(data)} in place of message ${next}`);
          next += 1;
          if (next === count) resolve("");
        };
        socket.onclose = ({ code }) => resolve(`closed with ${code} after ${next}`);
      });
    }, MESSAGES);
    assert.equal(wrong, "");
  } finally {
    await page.close();
  }
});

rig.test("a gibibyte goes either way, and leaves the memory of broker and agent as it was", async () => {
  const at = await started();
  for (const transfer of [down, up]) {
    await transfer(at, 64);
    const grown = await growth(() => transfer(at, 1024));
    for (const [role, bytes] of grown) {
      assert.ok(bytes < GROWTH_MAX, `${role} grew by ${(bytes / MIB).toFixed(1)} MiB for ${transfer.name}`);
      console.log(`# ${role} rose by ${(bytes / MIB).toFixed(1)} MiB for a gibibyte ${transfer.name}`);
    }
  }
});

rig.test("two hundred requests are with the job at once", async () => {
  const at = await started();
  const agent = new Agent({ maxSockets: AT_ONCE });
  try {
    const asked = Array.from({ length: AT_ONCE }, async (_, n) => text(await get(at, `/at-once?n=${n}`, agent)));
    const expected = Array.from({ length: AT_ONCE }, (_, n) => String(n));
    assert.deepEqual(await Promise.all(asked), expected);
  } finally {
    agent.destroy();
  }
});
