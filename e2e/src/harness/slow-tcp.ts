/** A TCP path that takes its time: whatever comes is handed on later, in its order. */

import { connect, createServer, type Server, type Socket } from "node:net";

export class SlowTcp {
  private readonly sockets = new Set<Socket>();

  private constructor(private readonly server: Server) {}

  /** From `port` on this machine to `to`, `eachWayMs` later, there and back. */
  static open(port: number, to: number, eachWayMs: number): Promise<SlowTcp> {
    const server = createServer();
    const slow = new SlowTcp(server);
    server.on("connection", (near) => {
      const far = connect(to, "127.0.0.1");
      for (const [from, onto] of [
        [near, far],
        [far, near],
      ] as const) {
        slow.sockets.add(from);
        from.setNoDelay(true);
        from.on("data", (chunk) => setTimeout(() => !onto.destroyed && onto.write(chunk), eachWayMs));
        from.on("error", () => onto.destroy());
        from.on("close", () => {
          slow.sockets.delete(from);
          setTimeout(() => onto.destroy(), eachWayMs);
        });
      }
    });
    return new Promise((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, "127.0.0.1", () => resolve(slow));
    });
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }
}
