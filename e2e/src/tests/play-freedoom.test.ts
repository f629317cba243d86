/**
 * The first thing that a stranger does: open the page, pick the game, play. Once with the Docker
 * engine, once with none: `DOCKER_HOST` then names a socket that nobody listens on, which is what the
 * node sees of a stopped engine, without stopping it for everybody else on the machine.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { before, after } from "node:test";
import type { Browser } from "playwright-core";
import { launchChromium } from "../harness/chromium.js";
import { inspect } from "../harness/docker.js";
import { Player } from "../harness/player.js";
import { meanDifference } from "../harness/picture.js";
import { ARTEFACTS, Stack, type StackOptions } from "../harness/stack.js";
import { readProcess } from "../harness/processes.js";
import { until } from "../harness/until.js";
import { test } from "node:test";

let browser: Browser;
before(async () => {
  browser = await launchChromium();
});
after(() => browser.close());

test("freedoom is played in a Docker container", { timeout: 240_000 }, async () => {
  await playFreedoom({ name: "freedoom-docker" }, "docker", async (stack, id) => {
    const { container } = await stack.edgeSession(id);
    assert.ok(container);
    const state = inspect(container);
    assert.ok(state?.State.Running);
    const { Config, HostConfig } = state;
    assert.match(Config.User, /^1000(:1000)?$/, "not root");
    assert.deepEqual(HostConfig.CapDrop, ["ALL"]);
    assert.ok(!HostConfig.CapAdd?.length && !HostConfig.Privileged);
    assert.ok(HostConfig.SecurityOpt?.some((option) => option.startsWith("no-new-privileges")));
    assert.equal(HostConfig.NetworkMode, "none");
    assert.equal(HostConfig.ReadonlyRootfs, true);
    assert.ok(HostConfig.Memory > 0 && HostConfig.NanoCpus > 0 && (HostConfig.PidsLimit ?? 0) > 0, "limits");
    assert.ok(Object.values(Config.Labels).includes(id), "labelled with its session");
  });
});

test("freedoom is played in the sandbox, with no Docker engine", { timeout: 240_000 }, async () => {
  const noEngine = { DOCKER_HOST: "unix:///nonexistent/docker.sock" };
  await playFreedoom({ name: "freedoom-sandbox", env: noEngine, roots: ["freedoom"] }, "sandbox", async (stack, id) => {
    const { container_pid } = await stack.edgeSession(id);
    assert.ok(container_pid && readProcess(container_pid), "the sandbox is a process of this machine");
  });
});

type Look = (stack: Stack, id: string) => Promise<void>;

async function playFreedoom(options: StackOptions, runtime: string, look: Look): Promise<void> {
  const stack = await Stack.up(options);
  let player: Player | undefined;
  try {
    const [node] = await stack.operator.nodes();
    assert.equal(node?.runtime, runtime);
    const guest = (player = await Player.arrive(stack, browser));
    const { page, picture } = guest;
    const shot = (name: string): Promise<Buffer> => page.screenshot({ path: join(ARTEFACTS, `freedoom-${runtime}-${name}.png`) });
    await shot("1-lobby");
    await page.getByRole("button", { name: "Play Freedoom" }).click();
    await player.enter();
    const id = /ses_[0-9a-z]+/.exec(page.url())?.[0];
    assert.ok(id, `the page's address names the session: ${page.url()}`);
    stack.remember(id);
    await look(stack, id);

    // The title picture comes, then the demo: it moves by itself.
    await shot("2-title");
    await picture.differsFrom(await picture.thumbnail(), 4, "the picture to move", { within_ms: 60_000 });
    await picture.listen();
    await picture.isLoud(0.01, "the title music or the demo to be heard", { within_ms: 60_000 });

    // Menu, New Game, first episode, first skill: Enter through it until the level is there.
    const title = await picture.thumbnail();
    await page.keyboard.press("Escape");
    const menu = await picture.differsFrom(title, 1, "the menu");
    await until("the menu to have been drawn", framesFrom(player, 60));
    await shot("3-menu");
    for (let i = 0; i < 4; i++) {
      await page.keyboard.press("Enter");
      await until("the game to have drawn some frames", framesFrom(player, 30));
    }
    await picture.differsFrom(menu, 6, "the game");
    // A demo moves by itself; a game that waits for its player stands still.
    await until("the view to stand still", async () => {
      const before = await picture.thumbnail();
      await until("half a second of frames", framesFrom(guest, 30));
      return meanDifference(before, await picture.thumbnail()) < 1;
    });
    await shot("4-game");
    const standing = await picture.thumbnail();
    await page.keyboard.down("ArrowLeft");
    await picture.differsFrom(standing, 6, "the view to turn with the key");
    await page.keyboard.up("ArrowLeft");
    await shot("5-turned");
    await picture.loudness();
    await page.keyboard.press("ControlLeft", { delay: 300 });
    await picture.isLoud(0.05, "the shot to be heard");
    await shot("6-shot");

    await player.end(id);
    await until("the node to have no session", async () => (await stack.edgeSessions()).length === 0);
  } catch (error) {
    console.error(stack.logTail());
    await player?.page.screenshot({ path: join(ARTEFACTS, `failed-freedoom-${runtime}.png`) }).catch(() => undefined);
    throw error;
  } finally {
    await player?.close();
    await stack.down();
  }
}

/** Whether so many frames were presented since it was made. */
function framesFrom(player: Player, count: number): () => Promise<boolean> {
  const total = (): Promise<number> => player.page.evaluate(() => document.querySelector("video")?.getVideoPlaybackQuality().totalVideoFrames ?? 0);
  let start: number | undefined;
  return async () => {
    const now = await total();
    start ??= now;
    return now >= start + count;
  };
}
