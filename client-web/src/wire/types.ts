// Generated from core/protocol by `make generate`. Do not edit.

export type SessionId = string;

export type AttachmentId = string;

export type NodeId = string;

export type SlotId = string;

export type UserId = string;

export type RequestId = string;

export type WatchLinkId = string;

export type AppId = string;

export type TenantId = string;

export type KeyId = string;

export type Shelf = "game" | "tool";

export type GpuClass = "none" | "render" | "render-encode";

export type DisplayMode = { 
/**
 * Pixels.
 */
width: number, 
/**
 * Pixels.
 */
height: number, 
/**
 * Frames a second that the display asks of the app.
 */
hz: number, };

export type Control = { 
/**
 * What to press, such as `W A S D`.
 */
keys: string, 
/**
 * What it does.
 */
action: string, };

export type CreateSession = { 
/**
 * The catalogue entry to start; or else a job.
 */
app?: AppId, 
/**
 * The display to start it with; the app's own default otherwise.
 */
display?: DisplayMode, 
/**
 * xkb layout of the player's keyboard, such as `de` or `us(intl)`; `us` otherwise.
 */
keyboard_layout?: string, 
/**
 * The region that it must run in, however far; the nearest that has room otherwise.
 */
region?: string, 
/**
 * Round trips to regions that the player measured, at most [`crate::limits::RTTS_MAX`].
 */
rtt?: Array<RegionRtt>, 
/**
 * What to do where the player's saves of the app are on a node that cannot run it now.
 */
saves?: SavesWish, 
/**
 * What it may cost, millionths of the currency's unit; then it ends. No limit without it.
 */
budget_micro?: number, 
/**
 * What an app may cost a second where it is placed, millionths of the currency's unit. A job says it in its `place`.
 */
price_max?: number, };

export type SavesWish = "ask" | "wait" | "without";

export type Session = { 
/**
 * Its id.
 */
id: SessionId, 
/**
 * What it runs.
 */
kind: SessionKind, 
/**
 * The catalogue entry, of an app.
 */
app?: AppId, 
/**
 * The app's name for people, or the image's of a job.
 */
title: string, 
/**
 * Where it is in its life.
 */
state: SessionState, 
/**
 * The node that runs it, once placed.
 */
node: NodeId | null, 
/**
 * The display it was started with, of an app.
 */
display?: DisplayMode, 
/**
 * Whether this caller owns it. Only the owner attaches, controls and ends it.
 */
owned: boolean, 
/**
 * When it was created.
 */
created_at: number, 
/**
 * When it will end by itself (idle, time limit, grace or the end of its node's capacity, whichever comes
 * first), once it runs.
 */
ends_at: number | null, 
/**
 * When its node's capacity is taken back, once its operator has said so: it ends then, or goes on
 * elsewhere if it may.
 */
preempted_at?: number, 
/**
 * Path of the page that plays it, such as `/play/ses_...`; empty for a job.
 */
play_path: string, 
/**
 * Guests who watch it on watch links now.
 */
watchers: number, 
/**
 * Where it runs and why there, once placed, as long as its broker remembers.
 */
placed_in?: PlacedIn, };

export type SessionKind = "app" | "job";

export type SessionState = { "phase": "queued", 
/**
 * 1 is next.
 */
position: number, 
/**
 * Seconds until a slot is expected to be free: one wait in two is shorter. Or unknown.
 */
eta_s: number | null, 
/**
 * Seconds that nine waits in ten do not exceed, or unknown.
 */
eta_most_s: number | null, 
/**
 * What the node lacks that comes closest to taking it, once a placement was tried.
 */
waits_for?: WaitsFor, } | { "phase": "placing" } | { "phase": "starting", 
/**
 * How far it is.
 */
progress: StartProgress, } | { "phase": "ready" } | { "phase": "playing" } | { "phase": "detached" } | { "phase": "ending", 
/**
 * Why.
 */
reason: EndReason, } | { "phase": "ended", 
/**
 * Why.
 */
reason: EndReason, 
/**
 * The reason in one sentence for people, with what to do.
 */
detail: string, };

export type WaitsFor = "node" | "slot" | "cpu" | "memory" | "uplink" | "disk" | "gpus" | "volume";

export type StartProgress = { "step": "pulling", 
/**
 * Bytes so far.
 */
done_bytes: number, 
/**
 * Bytes in all, as far as known.
 */
total_bytes: number, 
/**
 * Layers, or assets, that are here.
 */
layers_done: number, 
/**
 * Layers, or assets, in all, as far as known; 0 where the node does not say.
 */
layers: number, } | { "step": "starting-desktop" } | { "step": "starting-app" } | { "step": "waiting-for-picture" } | { "step": "starting-container" } | { "step": "waiting-for-health", 
/**
 * How often it was started again.
 */
restarts: number, };

export type EndReason = "player-ended" | "app-exited" | "app-crashed" | "app-out-of-memory" | "app-start-failed" | "start-timeout" | "image-missing" | "runtime-failed" | "desktop-violation" | "worker-crashed" | "encoder-failed" | "idle-timeout" | "time-limit" | "detached-timeout" | "job-done" | "job-failed" | "job-out-of-memory" | "job-start-timeout" | "job-unhealthy" | "asset-missing" | "volume-lost" | "queue-timeout" | "budget-reached" | "preempted" | "cluster-ended" | "node-lost" | "node-drained" | "internal";

export type SessionList = { 
/**
 * The caller's sessions, newest first; ended ones stay for an hour.
 */
sessions: Array<Session>, };

export type App = { 
/**
 * Its name in URLs.
 */
id: AppId, 
/**
 * Its name for people.
 */
title: string, 
/**
 * One or two sentences.
 */
summary: string, 
/**
 * URL path of its picture.
 */
picture: string, 
/**
 * Which shelf it stands on.
 */
shelf: Shelf, 
/**
 * What its keys do.
 */
controls: Array<Control>, 
/**
 * The GPU class it needs.
 */
gpu: GpuClass, 
/**
 * The display it is started with.
 */
display: DisplayMode, 
/**
 * Whether some node can run it now or later.
 */
available: boolean, 
/**
 * Whether its saves persist.
 */
saves: boolean, };

export type AppList = { 
/**
 * The catalogue, sorted by title.
 */
apps: Array<App>, };

export type ImageFault = { 
/**
 * Which.
 */
image: string, 
/**
 * Why, for the operator.
 */
detail: string, };

export type Node = { 
/**
 * Its id.
 */
id: NodeId, 
/**
 * Its name for people.
 */
name: string, 
/**
 * Where it is, as its operator says.
 */
region: string, 
/**
 * Whether its control stream is up, and whether it takes sessions.
 */
status: NodeStatus, 
/**
 * Slots in all.
 */
slots_total: number, 
/**
 * Slots free now.
 */
slots_free: number, 
/**
 * What it has.
 */
gpu: GpuClass, 
/**
 * GPU models, as it claims.
 */
gpu_models: Array<string>, 
/**
 * Video encoders that worked when they were probed, best first, such as `x264enc`.
 */
encoders: Array<string>, 
/**
 * How it runs apps: `docker` or `sandbox`.
 */
runtime: string, 
/**
 * The build it runs.
 */
build: string, 
/**
 * What its uplink carries for sessions, kbit/s, as it is configured or measured.
 */
uplink_kbps: number | null, 
/**
 * Images that it was to fetch ahead of sessions and could not. Only operators and administrators
 * see it.
 */
image_faults: Array<ImageFault>, };

export type NodeStatus = "online" | "draining" | "offline" | "revoked";

export type NodeList = { 
/**
 * All nodes.
 */
nodes: Array<Node>, };

export type CreateTicket = { 
/**
 * Whether to end another attachment that holds the session. Without it such a session answers
 * `attached-elsewhere`.
 */
take_over: boolean, };

export type Ticket = { 
/**
 * EdDSA JWT, audience one session.
 */
ticket: string, 
/**
 * It is void from then on.
 */
expires_at: number, 
/**
 * Where to POST the offer, as `application/sdp` (draft-ietf-wish-whep).
 */
whep_path: string, 
/**
 * Relays for a browser that cannot reach the node by itself; empty where the operator has none.
 */
ice_servers: Array<IceServer>, };

export type IceServer = { 
/**
 * `turn:` and `turns:` URIs (RFC 7065) that take the same credential.
 */
urls: Array<string>, 
/**
 * When the credential ends, Unix seconds, a colon, and what it was given for.
 */
username: string, 
/**
 * Base64 of the HMAC-SHA1 of `username` by the secret that the broker and the server share.
 */
credential: string, };

export type CreateWatchLink = { 
/**
 * Seconds for which the link works, 1 to [`crate::limits::WATCH_LINK_S_MAX`]. It also ends with
 * its session.
 */
expires_s: number, };

export type NewWatchLink = { 
/**
 * Its id, to revoke it.
 */
id: WatchLinkId, 
/**
 * Path of the page that watches, such as `/watch/<token>`. Whoever has it watches.
 */
url: string, 
/**
 * It is void from then on.
 */
expires_unix_ms: number, };

export type WatchLink = { 
/**
 * Its id, to revoke it.
 */
id: WatchLinkId, 
/**
 * When it was made.
 */
created_unix_ms: number, 
/**
 * It is void from then on.
 */
expires_unix_ms: number, };

export type WatchLinkList = { 
/**
 * Those that work, oldest first.
 */
links: Array<WatchLink>, };

export type Watched = { 
/**
 * The app's name for people.
 */
title: string, 
/**
 * Whether there is a picture to watch now.
 */
live: boolean, 
/**
 * The link is void from then on.
 */
expires_unix_ms: number, 
/**
 * As in [`Ticket`].
 */
ice_servers: Array<IceServer>, };

export type WhoAmI = { 
/**
 * `guest`, the player's name, or the name of the API key.
 */
name: string, 
/**
 * What the caller is.
 */
role: Role, 
/**
 * The user, whose sessions are the caller's own.
 */
user: UserId, 
/**
 * The caller's tenant.
 */
tenant: TenantId | null, 
/**
 * The API key.
 */
key: KeyId | null, 
/**
 * What the caller may do.
 */
scopes: Array<Scope>, 
/**
 * Where a guest can log in, if players can: `/v1/login`.
 */
login_path: string | null, };

export type Role = "guest" | "player" | "tenant" | "operator" | "admin";

export type Scope = "admin" | "apps:write" | "endpoint" | "keys:read" | "keys:write" | "nodes:probe" | "nodes:read" | "nodes:write" | "sessions:enter" | "sessions:read" | "sessions:write" | "usage:read";

export type LoginOptions = { 
/**
 * Where players log in, if they can: `/v1/login`.
 */
login_path: string | null, 
/**
 * Whether one can play as a guest.
 */
guests: boolean, };

export type RegionList = { 
/**
 * Nearest first as far as the broker can tell, then as the operator has them.
 */
regions: Array<Region>, };

export type Region = { 
/**
 * Its name, as nodes and requests have it.
 */
name: string, 
/**
 * Its name for people.
 */
title: string, 
/**
 * Degrees north, where the operator says so.
 */
latitude: number | null, 
/**
 * Degrees east, where the operator says so.
 */
longitude: number | null, 
/**
 * An address that answers at once and stands where the nodes stand; the caller times it. At most
 * [`crate::limits::BEACONS_MAX`] regions of an answer have one.
 */
beacon: string | null, 
/**
 * Whether something can be played there now.
 */
state: RegionState, 
/**
 * The round trip between caller and region as the broker estimates it, milliseconds.
 */
rtt_ms: number | null, 
/**
 * Where that comes from.
 */
rtt_from: RttFrom | null, };

export type RegionState = "room" | "queue" | "offline";

export type RttFrom = "measured" | "sessions" | "distance";

export type RegionRtt = { 
/**
 * To this region.
 */
region: string, 
/**
 * Milliseconds; counted as 1 to [`crate::limits::RTT_MS_MAX`].
 */
ms: number, };

export type PlacedIn = { 
/**
 * The region.
 */
region: string, 
/**
 * Whether the caller had chosen it.
 */
chosen: boolean, 
/**
 * The round trip that counted, milliseconds; null while nobody knows it.
 */
rtt_ms: number | null, 
/**
 * Where that comes from.
 */
rtt_from: RttFrom | null, 
/**
 * The latency step that the region is near enough for; null where none was in force.
 */
step: LatencyStep | null, };

export type LatencyStep = { 
/**
 * Which one, from 1.
 */
number: number, 
/**
 * Of how many.
 */
of: number, 
/**
 * Nodes up to this round trip are taken, milliseconds.
 */
rtt_ms_max: number, 
/**
 * It begins after so much waiting, milliseconds.
 */
from_ms: number, 
/**
 * It ends after so much waiting, milliseconds; null for the last one.
 */
until_ms: number | null, };

export type ProblemName = "attached-elsewhere" | "bad-request" | "body-too-large" | "budget-reached" | "evidence-expired" | "forbidden" | "idempotency-conflict" | "internal" | "invalid-offer" | "job-unreachable" | "job-not-ready" | "join-token-invalid" | "link-ended" | "log-unavailable" | "method-not-allowed" | "node-revoked" | "name-taken" | "node-unreachable" | "not-found" | "origin-refused" | "provider-unreachable" | "quota-exceeded" | "receipt-refused" | "save-elsewhere" | "session-ended" | "session-lost" | "session-not-ready" | "too-many-requests" | "ticket-invalid" | "unauthenticated" | "unsupported-media-type";

export type Problem = { 
/**
 * `https://nearlight.dev/problems/<name>`.
 */
type: string, 
/**
 * The type's name alone, for programs.
 */
name: ProblemName, 
/**
 * The same sentence for each problem of this type.
 */
title: string, 
/**
 * The HTTP status.
 */
status: number, 
/**
 * What happened this time and what to do, for the caller.
 */
detail: string, 
/**
 * The request id, to find it in the log.
 */
instance: string, };

export type PlayerSaid = { 
/**
 * What, in its one text.
 */
sample: string, 
/**
 * The key that the program made for the session, 64 hex digits; empty if it can make none.
 */
key: string, 
/**
 * Its signature over the text, 128 hex digits; empty if it has none.
 */
signature: string, 
/**
 * Whether none follows.
 */
last: boolean, };

export type SessionReceipt = { 
/**
 * Its place in the log: `GET /v1/receipts/{index}` has it with its proof.
 */
index: number, 
/**
 * Its leaf, 64 hex digits.
 */
leaf: string, 
/**
 * With the session's id, what its subject is a commitment to: 64 hex digits. Whoever is told both can
 * say that the receipt is this session's.
 */
salt: string, 
/**
 * `agree`, `disagree` or `edge-only`: whether player and node measured the same.
 */
agreement: string, 
/**
 * How the session's node stands now; absent if nobody remembers which it was.
 */
node_rank?: NodeRank, };

export type NodeRank = { 
/**
 * What its receipts open to it.
 */
gate: NodeGate, 
/**
 * Its rank, thousandths (docs/proof.md has the formula).
 */
rank_permille: number, };

export type NodeGate = "unchecked" | "unproven" | "proven" | "failing";

export type Directory = { 
/**
 * The newest edition, an envelope.
 */
envelope: string, 
/**
 * The key that signed it, 64 hex digits. Whoever takes it from here believes this broker.
 */
directory_key: string, 
/**
 * The key of the log's checkpoints, as policies have it (c2sp.org/signed-note).
 */
log_key: string, 
/**
 * The operator's own policy (c2sp.org/tlog-policy): its log, and the witnesses that it asks.
 */
policy: string, };

export type Receipt = { 
/**
 * Its place in the log.
 */
index: number, 
/**
 * The envelope, as it stands there.
 */
envelope: string, 
/**
 * Its `.tlog-proof` (c2sp.org/tlog-proof).
 */
proof: string, };

export type ReceiptList = { 
/**
 * The receipts.
 */
receipts: Array<ReceiptSummary>, 
/**
 * What to send as `before` for the next page; none on the last.
 */
next_before: number | null, };

export type ReceiptSummary = { 
/**
 * Its place in the log.
 */
index: number, 
/**
 * Its leaf.
 */
leaf: string, 
/**
 * Its kind, such as `porc/v1`.
 */
kind: string, 
/**
 * The key id of whoever issued it.
 */
issuer: string, 
/**
 * What it is about: the key id of a node, a session's commitment, the leaf of another receipt, or a key id.
 */
about: string, 
/**
 * When it says that it was issued, Unix seconds.
 */
issued_at_s: number, };

export type Notice = { "notice": "ready", 
/**
 * It takes [`crate::input::Event::Shown`]. One that does not say so may take three of them for a breach.
 */
hears_shown: boolean, } | { "notice": "cursor", 
/**
 * Its shape.
 */
cursor: Cursor, } | { "notice": "clipboard", 
/**
 * UTF-8, at most [`crate::limits::CLIPBOARD_BYTES_MAX`] bytes.
 */
text: string, } | { "notice": "pointer-lock", 
/**
 * Whether it is wanted.
 */
wanted: boolean, } | { "notice": "display", 
/**
 * Pixels.
 */
width: number, 
/**
 * Pixels.
 */
height: number, } | { "notice": "ending-soon", 
/**
 * Why.
 */
reason: EndReason, 
/**
 * Seconds from now.
 */
in_s: number, } | { "notice": "goes-on" } | { "notice": "stream", 
/**
 * The state of it.
 */
stream: StreamState, } | { "notice": "watchers", 
/**
 * Viewers on watch links.
 */
count: number, } | { "notice": "detached", 
/**
 * Why.
 */
reason: DetachReason, } | { "notice": "ended", 
/**
 * Why.
 */
reason: EndReason, };

export type Cursor = { "kind": "hidden" } | { "kind": "named", 
/**
 * The CSS name.
 */
name: string, } | { "kind": "image", 
/**
 * Base64 of a PNG, at most [`crate::limits::CURSOR_SIDE_MAX`] pixels a side.
 */
png: string, 
/**
 * The pixel that points.
 */
hotspot_x: number, 
/**
 * The pixel that points.
 */
hotspot_y: number, };

export type StreamState = { 
/**
 * What congestion control gives the encoder, kbit/s.
 */
kbps_target: number, 
/**
 * What it believes the path carries, kbit/s.
 */
kbps_path: number, 
/**
 * Round trip, milliseconds.
 */
rtt_ms: number, 
/**
 * Delay in queues on the path, beyond the least one seen, milliseconds.
 */
queue_ms: number, 
/**
 * Packets lost on the path, per mille, over the last seconds.
 */
loss_permille: number, 
/**
 * Encoded picture width, pixels.
 */
width: number, 
/**
 * Encoded picture height, pixels.
 */
height: number, 
/**
 * Frames per second at most.
 */
fps_max: number, 
/**
 * The encoder, such as `x264enc`.
 */
encoder: string, 
/**
 * What keeps the picture from being better.
 */
limited_by: LimitedBy, 
/**
 * How lost packets are made good.
 */
repair: Repair, 
/**
 * The most that the operator lets the session take of any path, headers and repair included, kbit/s; nodes of
 * before do not say.
 */
kbps_max?: number, 
/**
 * Whether pictures carry the session's marker; nodes of before do not say, and theirs carry none.
 */
marked?: boolean, };

export type LimitedBy = "nothing" | "capacity" | "loss" | "uplink" | "node" | "player" | "operator";

export type Repair = "key-frame" | "rtx" | "flex-fec";

export type DetachReason = "taken-over" | "node-restarting" | "protocol-error" | "link-revoked" | "codec-changed";

