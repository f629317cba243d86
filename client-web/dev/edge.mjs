// An edge node made of a browser page: for dev/screens.mjs and for looking at the player. It is a
// peer of the real client over loopback, so the whole path but the node is the real one.

/** Routes the WHEP requests of `context` to a page that answers them. */
export async function edge(context, client, base) {
  const page = await context.newPage();
  await page.goto(`${base}apps/calibrate.webp`);
  await page.evaluate(installEdge);
  await client.bringToFront();
  let attachments = 0;
  let down = false;
  await context.route("**/whep**", async (route) => {
    const request = route.request();
    if (request.method() !== "POST") return route.fulfill({ status: request.method() === "PATCH" ? 204 : 200 });
    if (down) return route.fulfill({ status: 503, contentType: "application/problem+json", body: JSON.stringify({ name: "node-unreachable" }) });
    attachments += 1;
    const { pathname } = new URL(request.url());
    const watcher = pathname.startsWith("/v1/watch/");
    const sdp = await page.evaluate(([offer, watches]) => globalThis.edge.answer(offer, watches), [request.postData(), watcher]);
    return route.fulfill({
      status: 201,
      headers: { "Content-Type": "application/sdp", Location: `${pathname}/att_${attachments}`, ETag: '"1"' },
      body: sdp,
    });
  });
  await context.route("**/probe", async (route) => {
    if (down) return route.fulfill({ status: 503, contentType: "application/problem+json", body: JSON.stringify({ name: "node-unreachable" }) });
    const sdp = await page.evaluate((offer) => globalThis.edge.probe(offer), route.request().postData());
    return route.fulfill({ status: 201, headers: { "Content-Type": "application/sdp" }, body: sdp });
  });
  return {
    notice: (notice) => page.evaluate((n) => globalThis.edge.notice(n), notice),
    watcherNotice: (notice) => page.evaluate((n) => globalThis.edge.watcherNotice(n), notice),
    seen: () => page.evaluate(() => globalThis.edge.seen),
    /** Forgets what was seen, and answers it. */
    take: () => page.evaluate(() => { const seen = globalThis.edge.seen; globalThis.edge.seen = {}; return seen; }),
    /** Goes away, or comes back. */
    drop: () => ((down = true), page.evaluate(() => globalThis.edge.drop())),
    back: () => (down = false),
  };
}

/** Runs in the edge's page. */
function installEdge() {
  const canvas = document.createElement("canvas");
  canvas.width = 1280;
  canvas.height = 720;
  const pen = canvas.getContext("2d");
  let inputUs = 0n;
  let input = { flips: 0, x: 640, y: 360 };
  const paint = () => {
    const t = performance.now() / 1000;
    const sky = pen.createLinearGradient(0, 0, 0, 720);
    sky.addColorStop(0, input.flips % 2 ? "#26365c" : "#1b1030");
    sky.addColorStop(0.6, "#a0412f");
    sky.addColorStop(1, "#2a1112");
    pen.fillStyle = sky;
    pen.fillRect(0, 0, 1280, 720);
    for (let i = 0; i < 40; i += 1) {
      pen.fillStyle = `hsl(${(i * 37) % 360} 60% ${30 + (i % 4) * 8}%)`;
      pen.fillRect(((i * 97 + t * (40 + i)) % 1400) - 60, 420 + Math.sin(t + i) * 60, 46, 300);
    }
    pen.fillStyle = "#fff";
    pen.beginPath();
    pen.arc((input.x / 65535) * 1280, (input.y / 65535) * 720, 10, 0, 7);
    pen.fill();
  };
  setInterval(paint, 16);
  const edge = { seen: {}, peer: null, channels: [] };
  const count = (name) => (edge.seen[name] = (edge.seen[name] ?? 0) + 1);
  const KINDS = ["", "key", "text", "absolute", "relative", "button", "wheel", "release", "clipboard", "layout", "ping", "gamepad", "touch", "display", "wish"];
  // Commit times are made up: the encoder of a browser does not tell them.
  let frames = 0;
  const mark = (frame, motion) => {
    if (motion.readyState !== "open") return;
    const now = Math.round(performance.now() * 1000);
    const view = new DataView(new ArrayBuffer(58));
    view.setUint8(0, 1);
    view.setUint8(1, 0x82);
    view.setUint32(2, frame.getMetadata().rtpTimestamp ?? frame.timestamp, true);
    view.setUint32(6, (frames += 1), true);
    [now - 5200, now - 4200, now - 1100, now - 700].forEach((us, i) => view.setBigUint64(10 + 8 * i, BigInt(us), true));
    view.setBigUint64(42, inputUs, true);
    view.setBigUint64(50, inputUs === 0n ? 0n : BigInt(now - 9000), true);
    motion.send(view.buffer);
  };
  edge.answer = async (offer, watches) => {
    if (!watches) edge.peer?.close();
    const peer = new RTCPeerConnection({ encodedInsertableStreams: true });
    if (!watches) edge.peer = peer;
    const motion = peer.createDataChannel("motion", { negotiated: true, id: 0, ordered: false, maxRetransmits: 0 });
    const control = peer.createDataChannel("control", { negotiated: true, id: 1 });
    edge[watches ? "watching" : "channels"] = [motion, control];
    for (const channel of watches ? [] : edge.channels) {
      channel.binaryType = "arraybuffer";
      channel.onmessage = ({ data }) => {
        const view = new DataView(data);
        const kind = KINDS[view.getUint8(1)];
        count(kind);
        if (!["ping", "display", "wish", "layout"].includes(kind)) inputUs = view.getBigUint64(6, true);
        if (kind === "key" && view.getUint8(16)) input.flips += 1;
        if (kind === "absolute") input = { ...input, x: view.getUint16(14, true), y: view.getUint16(16, true) };
        if (kind === "button") (edge.seen.buttons ??= []).push(`${view.getUint8(15) ? "+" : "-"}${view.getUint8(14)}`);
        if (kind === "key") (edge.seen.keys ??= []).push(`${view.getUint8(16) ? "+" : "-"}${view.getUint16(14, true)}`);
        if (kind === "relative") edge.seen.dx = (edge.seen.dx ?? 0) + view.getInt32(14, true) / 256;
        if (kind === "display") edge.seen.screen = [14, 16, 18].map((at) => view.getUint16(at, true));
        if (kind === "wish") edge.seen.wished = [view.getUint32(14, true), view.getUint16(18, true), view.getUint16(20, true)];
        if (kind === "text") edge.seen.typed = (edge.seen.typed ?? "") + new TextDecoder().decode(data.slice(14));
        if (kind === "clipboard") edge.seen.text = new TextDecoder().decode(data.slice(14));
        if (kind !== "ping") return;
        const pong = new DataView(new ArrayBuffer(18));
        pong.setUint8(0, 1);
        pong.setUint8(1, 0x81);
        pong.setBigUint64(2, view.getBigUint64(6, true), true);
        pong.setBigUint64(10, BigInt(Math.round(performance.now() * 1000)), true);
        motion.send(pong.buffer);
      };
    }
    if (watches) {
      for (const channel of edge.watching) channel.onmessage = ({ data }) => count(`watcher ${KINDS[new DataView(data).getUint8(1)]}`);
      motion.binaryType = control.binaryType = "arraybuffer";
    }
    const stream = canvas.captureStream(60);
    const context = new AudioContext();
    const tone = context.createOscillator();
    const sink = context.createMediaStreamDestination();
    tone.connect(sink);
    tone.start();
    await peer.setRemoteDescription({ type: "offer", sdp: offer });
    for (const track of [...stream.getTracks(), ...sink.stream.getTracks()]) peer.addTrack(track, stream);
    for (const sender of peer.getSenders()) {
      const { readable, writable } = sender.createEncodedStreams();
      const marks = new TransformStream({ transform: (frame, out) => (sender.track.kind === "video" && !watches && mark(frame, motion), out.enqueue(frame)) });
      void readable.pipeThrough(marks).pipeTo(writable);
    }
    await peer.setLocalDescription(await peer.createAnswer());
    await gathered(peer);
    return peer.localDescription.sdp;
  };
  const gathered = (peer) =>
    new Promise((done) => {
      const look = () => peer.iceGatheringState === "complete" && done();
      peer.onicegatheringstatechange = look;
      look();
    });
  // A line check: pongs, and three trains of messages.
  edge.probe = async (offer) => {
    const peer = new RTCPeerConnection();
    const motion = peer.createDataChannel("motion", { negotiated: true, id: 0, ordered: false, maxRetransmits: 0 });
    peer.createDataChannel("control", { negotiated: true, id: 1, ordered: true });
    motion.binaryType = "arraybuffer";
    motion.onmessage = ({ data }) => {
      const pong = new DataView(new ArrayBuffer(18));
      pong.setUint16(0, 0x0181);
      pong.setBigUint64(2, new DataView(data).getBigUint64(6, true), true);
      if (motion.readyState === "open") motion.send(pong.buffer);
    };
    const train = (number, count) => {
      for (let seq = 0; seq < count; seq += 1) {
        const view = new DataView(new ArrayBuffer(1100));
        view.setUint16(0, 0x0183);
        view.setUint8(2, number);
        view.setUint16(3, seq, true);
        view.setUint16(5, count, true);
        motion.send(view.buffer);
      }
    };
    motion.onopen = () => [96, 48, 48].forEach((count, i) => setTimeout(train, 400 * i, i, count));
    setTimeout(() => peer.close(), 10_000);
    await peer.setRemoteDescription({ type: "offer", sdp: offer });
    await peer.setLocalDescription(await peer.createAnswer());
    await gathered(peer);
    return peer.localDescription.sdp;
  };
  edge.notice = (notice) => edge.channels[1]?.send(JSON.stringify(notice));
  edge.watcherNotice = (notice) => edge.watching[1].send(JSON.stringify(notice));
  edge.drop = () => edge.peer?.close();
  globalThis.edge = edge;
}
