//! The control stream: JSON messages in WebSocket text frames over mTLS, edge dials broker.
//!
//! ```text
//! edge                                broker
//!  | -- Hello ------------------------> |   once, first
//!  | <------------------------ Welcome  |   or Refused, then close
//!  | -- Inventory, Running -----------> |   what the node has, what it still runs
//!  | <----------------------- Command   |   acked one by one, re-sent after re-attach
//!  | -- Ack, Report, Heartbeat, Renew > |
//!  | <---- Renewed, NotRenewed, GoAway  |
//! ```
//!
//! Commands are idempotent: an edge that sees one twice answers the same. A request that wants an
//! answer (a WHEP offer) carries its own `request` id and is not re-sent after a re-attach.

use crate::api::{EndReason, StartProgress};
use crate::app::{DisplayMode, GpuClass};
use crate::endpoint::DirectSite;
use crate::enrol::Renewed;
use crate::gpu::GpuSeen;
use crate::id::{AppId, AttachmentId, NodeId, RequestId, SessionId, SlotId, TunnelId, WatchLinkId};
use crate::job::ContainerRuntime;
use crate::quality::{Countersigned, Measured};
use crate::unit::U64;
use crate::usage::UsageFacts;
use crate::volume::{JobStorage, VolumeHeld, VolumesKnown};
use crate::work::{PullLogin, Replica, Secrets, Work};
use serde::{Deserialize, Serialize};

/// The version of this wire that we speak.
pub const PROTOCOL_VERSION: u32 = 1;

/// What an edge says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[allow(
    clippy::large_enum_variant,
    reason = "an inventory is rare, and gone as soon as it is read"
)]
pub enum FromEdge {
    /// The first message.
    Hello(Hello),
    /// What the node has; after the welcome and whenever it changes.
    Inventory(Inventory),
    /// The sessions that the node still runs, with their grants; after the welcome.
    Running {
        /// One a session.
        sessions: Vec<RunningSession>,
    },
    /// Still here.
    Heartbeat(Heartbeat),
    /// A command was carried out, or never will be.
    Ack {
        /// The command's number.
        command: U64,
        /// Whether it holds now.
        outcome: AckOutcome,
    },
    /// A session changed.
    Report {
        /// Which.
        session: SessionId,
        /// The epoch it runs under.
        epoch: U64,
        /// What happened.
        event: SessionReport,
    },
    /// The answer to a [`ToEdge::Whep`].
    WhepAnswer {
        /// The request it answers.
        request: RequestId,
        /// What came of it.
        result: WhepResult,
    },
    /// The node takes no more sessions.
    Draining,
    /// Its certificate is due. Only to a broker whose welcome has the feature
    /// [`crate::enrol::RENEW_FEATURE`]; answered by [`ToEdge::Renewed`] or [`ToEdge::NotRenewed`].
    Renew {
        /// A PKCS #10 request in PEM. Only its key counts.
        request: String,
    },
    /// What it measured of a session that is played: each minute, and at the end.
    Measured(Measured),
    /// The answer to [`ToEdge::Countersign`].
    Countersigned {
        /// Of which session.
        session: SessionId,
        /// The answer.
        #[serde(flatten)]
        answer: Countersigned,
    },
}

/// What a broker says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ToEdge {
    /// The answer to a hello that is taken.
    Welcome(Welcome),
    /// The answer to a hello that is not.
    Refused {
        /// Why, for the operator.
        detail: String,
        /// Seconds before the next attempt.
        retry_after_s: u32,
        /// Whether the node is shut out for good: it ends its sessions.
        #[serde(default, skip_serializing_if = "is_false")]
        revoked: bool,
    },
    /// Something to carry out.
    Command {
        /// Its number on this ledger; an ack names it.
        command: U64,
        /// What to do.
        #[serde(flatten)]
        order: Order,
    },
    /// A viewer's WHEP request.
    Whep {
        /// To be named in the answer.
        request: RequestId,
        /// The session.
        session: SessionId,
        /// What is asked.
        #[serde(flatten)]
        action: WhepAction,
    },
    /// A line check: an SDP offer with data channels only, answered by [`FromEdge::WhepAnswer`].
    Probe {
        /// To be named in the answer.
        request: RequestId,
        /// The SDP offer.
        sdp: String,
    },
    /// The watch links that work, of every session on the node that has any; on a fresh stream,
    /// after the edge has said what it runs. Whoever watches on another link is let go.
    WatchLinks {
        /// One a session.
        sessions: Vec<SessionWatchLinks>,
    },
    /// The images that the node is to have; after the edge has said what it runs, and whenever it
    /// changes. Not acked: the newest one counts.
    Images(ImagesWanted),
    /// The volumes of the node; after the edge has said what it runs, and whenever they change. Only to
    /// one whose inventory lists its own. Not acked: the inventory shows what is left.
    Volumes(VolumesKnown),
    /// Nobody may watch on this link any more; not acked. What gets lost, the next
    /// [`ToEdge::WatchLinks`] makes good.
    EndWatch {
        /// The session.
        session: SessionId,
        /// The link.
        link: WatchLinkId,
    },
    /// Tell the session's viewer, or a job's program, that it will end by itself; not acked. Of a node whose
    /// capacity is taken back it is said again after each attach, once the edge has said what it runs.
    EndingSoon {
        /// The session.
        session: SessionId,
        /// Why.
        reason: EndReason,
        /// Seconds from now.
        in_s: u32,
    },
    /// What [`ToEdge::EndingSoon`] said last of the session does not hold; not acked, not re-sent.
    GoesOn {
        /// The session.
        session: SessionId,
    },
    /// The node's next certificate. It is shown from the next dial on.
    Renewed(Renewed),
    /// There is no next certificate now.
    NotRenewed {
        /// Why, for the operator.
        detail: String,
        /// Seconds before the next attempt.
        retry_after_s: u32,
    },
    /// The broker has requests for a session of the node: dial a tunnel ([`crate::tunnel`]). Not
    /// acked, not re-sent: the tunnel comes within seconds, or the broker asks again.
    OpenTunnel(OpenTunnel),
    /// The broker is going: attach elsewhere, or here again after a while.
    GoAway {
        /// Seconds before the next attempt.
        retry_after_s: u32,
    },
    /// Sign the statement of a session's receipt, if it says what you measured. Asked of nodes alone that
    /// measured something.
    Countersign {
        /// Of which session.
        session: SessionId,
        /// The statement, in its one text.
        statement: String,
    },
}

/// A tunnel that a broker wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenTunnel {
    /// Its id: used once, by this node, at this broker, within seconds.
    pub tunnel: TunnelId,
    /// The session whose requests it carries, and no other's; for a probe an id of its own.
    pub session: SessionId,
    /// Whether it is for a checker's probe: it leads to the node's prover, under epoch 0, and to no session.
    #[serde(default, skip_serializing_if = "is_false")]
    pub probe: bool,
    /// `HOST:PORT` of this one broker, where several share the address that the node has dialled;
    /// `None` for that address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// The images that a node is to have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImagesWanted {
    /// To be fetched where they are missing, most wanted first; at most
    /// [`crate::limits::IMAGES_WANTED_MAX`].
    pub pull: Vec<String>,
    /// Not to be removed, but not to be fetched either; as many at most.
    pub keep: Vec<String>,
    /// Desktops to be kept ready while there is room, most wanted first; at most
    /// [`crate::limits::WARM_WANTED_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warm: Vec<WarmWanted>,
    /// Assets of jobs to be fetched for everybody ([`crate::volume::EVERYBODY`]), most wanted first; at most
    /// [`crate::limits::ASSETS_WANTED_MAX`]. Their paths mean nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assets: Vec<crate::job::Asset>,
}

/// Desktops to be kept ready for an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarmWanted {
    /// For which app.
    pub app: AppId,
    /// The display that its sessions start with.
    pub display: DisplayMode,
    /// How many.
    pub count: u32,
}

/// Desktops that are ready for an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarmReady {
    /// For which app.
    pub app: AppId,
    /// How many.
    pub count: u32,
}

/// An image that a node was to fetch and could not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
pub struct ImageFault {
    /// Which.
    pub image: String,
    /// Why, for the operator.
    pub detail: String,
}

/// The watch links of one session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionWatchLinks {
    /// The session.
    pub session: SessionId,
    /// Its links that work; at most [`crate::limits::WATCH_LINKS_MAX`].
    pub links: Vec<WatchLinkId>,
}

/// The first message of an edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Oldest version of this wire that the edge speaks.
    pub proto_min: u32,
    /// Newest version of this wire that the edge speaks.
    pub proto_max: u32,
    /// The node. Must be the one in the client certificate.
    pub node: NodeId,
    /// Its build, such as `0.1.0`.
    pub build: String,
    /// Its name for people.
    pub name: String,
    /// Its region.
    pub region: String,
    /// The key that it signs receipts with; none from an older edge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt_key: Option<ReceiptKeyClaim>,
    /// What it can prove, at most [`crate::limits::NODE_GPUS_MAX`]; nothing from an older edge, which proves its CPU.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proves: Vec<Proves>,
}

/// Something that a node can prove: a claim, as long as nobody asks for the proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proves {
    /// Its id, as receipts name it: `cpu`, a GPU's UUID, or where it sits.
    pub gpu: String,
    /// Its model, as its driver says; empty of a CPU.
    pub model: String,
}

impl Proves {
    /// Whether its id and model are such as a receipt takes.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        is_device_id(&self.gpu)
            && self.model.len() <= DEVICE_BYTES_MAX
            && !self.model.contains(|c: char| c.is_control())
    }
}

/// The longest id and the longest model of a device, bytes.
pub const DEVICE_BYTES_MAX: usize = 100;

/// Whether this can be the id of a device: it stands in addresses and in names of duties.
#[must_use]
pub fn is_device_id(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    (1..=DEVICE_BYTES_MAX).contains(&id.len()) && id.bytes().all(plain)
}

/// A node's receipt key, with the proof that it has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptKeyClaim {
    /// The Ed25519 public key, 64 hex digits.
    pub key: String,
    /// Its signature over [`receipt_key_proof`], 128 hex digits.
    pub signature: String,
}

/// What a node signs with its receipt key, so that nobody names another one's as theirs.
#[must_use]
pub fn receipt_key_proof(node: &NodeId) -> Vec<u8> {
    format!("nearlight node key v1\n{node}\n").into_bytes()
}

/// The broker takes the edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The version to speak.
    pub proto: u32,
    /// Seconds between heartbeats.
    pub heartbeat_s: u32,
    /// Seconds: shortest wait before a reconnect.
    pub backoff_min_s: u32,
    /// Seconds: longest wait before a reconnect.
    pub backoff_max_s: u32,
    /// Seconds for which an edge keeps its sessions with no broker at all.
    pub grace_s: u32,
    /// The Ed25519 keys that sign grants and tickets, as a JWK set (RFC 7517, RFC 8037).
    pub jwks: serde_json::Value,
    /// What this broker can do beside the version's messages; an edge ignores what it does not know.
    #[serde(default)]
    pub features: Vec<String>,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
fn is_false(value: &bool) -> bool {
    !value
}

/// In [`Welcome::features`]: the broker understands [`DenyReason::NodeFault`].
pub const FAULT_FEATURE: &str = "node-fault";

/// In [`Welcome::features`]: the broker understands [`SessionReport::Used`].
pub const USED_FEATURE: &str = "session-used";

/// The broker makes receipts of sessions: it hears [`FromEdge::Measured`] and [`FromEdge::Countersigned`].
pub const QUALITY_FEATURE: &str = "session-quality";

/// What a node has. Claims, until a receipt backs them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// Slots: each is capacity for one session.
    pub slots: Vec<Slot>,
    /// CPU that sessions may use, thousandths of a core.
    pub cpu_milli: u32,
    /// Memory that sessions may use, MiB.
    pub mem_mib: u32,
    /// CPU that each session takes beside its app's, for desktop and encoder, thousandths of a core.
    #[serde(default)]
    pub encode_cpu_milli: u32,
    /// The best GPU class.
    pub gpu: GpuClass,
    /// GPU models.
    pub gpu_models: Vec<String>,
    /// Encoders that encoded a frame when they were probed, best first.
    pub encoders: Vec<String>,
    /// `docker` or `sandbox`.
    pub runtime: String,
    /// Images that are present, as their references.
    pub images: Vec<String>,
    /// Images that the broker wants to be here and that could not be fetched.
    #[serde(default)]
    pub image_faults: Vec<ImageFault>,
    /// Why it can start nothing at the moment, such as a disk that is full; empty if it can.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fault: String,
    /// Desktops that are ready before anybody has asked for a session.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warm: Vec<WarmReady>,
    /// What the node's uplink carries for sessions, kbit/s: configured or measured, or `None`
    /// while unknown.
    #[serde(default)]
    pub uplink_kbps: Option<u32>,
    /// What it offers to jobs; `None` from one that takes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs: Option<JobHost>,
}

/// What a node offers to jobs, beside its CPU and memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobHost {
    /// The OCI runtimes that its engine has.
    pub runtimes: Vec<ContainerRuntime>,
    /// Disk that it can hold containers to, MiB; 0 where it cannot enforce any.
    #[serde(default)]
    pub disk_mib: u32,
    /// Its GPUs, MIG slices one by one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<Gpu>,
    /// Whether it gives a job the very GPUs that its grant names. Agents before that gave none.
    #[serde(default, skip_serializing_if = "is_false")]
    pub gives_gpus: bool,
    /// The assets that are here, by [`crate::volume::asset_name`]; at most
    /// [`crate::limits::ASSETS_LISTED_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assets: Vec<String>,
    /// Its container engine, as that calls itself. Nodes with one engine are one site: the replicas of a
    /// cluster have a network there. Empty from a node that takes no replicas.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub engine: String,
    /// Its volumes, all of them; `None` from one that keeps none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volumes: Option<Vec<VolumeHeld>>,
    /// Where its jobs are reached without a broker in between, if anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct: Option<DirectSite>,
}

/// A GPU, or a MIG slice of one, that a job can have for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpu {
    /// Its UUID as NVML has it, `GPU-...` or `MIG-...`.
    pub uuid: String,
    /// Its model as NVML has it.
    pub model: String,
    /// Its memory, MiB.
    pub vram_mib: u32,
    /// Its CUDA compute capability, times ten: 90 for 9.0; 0 where unknown.
    #[serde(default)]
    pub compute_capability: u32,
    /// Why it takes nothing: ECC faults, a fatal XID, fallen off the bus. Empty if it is well.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sick: String,
    /// Whether it encodes video beside what it computes; `None` from an agent that does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encodes: Option<bool>,
    /// Of a MIG slice: the UUID of the GPU that it is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slice_of: Option<String>,
}

/// Capacity for one session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Its id, made by the edge and kept in its data directory.
    pub id: SlotId,
    /// The highest epoch that the edge's journal has for it.
    pub epoch: U64,
}

/// A session that an edge still runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningSession {
    /// Which.
    pub session: SessionId,
    /// The grant it was started with: an EdDSA JWT of [`crate::grant::Grant`].
    pub grant: String,
    /// Whether a viewer is attached.
    pub attached: bool,
    /// Whether it has shown a picture.
    pub ready: bool,
}

/// Still here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// CPU in use by everything, thousandths of a core.
    pub cpu_milli_used: u32,
    /// Memory available, MiB.
    pub mem_mib_available: u32,
    /// Round trips between node and player, now and then: of sessions that are being played, at most
    /// [`crate::limits::HEARTBEAT_RTTS_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rtts: Vec<SessionRtt>,
    /// What was read of the GPUs for jobs, now and then: at most [`crate::limits::NODE_GPUS_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<GpuSeen>,
}

/// The round trip of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRtt {
    /// The session.
    pub session: SessionId,
    /// Milliseconds, as the stream's own packets show it, without what waits in queues.
    pub ms: u32,
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum AckOutcome {
    /// It is done, or was done before.
    Done,
    /// It will never be done.
    Denied {
        /// The epoch is older than the journal's, the grant is not valid, or the node drains.
        reason: DenyReason,
        /// For the log.
        detail: String,
    },
}

/// Why an edge refuses a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DenyReason {
    /// The journal has a newer epoch for the slot.
    EpochOld,
    /// Signature, node or slot of the grant are wrong.
    GrantInvalid,
    /// The slot runs another session.
    SlotBusy,
    /// The node drains.
    Draining,
    /// The node can start nothing at the moment: [`Inventory::fault`] says why. Told to brokers whose
    /// welcome has [`FAULT_FEATURE`].
    NodeFault,
}

/// Something for an edge to carry out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "kebab-case")]
pub enum Order {
    /// Start a session.
    Start(Box<Start>),
    /// Stop a session; done once nothing of it is left.
    Stop {
        /// Which.
        session: SessionId,
        /// Why, to tell the player and to report back.
        reason: EndReason,
    },
}

/// What an edge needs to start a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// The session.
    pub session: SessionId,
    /// An EdDSA JWT of [`crate::grant::Grant`].
    pub grant: String,
    /// What to run.
    pub work: Work,
    /// A job's secrets.
    #[serde(default, skip_serializing_if = "Secrets::is_empty")]
    pub secrets: Secrets,
    /// Which replica of a cluster it is; `None` for a job of one container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica: Option<Replica>,
    /// What a job with volumes or assets finds on the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<JobStorage>,
    /// What a job's image is pulled with, if its registry wants to know who asks. The node keeps it in
    /// memory until the image is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull: Option<PullLogin>,
}

/// What happened to a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum SessionReport {
    /// It is starting.
    Progress {
        /// How far.
        progress: StartProgress,
    },
    /// It showed its first picture.
    Ready,
    /// A viewer's transport is connected.
    Attached {
        /// Which.
        attachment: AttachmentId,
    },
    /// The viewer is gone.
    Detached {
        /// Which.
        attachment: AttachmentId,
    },
    /// So many watch on watch links now.
    Watchers {
        /// Viewers.
        count: u32,
    },
    /// The player did something. At most once in 10 s.
    InputSeen,
    /// What a job has used so far; now and then, and before its end. Told to brokers whose welcome has
    /// [`USED_FEATURE`].
    Used {
        /// All that is known.
        facts: UsageFacts,
    },
    /// It is over, and nothing of it is left on the node.
    Ended {
        /// Why.
        reason: EndReason,
        /// The last words of the app or the engine, for the operator's log and the owner. May be
        /// empty; at most 2 KiB.
        detail: String,
    },
}

/// What a viewer asks (draft-ietf-wish-whep).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum WhepAction {
    /// A new attachment: POST.
    Offer {
        /// The id it will have.
        attachment: AttachmentId,
        /// The SDP offer.
        sdp: String,
        /// What the viewer may do.
        #[serde(flatten)]
        role: ViewerRole,
    },
    /// Trickled candidates: PATCH with `application/trickle-ice-sdpfrag` (RFC 8840).
    Patch {
        /// The attachment.
        attachment: AttachmentId,
        /// The fragment.
        fragment: String,
    },
    /// The viewer leaves: DELETE.
    Delete {
        /// The attachment.
        attachment: AttachmentId,
    },
}

/// What a viewer may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "kebab-case")]
pub enum ViewerRole {
    /// The owner, who plays; one at a time.
    Player {
        /// Whether to end the attachment that holds the session.
        take_over: bool,
    },
    /// A guest on a watch link: picture and sound, nothing the other way.
    Watcher {
        /// The link.
        link: WatchLinkId,
    },
}

/// What came of a viewer's request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum WhepResult {
    /// The SDP answer to an offer.
    Answer {
        /// With every candidate of the node.
        sdp: String,
    },
    /// Done (PATCH, DELETE).
    Done,
    /// Not done.
    Refused {
        /// Why.
        reason: WhepRefusal,
        /// What to do, for the caller.
        detail: String,
    },
}

/// Why an edge refuses a viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhepRefusal {
    /// Another attachment holds the session.
    AttachedElsewhere,
    /// The SDP cannot be parsed or has nothing we can send.
    InvalidOffer,
    /// No such session or attachment here.
    NotFound,
    /// The session has no picture yet.
    NotReady,
    /// As many watch the session, or check their line, as the node allows.
    TooMany,
}
