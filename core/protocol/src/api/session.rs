//! Sessions: how one is asked for, what it is, and how it ends.

use crate::app::DisplayMode;
use crate::id::{AppId, NodeId, SessionId};
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
    /// What an app may cost a second where it is placed, millionths of the currency's unit. A job says it in its `place`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub price_max: Option<u32>,
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
    /// A node that can run it and is attached; of a cluster, a site that has room for all of it when nothing else runs there.
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
    /// Whether a node may give it. It may say what happened at the node, and say again what it was told; that a run of
    /// a cluster is over, or that nothing had room, is the broker's alone: what depends on it goes on.
    pub const fn is_a_nodes(self) -> bool {
        match self {
            Self::ClusterEnded | Self::QueueTimeout => false,
            Self::PlayerEnded
            | Self::AppExited
            | Self::AppCrashed
            | Self::AppOutOfMemory
            | Self::AppStartFailed
            | Self::StartTimeout
            | Self::ImageMissing
            | Self::RuntimeFailed
            | Self::DesktopViolation
            | Self::WorkerCrashed
            | Self::EncoderFailed
            | Self::IdleTimeout
            | Self::TimeLimit
            | Self::DetachedTimeout
            | Self::JobDone
            | Self::JobFailed
            | Self::JobOutOfMemory
            | Self::JobStartTimeout
            | Self::JobUnhealthy
            | Self::AssetMissing
            | Self::VolumeLost
            | Self::BudgetReached
            | Self::Preempted
            | Self::NodeLost
            | Self::NodeDrained
            | Self::Internal => true,
        }
    }

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
