//! What a node is told to do, and what becomes of it.

use super::newer;
#[cfg(doc)]
use super::{FAULT_FEATURE, Inventory, USED_FEATURE};
use crate::api::{EndReason, StartProgress};
use crate::id::{AttachmentId, SessionId};
use crate::usage::UsageFacts;
use crate::volume::JobStorage;
use crate::work::{PullLogin, Replica, Secrets, Work};
use serde::{Deserialize, Serialize};

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
    /// Another one: the edge is newer than who reads it.
    #[serde(other)]
    Unknown,
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
        #[serde(deserialize_with = "newer::reason")]
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
        #[serde(deserialize_with = "newer::reason")]
        reason: EndReason,
        /// The last words of the app or the engine, for the operator's log and the owner. May be
        /// empty; at most 2 KiB.
        detail: String,
    },
}
