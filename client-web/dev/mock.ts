/**
 * A broker made of paper, for looking at the pages: `npm run dev -- --mode mock`. Development only;
 * nothing of it is built. A session's id is its scenario, such as /play/ses_queued.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { readFileSync, readdirSync } from "node:fs";
import type { Plugin } from "vite";
import type { App, Node, Problem, ProblemName, Region, Session, SessionState, WatchLink } from "../src/wire/types.ts";

const DISPLAY = { width: 1280, height: 720, hz: 60 };
const ended = (reason: Extract<SessionState, { phase: "ended" }>["reason"]): SessionState => ({ phase: "ended", reason, detail: "" });
const starting = (progress: Extract<SessionState, { phase: "starting" }>["progress"]): SessionState => ({ phase: "starting", progress });

const SCENARIOS: Readonly<Record<string, SessionState>> = {
  ses_queued: { phase: "queued", position: 3, eta_s: 240, eta_most_s: 720 },
  ses_pulling: starting({ step: "pulling", done_bytes: 212e6, total_bytes: 540e6, layers_done: 3, layers: 7 }),
  ses_desktop: starting({ step: "starting-desktop" }),
  ses_app: starting({ step: "starting-app" }),
  ses_picture: starting({ step: "waiting-for-picture" }),
  ses_play: { phase: "ready" },
  ses_elsewhere: { phase: "playing" },
  ses_ended: ended("player-ended"),
  ses_crashed: ended("app-crashed"),
  ses_drained: ended("node-drained"),
};

/** The catalogue as configs/apps has it; the few fields the lobby shows. */
function apps(): App[] {
  const dir = new URL("../../configs/apps/", import.meta.url);
  return readdirSync(dir).sort().map((file): App => {
    const toml = readFileSync(new URL(file, dir), "utf8");
    const text = (key: string): string => new RegExp(`^${key} = "(.*)"`, "m").exec(toml)?.[1] ?? "";
    const controls = [...toml.matchAll(/^keys = "(.*)"\naction = "(.*)"/gm)];
    return {
      id: text("id"), title: text("title"), summary: text("summary"), picture: text("picture"),
      shelf: text("shelf") === "tool" ? "tool" : "game",
      controls: controls.map(([, keys = "", action = ""]) => ({ keys, action })),
      gpu: "none", display: DISPLAY, available: true, saves: text("saves") !== "",
    };
  });
}

const node = (id: string, name: string, region: string, status: Node["status"], total: number, free: number): Node => ({
  id, name, region, status, slots_total: total, slots_free: free, gpu: "none", gpu_models: [], encoders: ["x264enc", "vp9enc"], runtime: "docker", build: "0.1.0", uplink_kbps: null, image_faults: [],
});
const region = (name: string, rtt_ms: number): Region => ({
  name, title: name, latitude: null, longitude: null, beacon: null, state: "room", rtt_ms, rtt_from: "distance",
});
const REGIONS = [region("Zurich", 9), region("Bern", 14)];
const NODES = [node("nod_1", "attic", "Zurich", "online", 4, 3), node("nod_2", "garage", "Bern", "draining", 2, 0)];

function session(id: string): Session | null {
  const state = SCENARIOS[id];
  if (!state) return null;
  return {
    id, kind: "app", app: "freedoom", title: "Freedoom", state, node: "nod_1", display: DISPLAY, owned: true,
    created_at: Date.now() - 300e3, ends_at: Date.now() + 95e3, play_path: `/play/${id}`, watchers: 0,
  };
}

function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
}

function problem(response: ServerResponse, status: number, name: ProblemName): void {
  const body: Problem = { type: `https://nearlight.dev/problems/${name}`, name, title: name, status, detail: "A mock.", instance: "req_0mock" };
  json(response, status, body);
}

/** Watch links of every session: made, listed, revoked. */
let links: WatchLink[] = [];

function watchLinks(request: IncomingMessage, response: ServerResponse, link: string): void {
  if (request.method === "GET") return json(response, 200, { links });
  if (request.method === "DELETE") {
    links = links.filter(({ id }) => id !== link);
    return void response.writeHead(204).end();
  }
  const made = { id: `wat_${links.length + 1}`, created_unix_ms: Date.now(), expires_unix_ms: Date.now() + 4 * 3600e3 };
  links = [...links, made];
  json(response, 201, { id: made.id, url: "/watch/live", expires_unix_ms: made.expires_unix_ms });
}

/** The secret of a watch link is its scenario. */
function watched(response: ServerResponse, token: string): void {
  if (token === "revoked") return problem(response, 410, "link-ended");
  if (token !== "live" && token !== "away") return problem(response, 404, "not-found");
  json(response, 200, { title: "Freedoom", live: token === "live", expires_unix_ms: Date.now() + 3600e3 });
}

function answer(request: IncomingMessage, response: ServerResponse, next: () => void): void {
  const [path = ""] = (request.url ?? "").split("?");
  const [, id = "", rest = ""] = /^\/v1\/sessions\/([^/]+)(.*)$/.exec(path) ?? [];
  if (!path.startsWith("/v1/")) return next();
  const [, token] = /^\/v1\/watch\/([^/]+)$/.exec(path) ?? [];
  if (token) return watched(response, token);
  if (path === "/v1/whoami") return json(response, 200, { name: "guest", role: "guest", user: "usr_guest", tenant: null, key: null, scopes: [], login_path: null });
  if (path === "/v1/apps") return json(response, 200, { apps: apps() });
  if (path === "/v1/regions") return json(response, 200, { regions: REGIONS });
  if (path === "/v1/nodes") return json(response, 200, { nodes: NODES });
  if (path === "/v1/sessions" && request.method === "POST") return json(response, 201, session("ses_play"));
  if (path === "/v1/sessions") {
    const running = request.headers.cookie?.includes("running") ? [{ ...session("ses_play"), state: { phase: "detached" } }] : [];
    return json(response, 200, { sessions: running });
  }
  if (id === "ses_foreign") return problem(response, 404, "not-found");
  const known = session(id);
  if (!known) return problem(response, 404, "not-found");
  if (rest === "/events") {
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.write(`event: session\ndata: ${JSON.stringify(known)}\n\n`);
    return;
  }
  if (rest.startsWith("/watch-links")) return watchLinks(request, response, rest.split("/")[2] ?? "");
  if (rest === "/tickets") {
    if (id === "ses_elsewhere") return problem(response, 409, "attached-elsewhere");
    return json(response, 200, { ticket: "mock", expires_at: Date.now() + 60e3, whep_path: `/v1/sessions/${id}/whep` });
  }
  if (rest.startsWith("/whep")) return problem(response, 503, "node-unreachable");
  return json(response, request.method === "DELETE" ? 202 : 200, known);
}

export function mockBroker(): Plugin {
  return {
    name: "mock-broker",
    configureServer: (server) => void server.middlewares.use(answer),
    configurePreviewServer: (server) => void server.middlewares.use(answer),
  };
}
