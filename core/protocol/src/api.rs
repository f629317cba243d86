//! The HTTP API under `/v1`: what the broker and its clients say to each other.

pub use crate::attach::{CreateTicket, IceServer, Ticket};

use crate::app::{Control, DisplayMode, GpuClass, Shelf};
use crate::control::ImageFault;
use crate::gpu::GpuReading;
use crate::id::{AppId, KeyId, NodeId, SessionId, TenantId, UserId, WatchLinkId};
use crate::identity::Scope;
use crate::job::JobSpec;
use crate::region::{PlacedIn, RegionRtt};
use crate::unit::UnixMillis;
use crate::work::Secrets;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `POST /v1/sessions`. Needs an `Idempotency-Key` header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateSession {
    /// The catalogue entry to start; or else a job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    #[ts(as = "AppId")]
    pub app: Option<AppId>,
    /// The job to start; or else an app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(skip)]
    pub job: Option<Box<JobSpec>>,
    /// The values of the job's secrets, one for each name in its `secrets`. They are in no answer.
    #[serde(default, skip_serializing_if = "Secrets::is_empty")]
    #[schema(value_type = BTreeMap<String, String>)]
    #[ts(skip)]
    pub secrets: Secrets,
    /// The display to start it with; the app's own default otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub display: Option<DisplayMode>,
    /// xkb layout of the player's keyboard, such as `de` or `us(intl)`; `us` otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub keyboard_layout: Option<String>,
    /// The region that it must run in, however far; the nearest that has room otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub region: Option<String>,
    /// Round trips to regions that the player measured, at most [`crate::limits::RTTS_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[ts(optional, as = "Option<Vec<RegionRtt>>")]
    pub rtt: Vec<RegionRtt>,
    /// What to do where the player's saves of the app are on a node that cannot run it now.
    #[serde(default, skip_serializing_if = "SavesWish::is_ask")]
    #[ts(optional, as = "Option<SavesWish>")]
    pub saves: SavesWish,
    /// What it may cost, millionths of the currency's unit; then it ends. No limit without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "number")]
    pub budget_micro: Option<u64>,
}

/// What to do where a player's saves are on a node that cannot run the app now. Where it can, the session
/// goes on there, unless it is to begin without them.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum SavesWish {
    /// Answer `save-elsewhere`: the player decides.
    #[default]
    Ask,
    /// Wait in the queue for that node.
    Wait,
    /// Begin on whatever node is best. The saves stay where they are.
    Without,
}

impl SavesWish {
    #[allow(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde asks for a reference"
    )]
    fn is_ask(&self) -> bool {
        *self == Self::Ask
    }
}

/// A session as its owner sees it: the answer to create, get and list, and every server-sent event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
pub struct Session {
    /// Its id.
    #[schema(value_type = String)]
    pub id: SessionId,
    /// What it runs.
    #[serde(default)]
    pub kind: SessionKind,
    /// The catalogue entry, of an app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    #[ts(optional)]
    pub app: Option<AppId>,
    /// The app's name for people, or the image's of a job.
    pub title: String,
    /// Where it is in its life.
    pub state: SessionState,
    /// The node that runs it, once placed.
    #[schema(value_type = Option<String>)]
    pub node: Option<NodeId>,
    /// The display it was started with, of an app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub display: Option<DisplayMode>,
    /// Whether this caller owns it. Only the owner attaches, controls and ends it.
    pub owned: bool,
    /// When it was created.
    #[ts(type = "number")]
    pub created_at: UnixMillis,
    /// When it will end by itself (idle, time limit, grace or the end of its node's capacity, whichever comes
    /// first), once it runs.
    #[ts(type = "number | null")]
    pub ends_at: Option<UnixMillis>,
    /// When its node's capacity is taken back, once its operator has said so: it ends then, or goes on
    /// elsewhere if it may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "number")]
    pub preempted_at: Option<UnixMillis>,
    /// Path of the page that plays it, such as `/play/ses_...`; empty for a job.
    pub play_path: String,
    /// Words of the tenant's own, as its job has them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[ts(skip)]
    pub labels: BTreeMap<String, String>,
    /// Guests who watch it on watch links now.
    #[serde(default)]
    pub watchers: u32,
    /// Where it runs and why there, once placed, as long as its broker remembers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub placed_in: Option<PlacedIn>,
    /// The replicas of a cluster's present run in their order, the first with them; none while it waits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[ts(skip)]
    pub members: Vec<ClusterMember>,
}

/// One replica of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ClusterMember {
    /// Its number, from 0.
    pub replica: u32,
    /// Its own id, as its node knows it. Whoever asks for anything names the cluster's.
    #[schema(value_type = String)]
    pub session: SessionId,
    /// The node that runs it.
    #[schema(value_type = Option<String>)]
    pub node: Option<NodeId>,
    /// Where it is in its life.
    pub state: SessionState,
}

/// What a session runs.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    ts_rs::TS,
    utoipa::ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum SessionKind {
    /// An app of the catalogue, which a player watches and plays.
    #[default]
    App,
    /// A job, which its tenant talks to.
    Job,
}

impl SessionKind {
    /// Its name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Job => "job",
        }
    }
}

/// Where a session is in its life. `ended` is final.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
#[serde(tag = "phase", rename_all = "kebab-case")]
pub enum SessionState {
    /// Every suitable slot is taken.
    Queued {
        /// 1 is next.
        position: u32,
        /// Seconds until a slot is expected to be free: one wait in two is shorter. Or unknown.
        eta_s: Option<u32>,
        /// Seconds that nine waits in ten do not exceed, or unknown.
        #[serde(default)]
        eta_most_s: Option<u32>,
        /// What the node lacks that comes closest to taking it, once a placement was tried.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        waits_for: Option<WaitsFor>,
    },
    /// A slot is claimed and the node is being told.
    Placing,
    /// The node is starting it.
    Starting {
        /// How far it is.
        progress: StartProgress,
    },
    /// It runs, and waits for its player to attach; a job is healthy.
    Ready,
    /// It runs, and its player is attached.
    Playing,
    /// It runs, its player is gone, and it is kept until `ends_at`.
    Detached,
    /// It is being stopped.
    Ending {
        /// Why.
        reason: EndReason,
    },
    /// It is over.
    Ended {
        /// Why.
        reason: EndReason,
        /// The reason in one sentence for people, with what to do.
        detail: String,
    },
}

/// What a session waits for.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum WaitsFor {
    /// A node that can run it and is attached.
    Node,
    /// A free slot.
    Slot,
    /// CPU that no other session has claimed.
    Cpu,
    /// Memory that no other session has claimed.
    Memory,
    /// Room on a node's uplink: no node has enough of it left.
    Uplink,
    /// Disk that no other job has claimed.
    Disk,
    /// GPUs that no other job has.
    Gpus,
    /// One of its volumes: another job has it, or it is not to be had; its placement says which.
    Volume,
}

/// How far the start of a session is, in the order in which it happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum StartProgress {
    /// The image, and then the assets of a job, are being fetched.
    Pulling {
        /// Bytes so far.
        #[ts(type = "number")]
        done_bytes: u64,
        /// Bytes in all, as far as known.
        #[ts(type = "number")]
        total_bytes: u64,
        /// Layers, or assets, that are here.
        #[serde(default)]
        layers_done: u32,
        /// Layers, or assets, in all, as far as known; 0 where the node does not say.
        #[serde(default)]
        layers: u32,
    },
    /// Desktop, sound and encoder are being started.
    StartingDesktop,
    /// The container is being started.
    StartingApp,
    /// The app runs and has not shown a picture yet.
    WaitingForPicture,
    /// The container of a job is being made and started.
    StartingContainer,
    /// The job runs; it is not healthy yet.
    WaitingForHealth {
        /// How often it was started again.
        #[serde(default)]
        restarts: u32,
    },
}

/// Why a session ended.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum EndReason {
    /// Its owner ended it.
    PlayerEnded,
    /// The app exited by itself with status 0.
    AppExited,
    /// The app exited with an error or was killed by a signal.
    AppCrashed,
    /// The app ran out of its memory.
    AppOutOfMemory,
    /// The app exited before it showed a picture.
    AppStartFailed,
    /// The app showed no picture in time.
    StartTimeout,
    /// The node has no such image and cannot get it.
    ImageMissing,
    /// The container engine refused or failed.
    RuntimeFailed,
    /// The app broke the rules of its desktop or sound server.
    DesktopViolation,
    /// The session worker crashed.
    WorkerCrashed,
    /// No encoder works.
    EncoderFailed,
    /// No input for the app's idle time.
    IdleTimeout,
    /// The app's maximum time is over.
    TimeLimit,
    /// The player was gone for longer than the grace time.
    DetachedTimeout,
    /// The program of the job ended well.
    JobDone,
    /// The program of the job failed; the detail has its exit status.
    JobFailed,
    /// The job used more memory than it asked for.
    JobOutOfMemory,
    /// The job was not healthy in time.
    JobStartTimeout,
    /// The job was healthy, and is not any more.
    JobUnhealthy,
    /// An asset cannot be fetched, or is not what its digest says.
    AssetMissing,
    /// A volume of the job is not on its node any more, or cannot be mounted.
    VolumeLost,
    /// No node had room for it within the time that its spec gives.
    QueueTimeout,
    /// What it may cost is spent.
    BudgetReached,
    /// The node needs the capacity back.
    Preempted,
    /// Another replica of its cluster ended.
    ClusterEnded,
    /// The node was lost for longer than its grace time.
    NodeLost,
    /// The operator drains the node or shuts it down.
    NodeDrained,
    /// Something broke on our side.
    Internal,
}

impl EndReason {
    /// The reason in one sentence for people, with what to do.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::PlayerEnded => "You ended the session.",
            Self::AppExited => "The app was closed.",
            Self::AppCrashed => {
                "The app crashed. Start it again; if it crashes again, tell the operator."
            }
            Self::AppOutOfMemory => {
                "The app used more memory than it is allowed. Tell the operator, who can raise needs.mem_mib."
            }
            Self::AppStartFailed => {
                "The app exited before it showed a picture. Tell the operator: the node's log has its last output."
            }
            Self::StartTimeout => "The app showed no picture in time. Try again, or another app.",
            Self::ImageMissing => {
                "The image is not on the node and cannot be fetched. Tell the operator to build or pull it."
            }
            Self::RuntimeFailed => {
                "The node could not start the container. Tell the operator: the node's log says why."
            }
            Self::DesktopViolation => {
                "The app misbehaved towards its display or sound server and was stopped."
            }
            Self::WorkerCrashed => "The program that streams the session crashed. Start it again.",
            Self::EncoderFailed => {
                "No video encoder works on the node. Tell the operator to run `nearlight doctor`."
            }
            Self::IdleTimeout => "Nobody used it for a long time, so the session was ended.",
            Self::TimeLimit => "The time limit is reached.",
            Self::DetachedTimeout => "You were away for longer than the session is kept.",
            Self::JobDone => "The job's program ended.",
            Self::JobFailed => "The job's program failed. Its log says why.",
            Self::JobOutOfMemory => {
                "The job used more memory than it asked for. Raise resources.mem_mib."
            }
            Self::JobStartTimeout => {
                "The job was not healthy in time. Look at its log, or raise time.start_s."
            }
            Self::JobUnhealthy => "The job stopped answering its health check. Its log says why.",
            Self::AssetMissing => {
                "An asset of the job cannot be fetched, or is not what its digest says."
            }
            Self::VolumeLost => {
                "A volume of the job is not to be had on its node. `nearlight volume list` says how it is."
            }
            Self::QueueTimeout => {
                "No node had room in time. `nearlight session explain` says what was missing."
            }
            Self::BudgetReached => "What the session may cost is spent.",
            Self::Preempted => "The node's operator needs the capacity back.",
            Self::ClusterEnded => "Another replica of the cluster ended, and all share its fate.",
            Self::NodeLost => {
                "The node that ran the session is gone. Start it again on another one."
            }
            Self::NodeDrained => {
                "The node was shut down by its operator. Start it again on another one."
            }
            Self::Internal => "Something broke on our side. Start it again.",
        }
    }
}

/// `GET /v1/sessions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
pub struct SessionList {
    /// The caller's sessions, newest first; ended ones stay for an hour.
    pub sessions: Vec<Session>,
}

/// One app as the lobby shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
pub struct App {
    /// Its name in URLs.
    #[schema(value_type = String)]
    pub id: AppId,
    /// Its name for people.
    pub title: String,
    /// One or two sentences.
    pub summary: String,
    /// URL path of its picture.
    pub picture: String,
    /// Which shelf it stands on.
    pub shelf: Shelf,
    /// What its keys do.
    pub controls: Vec<Control>,
    /// The GPU class it needs.
    pub gpu: GpuClass,
    /// The display it is started with.
    pub display: DisplayMode,
    /// Whether some node can run it now or later.
    pub available: bool,
    /// Whether its saves persist.
    pub saves: bool,
}

/// `GET /v1/apps`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
pub struct AppList {
    /// The catalogue, sorted by title.
    pub apps: Vec<App>,
}

/// One node as everyone may see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
pub struct Node {
    /// Its id.
    #[schema(value_type = String)]
    pub id: NodeId,
    /// Its name for people.
    pub name: String,
    /// Where it is, as its operator says.
    pub region: String,
    /// Whether its control stream is up, and whether it takes sessions.
    pub status: NodeStatus,
    /// Slots in all.
    pub slots_total: u32,
    /// Slots free now.
    pub slots_free: u32,
    /// When what it runs ends, if its operator takes the capacity back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(skip)]
    pub reclaim_at: Option<UnixMillis>,
    /// What it has.
    pub gpu: GpuClass,
    /// GPU models, as it claims.
    pub gpu_models: Vec<String>,
    /// Video encoders that worked when they were probed, best first, such as `x264enc`.
    pub encoders: Vec<String>,
    /// How it runs apps: `docker` or `sandbox`.
    pub runtime: String,
    /// The build it runs.
    pub build: String,
    /// What its uplink carries for sessions, kbit/s, as it is configured or measured.
    pub uplink_kbps: Option<u32>,
    /// Whether the operator of this network has vetted it: jobs go to such nodes, unless they say
    /// otherwise.
    #[serde(default)]
    #[ts(skip)]
    pub vetted: bool,
    /// Images that it was to fetch ahead of sessions and could not. Only operators and administrators
    /// see it.
    #[serde(default)]
    pub image_faults: Vec<ImageFault>,
    /// Why it can start nothing at the moment; empty if it can. Only operators and administrators see it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[ts(skip)]
    pub fault: String,
    /// The GPUs that it gives to jobs. Only operators and administrators see them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[ts(skip)]
    pub gpus: Vec<NodeGpu>,
    /// The key that it signs receipts with, 64 hex digits; receipts name it by `receipt_key_id`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[ts(skip)]
    pub receipt_key: String,
    /// SHA-256 of that key: what `GET /v1/receipts?node=` takes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[ts(skip)]
    pub receipt_key_id: String,
    /// Who runs it, as the directory of keys has it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[ts(skip)]
    pub operator: String,
}

/// A GPU of a node, or a MIG slice of one, that jobs have for themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NodeGpu {
    /// Its UUID as NVML has it.
    pub uuid: String,
    /// Its model as NVML has it.
    pub model: String,
    /// Its memory, MiB.
    pub vram_mib: u32,
    /// Whether a job has it.
    pub taken: bool,
    /// Why it takes no further job; empty if it is well.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sick: String,
    /// Its CUDA compute capability, times ten: 90 for 9.0; absent where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute_capability: Option<u32>,
    /// Whether it encodes video beside what it computes; absent where its node does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encodes: Option<bool>,
    /// Of a MIG slice: the UUID of the GPU that it is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slice_of: Option<String>,
    /// The session that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub session: Option<SessionId>,
    /// What its node read of it last; in the answer for one node alone, while it is attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading: Option<GpuReading>,
    /// When that was told: a node tells it once a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_at: Option<UnixMillis>,
}

/// Whether a node can be used.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum NodeStatus {
    /// Attached, takes sessions.
    Online,
    /// Attached, takes no new sessions.
    Draining,
    /// Not attached.
    Offline,
    /// Shut out for good. Only administrators see it.
    Revoked,
}

/// `POST /v1/nodes/{node}/drain`: what becomes of what it runs. Without a body, or with an empty one, that
/// goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DrainNode {
    /// Seconds until the sessions that it runs end as `preempted`, 1 to
    /// [`crate::limits::RECLAIM_S_MAX`]; their owners are told now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reclaim_s: Option<u32>,
    /// Why, for owners of jobs and the audit log; at most [`crate::limits::RECLAIM_REASON_BYTES_MAX`] bytes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// `POST /v1/join-tokens`: a new node may come in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CreateJoinToken {
    /// Seconds for which the token works, 1 to [`crate::limits::JOIN_TOKEN_S_MAX`]; a quarter of an
    /// hour if it is not given.
    pub expires_s: Option<u32>,
    /// The node's name for people, at most [`crate::limits::NODE_NAME_BYTES_MAX`] bytes; the node's
    /// own if it is empty.
    pub name: String,
    /// Its region; the node's own if it is empty.
    pub region: String,
    /// Who runs it, at most [`crate::limits::OPERATOR_BYTES_MAX`] bytes; who runs the network if it is empty. No
    /// checker of theirs checks it.
    pub operator: String,
}

/// A join token that was just made. It is told this once: the broker keeps only a hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NewJoinToken {
    /// For `nearlight node join --token`. It works once.
    pub token: String,
    /// It is void from then on.
    pub expires_unix_ms: UnixMillis,
    /// Where the node will dial.
    pub addresses: Vec<String>,
}

/// `GET /v1/nodes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
pub struct NodeList {
    /// All nodes.
    pub nodes: Vec<Node>,
}

/// `POST /v1/sessions/{id}/watch-links`: the owner lets others watch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateWatchLink {
    /// Seconds for which the link works, 1 to [`crate::limits::WATCH_LINK_S_MAX`]. It also ends with
    /// its session.
    pub expires_s: u32,
}

/// A watch link that was just made. Its address is told this once: the broker keeps only a hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
pub struct NewWatchLink {
    /// Its id, to revoke it.
    #[schema(value_type = String)]
    pub id: WatchLinkId,
    /// Path of the page that watches, such as `/watch/<token>`. Whoever has it watches.
    pub url: String,
    /// It is void from then on.
    #[ts(type = "number")]
    pub expires_unix_ms: UnixMillis,
}

/// A watch link that works, as its owner sees it later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
pub struct WatchLink {
    /// Its id, to revoke it.
    #[schema(value_type = String)]
    pub id: WatchLinkId,
    /// When it was made.
    #[ts(type = "number")]
    pub created_unix_ms: UnixMillis,
    /// It is void from then on.
    #[ts(type = "number")]
    pub expires_unix_ms: UnixMillis,
}

/// `GET /v1/sessions/{id}/watch-links`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
pub struct WatchLinkList {
    /// Those that work, oldest first.
    pub links: Vec<WatchLink>,
}

/// `GET /v1/watch/{token}`: what whoever has the link may know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
pub struct Watched {
    /// The app's name for people.
    pub title: String,
    /// Whether there is a picture to watch now.
    pub live: bool,
    /// The link is void from then on.
    #[ts(type = "number")]
    pub expires_unix_ms: UnixMillis,
    /// As in [`Ticket`].
    #[serde(default)]
    pub ice_servers: Vec<IceServer>,
}

/// `GET /v1/whoami`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
pub struct WhoAmI {
    /// `guest`, the player's name, or the name of the API key.
    pub name: String,
    /// What the caller is.
    pub role: Role,
    /// The user, whose sessions are the caller's own.
    #[schema(value_type = String)]
    pub user: UserId,
    /// The caller's tenant.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub tenant: Option<TenantId>,
    /// The API key.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub key: Option<KeyId>,
    /// What the caller may do.
    #[serde(default)]
    pub scopes: Vec<Scope>,
    /// Where a guest can log in, if players can: `/v1/login`.
    #[serde(default)]
    pub login_path: Option<String>,
}

/// What a caller is. What each may do is one table: session-broker/src/access.rs.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Somebody with a cookie: plays a little.
    Guest,
    /// Somebody who logged in, or a tenant's program for one player: plays.
    Player,
    /// A tenant's program: its sessions and its keys.
    Tenant,
    /// Who runs nodes.
    Operator,
    /// Everything.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [
        Self::Guest,
        Self::Player,
        Self::Tenant,
        Self::Operator,
        Self::Admin,
    ];

    /// Its name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::Player => "player",
            Self::Tenant => "tenant",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

/// A text is no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no role; roles are guest, player, tenant, operator and admin")]
pub struct UnknownRole(String);

impl std::str::FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        let found = Self::ALL.into_iter().find(|role| role.name() == text);
        found.ok_or_else(|| UnknownRole(text.to_owned()))
    }
}
