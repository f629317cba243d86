/**
 * An OpenID provider that is not ours: the package `oidc-provider`, with the pages on which a person
 * says who they are. Any name is somebody, and any password right.
 *
 * It is reached as `localhost` and the lobby as 127.0.0.1, which are two sites to a browser.
 */
import { once } from "node:events";
import type { Server } from "node:http";
import Provider, { type Account } from "oidc-provider";
import type { Page } from "playwright-core";

export class OpenIdProvider {
  private constructor(private readonly server: Server) {}

  static issuer(port: number): string {
    return `http://localhost:${port}`;
  }

  /** Starts one for the broker that browsers reach at `base`. */
  static async start(port: number, base: string, secret: string): Promise<OpenIdProvider> {
    const provider = new Provider(OpenIdProvider.issuer(port), {
      clients: [
        {
          client_id: "nearlight",
          client_secret: secret,
          redirect_uris: [`${base}/v1/login/callback`],
          grant_types: ["authorization_code", "urn:ietf:params:oauth:grant-type:device_code"],
        },
      ],
      features: { deviceFlow: { enabled: true } },
      pkce: { required: () => true },
      claims: { openid: ["sub"], profile: ["name"] },
      // Names in the ID token, as most providers have them.
      conformIdTokenClaims: false,
      cookies: { keys: ["of a test"] },
      findAccount: (_: unknown, id: string): Account => ({
        accountId: id,
        claims: () => ({ sub: id, name: `${id} of the test` }),
      }),
    });
    const server = provider.listen(port, "localhost", () => undefined);
    await once(server, "listening");
    return new OpenIdProvider(server);
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, "close");
  }

  /** On the provider's page of a login that a program began: agrees that its code is `code`, and says who one is. */
  static async agree(page: Page, at: string, code: string, name: string): Promise<void> {
    await OpenIdProvider.confirm(page, at, code, "Continue");
    await OpenIdProvider.identify(page, name);
    await page.getByText("Sign-in Success").waitFor();
  }

  /** On the same page: presses one of its buttons, under the code that it shows. */
  static async confirm(page: Page, at: string, code: string, button: "Continue" | "[ Abort ]"): Promise<void> {
    await page.goto(at);
    await page.locator("code").getByText(code, { exact: true }).waitFor();
    await page.getByRole("button", { name: button }).click();
  }

  /** On the provider's pages: says who one is, and agrees to be named. */
  static async identify(page: Page, name: string): Promise<void> {
    await page.locator('input[name="login"]').fill(name);
    await page.locator('input[name="password"]').fill("any");
    await page.locator('button[type="submit"]').click();
    await page.getByRole("button", { name: "Continue" }).click();
  }
}
