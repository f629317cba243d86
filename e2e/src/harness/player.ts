/** A player: a browser of their own (cookies, clipboard, focus) in front of client-web. */

import type { Browser, BrowserContext, Page } from "playwright-core";
import type { CreateSession, Session, SessionState } from "../../../client-web/src/wire/types.js";
import { randomUUID } from "node:crypto";
import { Picture } from "./picture.js";
import { installProbe } from "./probe.js";
import type { Stack } from "./stack.js";
import { Hopeless, until, type Patience } from "./until.js";

export class Player {
  readonly picture: Picture;

  private constructor(
    readonly stack: Stack,
    readonly context: BrowserContext,
    readonly page: Page,
    private readonly base: string,
  ) {
    this.picture = new Picture({ evaluate: (body, argument) => page.evaluate(body as never, argument as never) });
  }

  /** Opens the lobby, which makes the player a guest. */
  static async arrive(stack: Stack, browser: Browser, base = stack.base): Promise<Player> {
    const context = await browser.newContext({
      viewport: { width: 1280, height: 720 },
      permissions: ["clipboard-read", "clipboard-write"],
      baseURL: base,
    });
    await context.addInitScript(installProbe);
    const player = new Player(stack, context, await context.newPage(), base);
    await player.page.goto("/");
    await until("the lobby to have made a guest", async () => (await context.cookies()).some(({ name }) => name === "nearlight_guest"));
    return player;
  }

  /** Asks the API as this player. */
  async api<T>(method: string, path: string, data?: unknown): Promise<{ status: number; body: T }> {
    const answer = await this.context.request.fetch(path, {
      method,
      headers: { "idempotency-key": randomUUID(), origin: this.base },
      ...(data === undefined ? {} : { data }),
    });
    const text = await answer.text();
    return { status: answer.status(), body: (text ? JSON.parse(text) : undefined) as T };
  }

  /** Creates a session as this player, without the lobby. */
  async create(request: CreateSession): Promise<Session> {
    const { status, body } = await this.api<Session>("POST", "/v1/sessions", request);
    if (status !== 201) throw new Error(`create answered ${status}: ${JSON.stringify(body)}`);
    this.stack.remember(body.id);
    return body;
  }

  async session(id: string): Promise<Session> {
    const { status, body } = await this.api<Session>("GET", `/v1/sessions/${id}`);
    if (status !== 200) throw new Error(`GET session answered ${status}: ${JSON.stringify(body)}`);
    return body;
  }

  async reach(id: string, phases: SessionState["phase"][], patience: Patience = {}): Promise<Session> {
    let last: Session | undefined;
    return until(
      `${id} to be ${phases.join(" or ")}`,
      async () => {
        last = await this.session(id);
        if (phases.includes(last.state.phase)) return last;
        if (last.state.phase === "ended") throw new Hopeless(`${id} ended: ${JSON.stringify(last.state)}`);
        return undefined;
      },
      { within_ms: 60_000, instead: () => last?.state, ...patience },
    );
  }

  /** Waits until the session is over, and answers its last state. */
  async reachEnd(id: string, patience: Patience = {}): Promise<Extract<SessionState, { phase: "ended" }>> {
    const { state } = await this.reach(id, ["ended"], patience);
    if (state.phase !== "ended") throw new Error("unreachable");
    return state;
  }

  async end(id: string): Promise<void> {
    const { status } = await this.api("DELETE", `/v1/sessions/${id}`);
    if (status !== 202) throw new Error(`DELETE answered ${status}`);
    await this.reachEnd(id);
  }

  /** Starts `app`, opens its page, and waits for the picture. */
  async play(request: CreateSession): Promise<Session> {
    const session = await this.create(request);
    await this.open(session);
    return session;
  }

  /** Opens the page of a session and waits for the picture. */
  async open(session: Session): Promise<void> {
    await this.page.goto(session.play_path);
    await this.enter();
  }

  /** Waits until the page says that it plays, and shows the picture. */
  async enter(): Promise<void> {
    await this.phase("playing");
    await this.picture.isShown();
  }

  /** Waits until the page is in `wanted`: client-web tells its phase as `data-phase` of the document element. */
  async phase(wanted: string, patience: Patience = {}): Promise<void> {
    const told = (): Promise<DOMStringMap> => this.page.evaluate(() => ({ ...document.documentElement.dataset }));
    await until(
      `the page to be ${wanted}`,
      async () => {
        const { phase, reason } = await told();
        if (phase !== wanted && (phase === "ended" || phase === "refused")) throw new Hopeless(`the page is ${phase}: ${reason}`);
        return phase === wanted;
      },
      { within_ms: 90_000, instead: told, ...patience },
    );
  }

  /** The reason that the page tells with its phase. */
  reason(): Promise<string | undefined> {
    return this.page.evaluate(() => document.documentElement.dataset["reason"]);
  }

  /** The centre of the picture on the page, in CSS pixels. */
  async centre(): Promise<{ x: number; y: number }> {
    const box = await this.page.locator("video").boundingBox();
    if (!box) throw new Error("the video element has no box");
    return { x: box.x + box.width / 2, y: box.y + box.height / 2 };
  }

  async close(): Promise<void> {
    await this.context.close();
  }
}
