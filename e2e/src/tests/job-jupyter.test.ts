/**
 * JupyterLab as a job: started by the command line, opened in a browser by the address that works once. A
 * terminal and a notebook's cell compute something, both over WebSocket through the endpoint.
 */

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { create, endpoint, recipe, startFile } from "../harness/jobs.js";
import { Rig } from "../harness/rig.js";
import { ARTEFACTS } from "../harness/stack.js";
import { until } from "../harness/until.js";

const PAGE_MS = 90_000;

const rig = Rig.forThisFile({ name: "job-jupyter", runtime: "docker" });

/** What a page says over its next WebSockets, frame by frame, as text. */
function heard(page: Page): string[] {
  const frames: string[] = [];
  page.on("websocket", (socket) => {
    socket.on("framereceived", ({ payload }) => frames.push(payload.toString()));
  });
  return frames;
}

rig.test("a browser opens JupyterLab by an address that works once, and its terminal and a kernel compute", async () => {
  const id = await startFile(rig.stack, recipe("jupyter"));
  const { open_url } = await endpoint(rig.stack, id);
  const context = await (await rig.browser()).newContext({ viewport: { width: 1280, height: 800 } });
  try {
    const page = await context.newPage();
    const frames = heard(page);
    await page.goto(open_url, { timeout: PAGE_MS });
    const { origin } = new URL(page.url());
    assert.equal(new URL(open_url).origin, origin);
    assert.doesNotMatch(page.url(), /ticket/, "what opened it is in no address");

    // The terminal, as its user sees it.
    await page.getByText("Terminal", { exact: true }).last().click({ timeout: PAGE_MS });
    await page.locator(".jp-Terminal .xterm-helper-textarea").waitFor({ state: "attached", timeout: PAGE_MS });
    await page.locator(".jp-Terminal").click();
    await page.keyboard.type("echo result=$((6 * 7))\n");
    // It is drawn on a canvas: what it says is in the frames.
    await until("the terminal to answer over its WebSocket", () => frames.join("").includes("result=42"), { within_ms: PAGE_MS });
    mkdirSync(ARTEFACTS, { recursive: true });
    await page.screenshot({ path: join(ARTEFACTS, "job-jupyter-terminal.png") });

    // A notebook's cell, through the kernel.
    await page.getByRole("button", { name: /New Launcher/ }).first().click({ timeout: PAGE_MS });
    await page.getByText("Python 3 (ipykernel)").first().click({ timeout: PAGE_MS });
    const cell = page.locator(".jp-Notebook .cm-content").first();
    await cell.click({ timeout: PAGE_MS });
    // A cell that is run while its kernel starts is not run.
    await page.getByText(/ipykernel\) \| Idle/).first().waitFor({ timeout: PAGE_MS });
    await page.keyboard.type("sum(range(1000))");
    await page.keyboard.press("Shift+Enter");
    const output = page.locator(".jp-OutputArea-output").getByText("499500");
    await output.waitFor({ timeout: PAGE_MS }).catch(async (error: unknown) => {
      await page.screenshot({ path: join(ARTEFACTS, "job-jupyter-failed.png") });
      throw error;
    });
    await page.screenshot({ path: join(ARTEFACTS, "job-jupyter-notebook.png") });

    // The address has worked, and the cookie is this browser's.
    const stranger = await (await rig.browser()).newContext();
    const answer = await stranger.request.get(open_url, { maxRedirects: 0 });
    assert.equal(answer.status(), 401);
    await stranger.close();
  } finally {
    await context.close();
  }
  await rig.stack.operator.end(id);
  await rig.stack.operator.reachEnd(id);
}, 400_000);

rig.test("a job's page cannot call the API as whoever looks at it", async () => {
  const command = ["python3", "-m", "http.server", "8000", "--directory", "/etc/jupyter"];
  const port = { name: "http", port: 8000, health: { path: "/", every_s: 1 } };
  const { id } = await create(rig.stack, { image: "nearlight/job-jupyter:1", command, ports: [port] });
  await rig.stack.operator.reach(id, ["ready"]);
  const { open_url } = await endpoint(rig.stack, id);
  const player = await rig.player();
  const page = await player.context.newPage();
  await page.goto(open_url);
  const tried = await page.evaluate(async (api) => {
    const ask = (mode: RequestMode, headers: Record<string, string>): Promise<unknown> =>
      fetch(`${api}/v1/sessions`, { method: "POST", mode, credentials: "include", headers, body: JSON.stringify({ app: "calibrate" }) }).then(
        (answer) => answer.status,
        String,
      );
    return [
      await ask("cors", { "content-type": "application/json", "idempotency-key": "a" }),
      await ask("cors", { "content-type": "text/plain" }),
      // This one is sent without a question, and its answer is kept from the page.
      await ask("no-cors", { "content-type": "text/plain" }),
    ];
  }, rig.stack.base);
  assert.deepEqual(tried, new Array(3).fill("TypeError: Failed to fetch"));
  const { body } = await player.api<{ sessions: unknown[] }>("GET", "/v1/sessions");
  assert.deepEqual(body.sessions, [], "the visitor, who is a guest there, has started nothing");
  await rig.stack.operator.end(id);
  await rig.stack.operator.reachEnd(id);
}, 200_000);
