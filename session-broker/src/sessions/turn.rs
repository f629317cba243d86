//! One turn of the owner: the changes to commit, and what to do once they are durable.

use crate::control::Stream;
use crate::ledger::{BrokerId, Op, OutboxRow, VolumesSeen};
use crate::sessions::entry::Entry;
use crate::sessions::readmit::Readmission;
use crate::sessions::standing::Decision;
use crate::sessions::storage::DeleteAnswer;
use crate::sessions::together::Claimed;
use crate::sessions::{CreateError, EndError, Placement};
use nearlight_protocol::api::Session;
use nearlight_protocol::control::ToEdge;
use nearlight_protocol::id::{NodeId, SessionId, VolumeId};
use nearlight_session::Claim;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::oneshot;

/// What a turn has decided.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// Changes, in order, each with what follows it.
    pub(super) ops: Vec<Op>,
    pub(super) thens: Vec<Then>,
    /// Sessions whose view may have changed.
    pub(super) touched: BTreeSet<SessionId>,
    /// Messages to edges that are not orders.
    pub(super) messages: Vec<(Arc<Stream>, ToEdge)>,
    /// Callers whose session's end is durable with this turn.
    pub(super) ends: Vec<EndAnswer>,
    /// Nodes that said what they run: their orders go out again.
    pub(super) synced: Vec<NodeId>,
    /// Nodes that are being taken from another broker: what they say waits for the next turn.
    pub(super) holding: BTreeSet<NodeId>,
    /// Clusters that were looked for places.
    pub(super) looks: u32,
    /// Whether it takes no more events: what it decided changes what the next one means.
    pub(super) is_closed: bool,
    /// Whether it is committed even if it changes nothing: a sign of life.
    pub(super) is_beat: bool,
}

/// Who asked for an end, and the answer.
pub(super) type EndAnswer = (oneshot::Sender<Ended>, SessionId, Ended);
type Ended = Result<(), EndError>;

/// What follows a change, once it is durable.
#[derive(Debug)]
pub(super) enum Then {
    /// Nothing.
    Nothing,
    /// A session is new.
    Created(Box<New>),
    /// A session has a claim, and its order to start a number.
    Claimed {
        session: SessionId,
        claim: Claim,
        /// The order, yet without its number.
        order: Box<OutboxRow>,
        /// Why there.
        placement: Box<Placement>,
    },
    /// A cluster has the claims of all its replicas.
    ClaimedTogether(Box<Claimed>),
    /// A session that the ledger had lost is back, or to be stopped.
    Readmitted(Box<Readmission>),
    /// An order has a number.
    Ordered(Box<OutboxRow>),
    /// The node's row is to be read back: the ledger decides what it has.
    ReadBack(NodeId),
    /// The node is held here now, with what it runs.
    Held(NodeId),
    /// The session is another broker's now, which had room on a node.
    Given {
        session: SessionId,
        to: BrokerId,
        node: Option<NodeId>,
    },
    /// What a broker held that is gone is held here now.
    Seized(BrokerId),
    /// Sessions may be this broker's without its knowing.
    Look,
    /// The ledger knows what a node says of its volumes.
    VolumesNoted(VolumesSeen),
    /// A volume is deleted, if nobody has it.
    VolumeDeleted {
        volume: VolumeId,
        reply: DeleteAnswer,
    },
    /// Something was decided about a node.
    Decided(Box<Decision>),
}

/// A session that is being created.
#[derive(Debug)]
pub(super) struct New {
    pub(super) entry: Entry,
    pub(super) reply: oneshot::Sender<Result<Session, CreateError>>,
    /// Why it is not made, unless its key has made one.
    pub(super) refused: Option<CreateError>,
}

impl Turn {
    pub(super) fn push(&mut self, op: Op, then: Then) {
        self.ops.push(op);
        self.thens.push(then);
    }

    /// Orders to stop that this turn adds for a node.
    pub(super) fn orders_for(&self, node: &NodeId) -> usize {
        let of_node = |op: &&Op| match op {
            Op::OrderStop { node: of, .. } => of == node,
            // It stops what does not come back.
            Op::Readmit(readmit) => readmit.claim.node == *node,
            _ => false,
        };
        self.ops.iter().filter(of_node).count()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ops.is_empty()
            && self.touched.is_empty()
            && self.messages.is_empty()
            && self.ends.is_empty()
            && self.synced.is_empty()
            && !self.is_beat
    }
}
