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

mod hello;
mod images;
mod inventory;
mod newer;
mod order;
#[cfg(test)]
mod recorded;
mod viewer;

pub use hello::{
    DEVICE_BYTES_MAX, FAULT_FEATURE, Hello, Proves, QUALITY_FEATURE, RUNNING_PARTS_FEATURE,
    ReceiptKeyClaim, USED_FEATURE, Welcome, is_device_id, receipt_key_proof,
};
pub use images::{ImageFault, ImagesWanted, WarmReady, WarmWanted};
pub use inventory::{Gpu, Heartbeat, Inventory, JobHost, RunningSession, SessionRtt, Slot};
pub use newer::Unread;
pub use order::{AckOutcome, DenyReason, Order, SessionReport, Start};
pub use viewer::{SessionWatchLinks, ViewerRole, WhepAction, WhepRefusal, WhepResult};

use crate::api::EndReason;
use crate::enrol::Renewed;
use crate::id::{RequestId, SessionId, TunnelId, WatchLinkId};
use crate::quality::{Countersigned, Measured};
use crate::unit::U64;
use crate::volume::VolumesKnown;
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
    /// Some of the sessions that the node still runs, of more than fit in one message: others follow at once, and
    /// [`FromEdge::Running`] has the last. At most [`crate::limits::RUNNING_PARTS_MAX`], and only to a broker whose
    /// welcome has [`RUNNING_PARTS_FEATURE`].
    RunningPart {
        /// One a session.
        sessions: Vec<RunningSession>,
    },
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
        #[serde(deserialize_with = "newer::reason")]
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
    /// Whether the session is over: it leads to what the node keeps of it, its log, and to nothing that runs.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ended: bool,
    /// `HOST:PORT` of this one broker, where several share the address that the node has dialled;
    /// `None` for that address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
fn is_false(value: &bool) -> bool {
    !value
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
fn is_zero(value: &u32) -> bool {
    *value == 0
}
