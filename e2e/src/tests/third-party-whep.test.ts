/** A WHEP client that knows nothing of us: a plain page with an offer, a Bearer token and a video element. */

import assert from "node:assert/strict";
import { meanDifference } from "../harness/picture.js";
import { Picture } from "../harness/picture.js";
import { installProbe } from "../harness/probe.js";
import { Rig } from "../harness/rig.js";
import { until } from "../harness/until.js";

const rig = Rig.forThisFile({ name: "third-party-whep" });

/** draft-ietf-wish-whep and nothing else. */
const PLAIN_PAGE = `<!doctype html><title>A plain WHEP player</title><video autoplay muted playsinline></video>
<script>
async function play(endpoint, token) {
  const peer = new RTCPeerConnection();
  const stream = new MediaStream();
  document.querySelector("video").srcObject = stream;
  peer.ontrack = (event) => stream.addTrack(event.track);
  peer.addTransceiver("video", { direction: "recvonly" });
  peer.addTransceiver("audio", { direction: "recvonly" });
  await peer.setLocalDescription();
  const answer = await fetch(endpoint, {
    method: "POST",
    headers: { "content-type": "application/sdp", authorization: "Bearer " + token },
    body: peer.localDescription.sdp,
  });
  if (answer.status !== 201) throw new Error(answer.status + " " + await answer.text());
  await peer.setRemoteDescription({ type: "answer", sdp: await answer.text() });
  return new URL(answer.headers.get("location"), endpoint).href;
}
</script>`;

rig.test("a plain WHEP page gets the picture, and leaves with DELETE", async () => {
  const { stack } = rig;
  const { operator } = stack;
  const session = await operator.start({ app: "calibrate" });
  stack.remember(session.id);
  const context = await (await rig.browser()).newContext();
  try {
    await context.addInitScript(installProbe);
    await context.route("**/plain-whep-player", (route) => route.fulfill({ contentType: "text/html", body: PLAIN_PAGE }));
    const page = await context.newPage();
    await page.goto(`${stack.base}/plain-whep-player`);
    const { ticket, whep_path } = await operator.ticket(session.id);
    const resource = await page.evaluate(
      ([endpoint, token]) => (globalThis as unknown as { play: (e: string, t: string) => Promise<string> }).play(endpoint, token),
      [stack.base + whep_path, ticket] as const,
    );
    assert.ok(resource.startsWith(`${stack.base}${whep_path}/`), `Location is ${resource}`);
    const picture = new Picture({ evaluate: (body, argument) => page.evaluate(body as never, argument as never) });
    await picture.isShown();
    await picture.watch();
    const first = await picture.reading("a barcode", () => true);
    await picture.reading("it to move", ({ counter }) => counter > first.counter + 60);
    const still = await picture.thumbnail();
    await until("the bar to move", async () => meanDifference(still, await picture.thumbnail()) > 0);
    await operator.reach(session.id, ["playing"]);

    const answer = await operator.request("DELETE", new URL(resource).pathname);
    assert.equal(answer.status, 200);
    await operator.reach(session.id, ["detached", "ready"]);
    const again = await operator.request("POST", whep_path, {
      body: "v=0\r\n",
      headers: { "content-type": "application/sdp", authorization: `Bearer ${ticket}` },
    });
    assert.equal(again.status, 401, "a ticket attaches once");
  } finally {
    await context.close();
  }
});
