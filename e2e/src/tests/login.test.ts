/** Logging in at a real OpenID provider, in a real browser: play, log out, come back; and by key, in a terminal. */

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import type { Browser } from "playwright-core";
import type { Session, SessionList, WhoAmI } from "../../../client-web/src/wire/types.js";
import { launchChromium } from "../harness/chromium.js";
import { Player } from "../harness/player.js";
import { freeTcpPort } from "../harness/ports.js";
import { OpenIdProvider } from "../harness/provider.js";
import { BINARIES, Stack } from "../harness/stack.js";
import { until } from "../harness/until.js";

const SECRET = "the client's secret";
const files = mkdtempSync(join(tmpdir(), "nearlight-login-"));
let stack: Stack;
let provider: OpenIdProvider;
let browser: Browser;

before(async () => {
  const port = await freeTcpPort();
  writeFileSync(join(files, "secret"), `${SECRET}\n`, { mode: 0o600 });
  stack = await Stack.up({
    name: "login",
    runtime: "sandbox",
    roots: ["calibrate"],
    config: [
      "[session-broker.oidc]",
      `issuer = "${OpenIdProvider.issuer(port)}"`,
      'client_id = "nearlight"',
      `client_secret_file = "${join(files, "secret")}"`,
    ],
  });
  provider = await OpenIdProvider.start(port, stack.base, SECRET);
  browser = await launchChromium();
});

after(async () => {
  await browser?.close();
  await provider?.stop();
  await stack?.down();
  rmSync(files, { recursive: true, force: true });
});

async function whoami(player: Player): Promise<WhoAmI> {
  return (await player.api<WhoAmI>("GET", "/v1/whoami")).body;
}

async function sessions(player: Player): Promise<readonly Session[]> {
  return (await player.api<SessionList>("GET", "/v1/sessions")).body.sessions;
}

/** From the lobby, and back to it. */
async function logIn(player: Player, name: string): Promise<void> {
  await player.page.goto("/");
  await player.page.locator('[data-action="log-in"]').click();
  await OpenIdProvider.identify(player.page, name);
  await player.page.locator('[data-account="player"]').getByText(`${name} of the test`).waitFor();
}

const cookie = async (player: Player, name: string) => (await player.context.cookies()).find((one) => one.name === name);

test("a guest who logs in is the same user, plays on, and is somebody else after logging out", { timeout: 240_000 }, async () => {
  const player = await Player.arrive(stack, browser);
  const guest = await whoami(player);
  assert.equal(guest.role, "guest");
  const session = await player.play({ app: "calibrate" });
  await player.picture.watch();
  await player.picture.reading("a picture as a guest", () => true);

  await logIn(player, "ann");
  const ann = await whoami(player);
  assert.deepEqual([ann.role, ann.user, ann.name], ["player", guest.user, "ann of the test"]);
  assert.equal(await cookie(player, "nearlight_guest"), undefined);
  const kept = await cookie(player, "nearlight_player");
  assert.deepEqual([kept?.httpOnly, kept?.sameSite], [true, "Strict"]);
  const [own] = await sessions(player);
  assert.deepEqual([own?.id, own?.owned], [session.id, true]);

  await player.open(session);
  await player.picture.watch();
  await player.picture.reading("a picture as a player", () => true);

  // A login that is over makes nobody a guest unasked, and one that begins anew in another tab shows.
  await player.page.goto("/");
  await player.page.locator('[data-account="player"]').waitFor();
  await player.context.clearCookies({ name: "nearlight_player" });
  await player.page.locator('[data-problem="login-over"] [data-action="become-guest"]').waitFor();
  assert.equal(await cookie(player, "nearlight_guest"), undefined);
  await player.context.addCookies(kept ? [kept] : []);
  await player.page.locator('[data-action="log-out"]').click();
  await player.page.locator('[data-action="log-in"]').waitFor();
  const later = await whoami(player);
  assert.equal(later.role, "guest");
  assert.notEqual(later.user, ann.user);
  assert.equal((await player.api("GET", `/v1/sessions/${session.id}`)).status, 404);
  const replayed = await fetch(`${stack.base}/v1/sessions`, { headers: { cookie: `nearlight_player=${kept?.value ?? ""}` } });
  assert.equal(replayed.status, 401, "a cookie that was logged out is void");

  // The provider still knows who sits there, and asks nothing.
  await player.page.locator('[data-action="log-in"]').click();
  await player.page.locator('[data-account="player"]').waitFor();
  assert.equal((await whoami(player)).user, ann.user, "who comes back is who they were");
  await player.end(session.id);
  await player.close();
});

test("a guest of another browser brings its sessions along to a player who was here before", { timeout: 240_000 }, async () => {
  const first = await Player.arrive(stack, browser);
  await logIn(first, "bob");
  const bob = await whoami(first);
  const second = await Player.arrive(stack, browser);
  const session = await second.create({ app: "calibrate" });
  await logIn(second, "bob");
  assert.equal((await whoami(second)).user, bob.user);
  for (const player of [first, second]) {
    await until("both browsers to own the session", async () => (await sessions(player)).some(({ id, owned }) => id === session.id && owned));
  }
  await second.end(session.id);
  for (const player of [first, second]) await player.close();
});

test("who gives up at the provider is told, and stays a guest", { timeout: 120_000 }, async () => {
  const player = await Player.arrive(stack, browser);
  const guest = await whoami(player);
  await player.page.locator('[data-action="log-in"]').click();
  await player.page.getByRole("link", { name: "Cancel" }).click();
  await player.page.locator('[data-problem="login-failed"]').waitFor();
  assert.deepEqual(await whoami(player), guest);
  // An answer to somebody else's attempt is worth nothing either.
  await player.page.goto("/v1/login/callback?code=stolen&state=guessed");
  await player.page.locator('[data-problem="login-failed"]').waitFor();
  assert.equal(await cookie(player, "nearlight_player"), undefined);
  await player.close();
});

/** `nearlight login --device` in a terminal: the page and the code that it shows, and how it ends. */
async function program(home: string): Promise<{ at: string; code: string; ended: Promise<number | null>; said: () => string }> {
  const env = { ...process.env, XDG_CONFIG_HOME: home, NEARLIGHT_URL: undefined, NEARLIGHT_TOKEN: undefined };
  const child = spawn(join(BINARIES, "nearlight"), ["login", stack.base, "--device"], { env, cwd: files, stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (said += chunk.toString()));
  const ended = once(child, "exit").then(([status]) => status as number | null);
  const [at, code] = await until("a page and a code to be shown", () => /Open (\S+) in a browser.* the code (\S+)/.exec(said)?.slice(1), {
    instead: () => said,
  });
  return { at: at ?? "", code: code ?? "", ended, said: () => said };
}

test("a player logs in from a terminal by a browser, and logs out; or refuses", { timeout: 240_000 }, async () => {
  const home = join(files, "terminal");
  const context = await browser.newContext();
  const page = await context.newPage();
  const login = await program(home);
  await OpenIdProvider.agree(page, login.at, login.code, "cleo");
  assert.equal(await login.ended, 0, login.said());
  assert.match(login.said(), /logged in to .* as cleo of the test \(player\)/);
  const profiles = join(home, "nearlight/profiles.toml");
  assert.equal(statSync(profiles).mode & 0o777, 0o600);
  const secret = /key = "([^"]+)"/.exec(readFileSync(profiles, "utf8"))?.[1] ?? "";
  assert.ok(secret.length > 40 && !login.said().includes(secret), "the secret is in the file alone");

  const as = (key: string) => fetch(`${stack.base}/v1/whoami`, { headers: { authorization: `Bearer ${key}` } });
  const cleo = (await (await as(secret)).json()) as WhoAmI;
  assert.equal(cleo.role, "player");
  const player = await Player.arrive(stack, browser);
  await logIn(player, "cleo");
  assert.equal((await whoami(player)).user, cleo.user, "the same player as in a browser");
  await player.close();

  const again = await program(join(files, "refused"));
  await OpenIdProvider.confirm(page, again.at, again.code, "[ Abort ]");
  assert.equal(await again.ended, 1);
  assert.match(again.said(), /refused in the browser/);

  // A code that was used, or made up, is worth nothing.
  const json = { "content-type": "application/json" };
  const guessed = await fetch(`${stack.base}/v1/login/device/poll`, { method: "POST", headers: json, body: '{"device_code":"guessed"}' });
  assert.deepEqual(await guessed.json(), { state: "expired" });
  const env = { ...process.env, XDG_CONFIG_HOME: home, NEARLIGHT_URL: undefined, NEARLIGHT_TOKEN: undefined };
  await promisify(execFile)(join(BINARIES, "nearlight"), ["logout"], { env, cwd: files });
  assert.equal((await as(secret)).status, 401, "the login is over");
  await context.close();
});

test("an administrator logs in by key, makes a tenant with keys, and reads what was done", { timeout: 120_000 }, async () => {
  const home = join(files, "config");
  const run = async (...args: string[]): Promise<string> => {
    const env = { ...process.env, XDG_CONFIG_HOME: home, NEARLIGHT_URL: undefined, NEARLIGHT_TOKEN: undefined };
    const { stdout } = await promisify(execFile)(join(BINARIES, "nearlight"), args, { env, cwd: files });
    return stdout;
  };
  const json = async <T>(...args: string[]): Promise<T> => JSON.parse(await run(...args, "--json")) as T;
  type NewKey = { key: { id: string; tenant: string | null }; secret: string };

  const data = join(stack.data, "broker");
  await assert.rejects(run("admin", "bootstrap", "--data", data), /there is an administrator already/);
  const first = await json<NewKey>("admin", "bootstrap", "--data", data, "--force");
  writeFileSync(join(files, "key"), first.secret, { mode: 0o600 });
  await run("login", stack.base, "--key-file", join(files, "key"));
  assert.equal(statSync(join(home, "nearlight/profiles.toml")).mode & 0o777, 0o600);
  assert.equal((await json<WhoAmI>("whoami")).role, "admin");

  const tenant = await json<{ id: string }>("tenant", "create", "acme", "--sessions-max", "5");
  assert.match(await run("tenant", "list"), /acme +0\/5 +0 +0\.0 +0 +- +active/);
  await run("tenant", "set", tenant.id, "--gpus-max", "4", "--suspended");
  assert.match(await run("tenant", "list"), /acme +0\/5 +0\/4 .* suspended/);
  await run("tenant", "set", tenant.id, "--gpus-max", "none", "--suspended=false");
  assert.match(await run("tenant", "list"), /acme +0\/5 +0 +0\.0 +0 +- +active/);
  const made = await json<NewKey>("key", "create", "ci", "--role", "tenant", "--tenant", tenant.id, "--scope", "sessions:read");
  assert.equal(made.key.tenant, tenant.id);
  const rotated = await json<NewKey>("key", "rotate", made.key.id, "--overlap-s", "0");
  const as = (secret: string) => fetch(`${stack.base}/v1/sessions`, { headers: { authorization: `Bearer ${secret}` } });
  assert.deepEqual([(await as(made.secret)).status, (await as(rotated.secret)).status], [401, 200]);

  // Two profiles of one broker: each is its own.
  writeFileSync(join(files, "ci"), rotated.secret, { mode: 0o600 });
  await run("login", stack.base, "--key-file", join(files, "ci"), "--profile", "ci");
  assert.equal((await json<WhoAmI>("whoami")).role, "tenant");
  const administrator = new URL(stack.base).host;
  assert.equal((await json<WhoAmI>("whoami", "--profile", administrator)).role, "admin");
  await assert.rejects(run("whoami", "--profile", "ci", "--url", "http://127.0.0.1:9"), /leave one of the two out/);
  await run("login", stack.base, "--key-file", join(files, "key"));
  assert.equal((await json<WhoAmI>("whoami")).role, "admin");

  await run("key", "revoke", made.key.id);
  assert.equal((await as(rotated.secret)).status, 401);
  assert.match(await run("key", "list"), /ci +tenant .* revoked/);
  const log = await json<{ entries: { action: string }[] }>("admin", "audit", "--limit", "7");
  const actions = log.entries.map(({ action }) => action);
  assert.deepEqual(actions, ["key-revoke", "key-rotate", "key-create", "tenant-change", "tenant-change", "tenant-create", "bootstrap"]);
  await run("logout");
  await assert.rejects(run("whoami"), /no API key/);
});
