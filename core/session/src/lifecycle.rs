//! The life of a session, as the broker that owns it sees it.
//!
//! ```text
//!            Claimed            StartAcked, Progress           NodeReady
//!   Queued ----------> Placing -------------------> Starting -----------> Ready
//!     |  ^               |  |                        |  |  ^               |  |
//!     |  | StartDenied   |  |  start timeout         |  +--+ Progress      |  | Attached
//!     |  +---------------+  |                        |                     |  v
//!     |                     |                        |      +------------- | Playing --+
//!     |                     |                        |      | Detached     |  ^        | Attached
//!     |                     |                        |      v              |  |        | (take over)
//!     |                     |                        |   Detached ---------|--+ <------+
//!     |                     |                        |      |  Attached    |
//!     | EndRequested        | EndRequested, start timeout, idle, max, grace|
//!     |                     v                                              v
//!     |                   Ending ------------------------------------------+
//!     |                     |  NodeEnded, StopAcked, NodeBack without it, stop timeout
//!     v                     v
//!   Ended <-----------------+---- NodeEnded, NodeBack without it (any phase with a claim but
//!                                 Placing), node lost for longer than its grace, third StartDenied
//! ```
//!
//! Beside its phase a session with a claim knows whether the node's control stream is up
//! ([`Link`]). A lost stream stops nothing: the game goes on, only the node's grace runs.
//!
//! A session that may be placed again ([`Limits::moves_left`]) is queued once more in place of ending where
//! its node is lost or takes its capacity back; its claim is released as at an end.
//!
//! A node whose capacity its operator takes back ([`Event::Reclaimed`]) ends what runs on it at a moment that is
//! known before: whoever is there is told at once, and again shortly before.
//!
//! A job ([`Use::Called`]) has the same life without Playing and Detached: it is ready while it is
//! healthy, its idle time counts from the last input in Ready, and its wait in the queue may have an end.
//!
//! The first replica of a cluster ([`Limits::runs_again`]) stands for all of them. Told to end as
//! [`EndReason::ClusterEnded`], it is stopped and goes back to Queued: Ending with that reason is no end yet,
//! and a wish to end it for good takes over.
//!
//! **Invariants.**
//! - A claim is released exactly once: [`Effect::Release`] is emitted on the one edge that leaves
//!   the claimed phases, and never from `Queued` or `Ended`.
//! - Every phase with a claim has a deadline, so every reservation ends (I4).
//! - A report under another epoch than the claim's changes nothing.
//! - `Ended` is final.
//!
//! **What it does not know:** SQL, HTTP, the control stream, other sessions, the time of day. The
//! caller carries out the effects, in order, once they are durable.

use crate::epoch::Epoch;
use nearlight_protocol::api::{EndReason, StartProgress};
use nearlight_protocol::id::{AttachmentId, NodeId, SlotId};
use nearlight_protocol::unit::MonoTime;

mod back;
mod deadline;
mod reclaim;
mod table;

/// How a session is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// A player attaches: an app. Without one it is kept for its grace time.
    Played,
    /// Requests come through its endpoint, each reported as input: a job. Nobody attaches, and it is
    /// ready until it ends.
    Called,
}

impl Use {
    /// What a node is at once it has taken the order.
    pub const fn first_progress(self) -> StartProgress {
        match self {
            Self::Played => StartProgress::StartingDesktop,
            Self::Called => StartProgress::StartingContainer,
        }
    }

    /// Why it ends that is not ready in time.
    const fn too_late(self) -> EndReason {
        match self {
            Self::Played => EndReason::StartTimeout,
            Self::Called => EndReason::JobStartTimeout,
        }
    }
}

/// How long each part of a life may last, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How it is used.
    pub used: Use,
    /// It waits for a claim until then; `None` until it is ended.
    pub queue_until: Option<MonoTime>,
    /// From the claim, or the last progress, to the first picture.
    pub start_ms: u64,
    /// From the claim to the first picture in any case, however much is still being pulled.
    pub start_total_ms: u64,
    /// Without input while somebody is attached, or, of a job, since it is ready; `None` for ever.
    pub idle_ms: Option<u64>,
    /// From the first picture to the end in any case.
    pub max_ms: u64,
    /// Without anybody attached.
    pub grace_ms: u64,
    /// From the order to stop until we no longer wait for the node's word.
    pub stop_ms: u64,
    /// Without the node's control stream: what the edge is told, plus a margin for skew.
    pub node_grace_ms: u64,
    /// How long before an end by itself the player is warned.
    pub warn_ms: u64,
    /// How often it may still be placed again, after it lost its node.
    pub moves_left: u32,
    /// Whether it is the first replica of a cluster: its end as [`EndReason::ClusterEnded`] is the end of a
    /// run, after which it waits for its next claim.
    pub runs_again: bool,
    /// When its node's capacity is taken back; of a claim, and gone with it.
    pub reclaim_at: Option<MonoTime>,
}

impl Limits {
    /// Whether an end with this reason is the end of a run alone.
    const fn is_run_over(&self, reason: EndReason) -> bool {
        self.runs_again && matches!(reason, EndReason::ClusterEnded)
    }
}

/// What a session holds: one slot of one node under one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The node.
    pub node: NodeId,
    /// Its slot.
    pub slot: SlotId,
    /// The slot's epoch.
    pub epoch: Epoch,
}

/// Whether the node's control stream is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// It is.
    Up,
    /// It is not, since then.
    Lost {
        /// Since when.
        since: MonoTime,
    },
}

/// A claim and the way to its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The claim.
    pub claim: Claim,
    /// The control stream of its node.
    pub link: Link,
}

/// What a session that has shown a picture carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The claim.
    pub held: Held,
    /// When it showed its first picture.
    pub ready_at: MonoTime,
    /// The last input, or the attachment if there was none since.
    pub input_at: MonoTime,
    /// The end that the player was warned of last.
    pub warned_of: Option<MonoTime>,
}

/// Who is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Viewer {
    /// This attachment.
    Named(AttachmentId),
    /// Somebody: the node said so after a re-attach, without a name.
    Unnamed,
}

/// Where a session is in its life, with what belongs to it there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It has no claim.
    Queued,
    /// It has a claim, and the node has not taken the order yet.
    Placing {
        /// The claim.
        held: Held,
        /// Since when.
        since: MonoTime,
    },
    /// The node has taken the order.
    Starting {
        /// The claim.
        held: Held,
        /// How far it is.
        progress: StartProgress,
        /// Since when it is being placed and started.
        since: MonoTime,
        /// When it moved last.
        moved_at: MonoTime,
    },
    /// It shows a picture, and nobody has attached yet.
    Ready {
        /// What it carries.
        run: Run,
    },
    /// Its player is attached.
    Playing {
        /// What it carries.
        run: Run,
        /// Who.
        viewer: Viewer,
    },
    /// Its player is gone, and it is kept.
    Detached {
        /// What it carries.
        run: Run,
        /// Since when.
        since: MonoTime,
    },
    /// The node was told to stop it.
    Ending {
        /// The claim.
        held: Held,
        /// Why.
        reason: EndReason,
        /// Since when.
        since: MonoTime,
    },
    /// It is over.
    Ended {
        /// Why.
        reason: EndReason,
        /// The last words of the app, the engine or the broker. May be empty.
        detail: String,
    },
}

/// What happens to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The ledger holds a claim for it.
    Claimed(Claim),
    /// The node has journaled the order to start it.
    StartAcked {
        /// The epoch of the order.
        epoch: Epoch,
    },
    /// The node will never carry out the order to start it.
    StartDenied {
        /// The epoch of the order.
        epoch: Epoch,
        /// Why, for the log and the owner.
        detail: String,
    },
    /// The node reports how far the start is.
    Progress {
        /// The epoch it runs under.
        epoch: Epoch,
        /// How far.
        progress: StartProgress,
    },
    /// The node reports its first picture.
    NodeReady {
        /// The epoch it runs under.
        epoch: Epoch,
    },
    /// The node reports that a viewer is connected.
    Attached {
        /// The epoch it runs under.
        epoch: Epoch,
        /// Which.
        attachment: AttachmentId,
    },
    /// The node reports that a viewer is gone.
    Detached {
        /// The epoch it runs under.
        epoch: Epoch,
        /// Which.
        attachment: AttachmentId,
    },
    /// The node reports input.
    InputSeen {
        /// The epoch it runs under.
        epoch: Epoch,
    },
    /// The node reports that it is over and nothing is left of it.
    NodeEnded {
        /// The epoch it ran under.
        epoch: Epoch,
        /// Why.
        reason: EndReason,
        /// The last words of the app or the engine.
        detail: String,
    },
    /// The node has carried out the order to stop it.
    StopAcked {
        /// The epoch of the claim.
        epoch: Epoch,
    },
    /// Its owner, the operator or the broker wants it to end.
    EndRequested {
        /// Why.
        reason: EndReason,
    },
    /// The capacity that it holds is taken back at that moment, or is not any more.
    Reclaimed {
        /// When.
        until: Option<MonoTime>,
    },
    /// The node's control stream broke.
    NodeLost,
    /// The node's control stream is back, and the node said what it runs.
    NodeBack {
        /// Whether it runs this session.
        presence: Presence,
    },
    /// Time has passed.
    Tick,
}

/// What a node that is back says of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It does not run it.
    Absent,
    /// It runs it under the claim's epoch.
    Running {
        /// Whether a viewer is attached.
        attached: bool,
        /// Whether it has shown a picture.
        ready: bool,
    },
}

/// What the caller has to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Put an order to stop it into the node's outbox.
    Stop {
        /// The claim.
        claim: Claim,
        /// Why.
        reason: EndReason,
    },
    /// The usage interval begins: the node runs it.
    UsageBegins {
        /// The claim.
        claim: Claim,
    },
    /// The claim is free again, and its usage interval, if it began, is over.
    Release {
        /// The claim.
        claim: Claim,
        /// Whether its node said so, for the bill.
        stopped: Stopped,
    },
    /// It lost its node, and waits for another one: count that.
    Moved {
        /// Why.
        reason: EndReason,
    },
    /// Tell whoever is attached that it will end by itself.
    Warn {
        /// The claim.
        claim: Claim,
        /// Why it will end.
        reason: EndReason,
        /// Seconds from now.
        in_s: u32,
    },
    /// Tell it that what was said last of its end does not hold.
    Reprieve {
        /// The claim.
        claim: Claim,
    },
    /// Write the phase down, and tell the owner.
    Publish,
    /// Tell the owner; there is nothing to write down.
    Show,
}

/// How we know that a claim's node runs it no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The node said so.
    Confirmed,
    /// It did not: it was lost, came back without it, or left the order to stop unanswered. Whether it
    /// ran any longer than the node was heard of before, nobody knows.
    Unconfirmed {
        /// When it was told to stop, if it was.
        ordered_at: Option<MonoTime>,
    },
}

/// Why an event changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ignored {
    /// It was so already.
    #[error("it was so already")]
    Already,
    /// Nothing is due yet.
    #[error("nothing is due")]
    NotDue,
    /// It is over, or ending for another reason.
    #[error("the session is ending or over")]
    Over,
    /// Nobody is attached.
    #[error("nobody is attached")]
    NoViewer,
    /// Another attachment holds the session.
    #[error("another attachment holds the session")]
    OtherViewer,
    /// The report belongs to another claim of the session.
    #[error("the report belongs to another epoch")]
    StaleEpoch,
    /// The session has no claim.
    #[error("the session has no claim")]
    Unclaimed,
}

/// Why an event is an error of whoever sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It is a job.
    #[error("nobody attaches to a job")]
    NobodyAttaches,
    /// It was not told to stop.
    #[error("the session was not told to stop")]
    NotEnding,
    /// It has a claim, or had its last one.
    #[error("the session is not waiting for a claim")]
    NotQueued,
    /// It never showed a picture, so nobody can have attached.
    #[error("the session has shown no picture yet")]
    NotReady,
}

/// What came of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It changed the session; carry out the effects.
    Applied(Vec<Effect>),
    /// It changed nothing, and that is right.
    Ignored(Ignored),
    /// It changed nothing, and should not have happened.
    Denied(Denied),
}

/// Denied starts after which a session is given up.
pub const STARTS_DENIED_MAX: u8 = 3;

/// One session's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifecycle {
    limits: Limits,
    phase: Phase,
    starts_denied: u8,
}

impl Lifecycle {
    /// A new session: queued.
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            phase: Phase::Queued,
            starts_denied: 0,
        }
    }

    /// A session as the ledger has it after a restart.
    pub const fn restore(limits: Limits, phase: Phase, starts_denied: u8) -> Self {
        Self {
            limits,
            phase,
            starts_denied,
        }
    }

    /// Where it is.
    pub const fn phase(&self) -> &Phase {
        &self.phase
    }

    /// How many nodes have refused to start it.
    pub const fn starts_denied(&self) -> u8 {
        self.starts_denied
    }

    /// What it holds.
    pub const fn held(&self) -> Option<&Held> {
        match &self.phase {
            Phase::Queued | Phase::Ended { .. } => None,
            Phase::Placing { held, .. }
            | Phase::Starting { held, .. }
            | Phase::Ending { held, .. } => Some(held),
            Phase::Ready { run } | Phase::Playing { run, .. } | Phase::Detached { run, .. } => {
                Some(&run.held)
            }
        }
    }

    /// Whether it is ending or over: it no longer counts against a quota.
    pub const fn is_over(&self) -> bool {
        match &self.phase {
            Phase::Ending { reason, .. } => {
                !self.limits.goes_elsewhere(*reason) && !self.limits.is_run_over(*reason)
            }
            Phase::Ended { .. } => true,
            Phase::Queued
            | Phase::Placing { .. }
            | Phase::Starting { .. }
            | Phase::Ready { .. }
            | Phase::Playing { .. }
            | Phase::Detached { .. } => false,
        }
    }

    /// A start of another replica of its cluster was refused, and counts as one of its own.
    pub fn note_denied(&mut self) {
        self.starts_denied = self.starts_denied.saturating_add(1);
    }

    /// Whether it may be started again: what only its node was given is needed for that.
    pub const fn may_start_again(&self) -> bool {
        match &self.phase {
            Phase::Queued | Phase::Placing { .. } | Phase::Starting { .. } => true,
            Phase::Ended { .. } => false,
            Phase::Ready { .. }
            | Phase::Playing { .. }
            | Phase::Detached { .. }
            | Phase::Ending { .. } => self.limits.moves_left > 0,
        }
    }

    /// From now on it has these limits. What was said of its node's capacity holds.
    pub const fn limit(&mut self, limits: Limits) {
        let reclaim_at = self.limits.reclaim_at;
        self.limits = Limits {
            reclaim_at,
            ..limits
        };
    }

    /// When its node's capacity is taken back.
    pub const fn reclaim_at(&self) -> Option<MonoTime> {
        self.limits.reclaim_at
    }
}

#[cfg(test)]
#[path = "lifecycle/test.rs"]
mod test;
