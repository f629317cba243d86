/** A server of files over https on loopback, with a certificate that nobody but its guests knows. */

import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Of a server and no authority: rustls takes no certificate for both. */
const CERTIFICATE = `
[req]
prompt = no
distinguished_name = name
x509_extensions = server
[name]
CN = mirror
[server]
basicConstraints = critical, CA:FALSE
subjectAltName = IP:127.0.0.1
`;

export class Mirror {
  /** The path of each request that was answered, in order. */
  readonly asked: string[] = [];

  private constructor(
    private readonly dir: string,
    private readonly server: Server,
    private readonly files: ReadonlyMap<string, Buffer>,
  ) {}

  /** Serves each file at `/NAME`. */
  static async start(files: Record<string, Buffer>): Promise<Mirror> {
    const dir = mkdtempSync(join(tmpdir(), "nearlight-mirror-"));
    const [key, cert] = [join(dir, "key.pem"), join(dir, "cert.pem")];
    const config = join(dir, "openssl.cnf");
    writeFileSync(config, CERTIFICATE);
    const made = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-config", config];
    execFileSync("openssl", ["req", ...made, "-keyout", key, "-out", cert], { stdio: ["ignore", "ignore", "pipe"] });
    const server = createServer({ key: readFileSync(key), cert: readFileSync(cert) });
    const mirror = new Mirror(dir, server, new Map(Object.entries(files)));
    server.on("request", ({ url = "" }, response) => {
      mirror.asked.push(url);
      const file = mirror.files.get(url.slice(1));
      response.writeHead(file ? 200 : 404, { "content-length": file?.length ?? 0 }).end(file);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return mirror;
  }

  /** PEM file of what vouches for it. */
  get roots(): string {
    return join(this.dir, "cert.pem");
  }

  url(name: string): string {
    return `https://127.0.0.1:${(this.server.address() as AddressInfo).port}/${name}`;
  }

  stop(): void {
    this.server.closeAllConnections();
    this.server.close();
    rmSync(this.dir, { recursive: true, force: true });
  }
}
