//! What the ledger has of who checks whom: nodes' receipt keys, checkers and their licences, the chain that rounds
//! take their values from, and assignments.

use super::{AuditRow, CredentialHash, KeyRow, Secret};
use nearlight_protocol::id::{NodeId, SessionId, UserId};
use nearlight_protocol::unit::UnixMillis;
use std::collections::BTreeMap;

/// A receipt key of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeKeyRow {
    /// The node.
    pub node: NodeId,
    /// The key, 64 hex digits.
    pub key: String,
    /// Its id, 64 hex digits.
    pub key_id: String,
    /// Who runs the node.
    pub operator: String,
    /// Since when the node has it, Unix seconds.
    pub from_s: u64,
}

/// A node that shows its receipt key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeKey {
    /// The node.
    pub node: NodeId,
    /// The key, 64 hex digits.
    pub key: String,
    /// Its id, 64 hex digits.
    pub key_id: String,
    /// Who runs the node if nothing else is known.
    pub operator: String,
    /// How many keys the directory may have.
    pub most: u32,
    /// From when the directory has it, Unix seconds: somewhat before now, for other clocks.
    pub from_s: u64,
    /// Until when, Unix seconds: far away.
    pub until_s: u64,
    /// Now, Unix seconds.
    pub at_s: u64,
}

/// A licence to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LicenceRow {
    /// Its owner's key, 64 hex digits.
    pub key: String,
    /// The key's id, which names the licence.
    pub key_id: String,
    /// Whose it is.
    pub owner: String,
    /// When it was given.
    pub created_ms: UnixMillis,
    /// When it was taken back.
    pub revoked_ms: Option<UnixMillis>,
}

/// A token that lets a checker in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckerTokenRow {
    /// SHA-256 of its secret.
    pub hash: CredentialHash,
    /// Who will run the checker.
    pub operator: String,
    /// The licence that it will act for, by id.
    pub licence: Option<String>,
    /// When it was made.
    pub created_ms: UnixMillis,
    /// It is void from then on.
    pub expires_ms: UnixMillis,
    /// The key that came in with it.
    pub used_by: Option<String>,
}

/// A checker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckerRow {
    /// Its key, 64 hex digits.
    pub key: String,
    /// The key's id.
    pub key_id: String,
    /// Who runs it.
    pub operator: String,
    /// The licence that it acts for, by id.
    pub licence: Option<String>,
    /// The user of its API key.
    pub user: UserId,
    /// Since when it can be assigned, Unix seconds.
    pub joined_s: u64,
    /// Since when not any more, Unix seconds.
    pub revoked_s: Option<u64>,
    /// Which copy of it runs.
    pub instance: String,
    /// Until when, as it said last.
    pub instance_until_ms: UnixMillis,
    /// Since when it plays streams; `None` if it does not.
    pub plays_since_ms: Option<UnixMillis>,
}

/// A checker that comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckerJoins {
    /// Its token.
    pub token: CredentialHash,
    /// Its key, 64 hex digits.
    pub key: String,
    /// The key's id.
    pub key_id: String,
    /// Until when its key counts, Unix seconds.
    pub until_s: u64,
    /// So many seconds before it comes in its key counts: its clock may be behind.
    pub early_s: u64,
    /// How many keys the directory may have.
    pub most: u32,
    /// Its API key, and the hash of that.
    pub api_key: KeyRow,
    /// The hash of it.
    pub secret: Secret,
    /// When.
    pub at_ms: UnixMillis,
}

/// The chain of hashes that rounds take their values from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainRow {
    /// Its end, 64 hex digits.
    pub anchor: String,
    /// When round 1 begins.
    pub genesis_ms: UnixMillis,
    /// How long a round is.
    pub round_ms: u64,
    /// How many rounds there are.
    pub length: u64,
    /// Which beacons rounds take their values from, by their first rounds. Not written with the chain.
    pub used: Vec<BeaconRow>,
}

/// Which beacon rounds take their values from, from one on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BeaconRow {
    /// The first round.
    pub from_round: u64,
    /// Its beacon, as text has it.
    pub beacon: String,
}

/// What a beacon outside gave, by round: a signature in hex digits, or nothing of a round that is void.
pub type DrawnRounds = BTreeMap<u64, String>;

/// Where an assignment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssignmentState {
    /// Its checker has it.
    Due,
    /// Its checker did it.
    Done,
    /// Its checker did not.
    Missed,
    /// Nobody could have done it. In the ledger it is missed, with a mark: older brokers know no fourth state.
    Void,
}

impl AssignmentState {
    /// Its name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Done => "done",
            Self::Missed => "missed",
            Self::Void => "void",
        }
    }

    /// Its name in the ledger, and the mark.
    pub(super) const fn in_ledger(self) -> (&'static str, i64) {
        match self {
            Self::Due | Self::Done | Self::Missed => (self.name(), 0),
            Self::Void => (Self::Missed.name(), 1),
        }
    }

    pub(super) fn of_ledger(name: &str, mark: i64) -> Option<Self> {
        let all = [Self::Due, Self::Done, Self::Missed, Self::Void];
        all.into_iter()
            .find(|state| state.in_ledger() == (name, mark))
    }
}

/// Who is to check which node in which round, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssignmentRow {
    /// The round.
    pub round: u64,
    /// The node's receipt key, by id.
    pub node_key: String,
    /// The node.
    pub node: NodeId,
    /// What is to be checked: `alive`, `capacity`, `capacity/GPU` or `stream` (core/proof, `schedule::Due`).
    pub duty: String,
    /// The checker's key, by id.
    pub checker: String,
    /// The checker's place in the round's order, from 0.
    pub place: u32,
    /// From when.
    pub due_ms: UnixMillis,
    /// Until when.
    pub until_ms: UnixMillis,
    /// Where it is.
    pub state: AssignmentState,
    /// Why it was missed, or void.
    pub why: String,
    /// The leaf of its receipt, if it has one.
    pub leaf: String,
    /// The session that was made for it, of a stream.
    pub session: Option<SessionId>,
}

/// Which assignments are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AssignmentQuery {
    /// Those of a round, by node, duty and place.
    Round(u64),
    /// Those that a checker has, and may do now, earliest end first.
    Due {
        /// The checker's key id.
        checker: String,
        /// Now.
        now_ms: UnixMillis,
    },
    /// One of those that a checker has of a node, and may do now: the one that ends last.
    DueOf {
        /// The checker's key id.
        checker: String,
        /// The node.
        node: NodeId,
        /// What.
        duty: String,
        /// Now.
        now_ms: UnixMillis,
    },
    /// Those of a checker that ended, newest first.
    Of {
        /// The checker's key id.
        checker: String,
        /// How many at most.
        max: u32,
    },
    /// Those of a node, newest first.
    Node {
        /// The node's key id.
        node_key: String,
        /// How many at most.
        max: u32,
    },
    /// Those whose time is over and that nobody has settled.
    Overdue {
        /// Now.
        now_ms: UnixMillis,
    },
    /// Those of the newest rounds in which a node's capacity was to be checked, newest first.
    Capacity {
        /// The node's key id.
        node_key: String,
        /// How many at most.
        max: u32,
    },
    /// One of those by which this was to be checked of a node.
    ForDuty {
        /// The node's key id.
        node_key: String,
        /// What.
        duty: String,
        /// In which place at least: who is in it has others in front.
        place: u32,
    },
    /// One.
    One {
        /// The round.
        round: u64,
        /// The node's key id.
        node_key: String,
        /// What is to be checked.
        duty: String,
        /// The checker's key id.
        checker: String,
    },
}

/// A change of who checks whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckChange {
    /// A node shows its receipt key: it comes into the directory, and the node's former one ends. A key that is
    /// another node's is [`super::Applied::RaceLost`], one that the directory has no room for
    /// [`super::Applied::QuotaUsedUp`], and nothing new [`super::Applied::Skipped`].
    NodeKey(Box<NodeKey>),
    /// A licence, or another name for its owner. One that was taken back is [`super::Applied::Missing`].
    PutLicence(LicenceRow),
    /// A licence is taken back, and with it every checker that acts for it.
    RevokeLicence {
        /// The licence's id.
        key_id: String,
        /// When.
        at_ms: UnixMillis,
    },
    /// A token that lets a checker in.
    AddToken(CheckerTokenRow),
    /// A checker comes in: [`super::Applied::Missing`] if its token does not hold,
    /// [`super::Applied::NameTaken`] if its key is a checker's or stands in the directory already,
    /// [`super::Applied::QuotaUsedUp`] if the directory is full.
    Join(Box<CheckerJoins>),
    /// A checker is shut out.
    Revoke {
        /// Its key id.
        key_id: String,
        /// When.
        at_ms: UnixMillis,
    },
    /// A copy of a checker runs; [`super::Applied::RaceLost`] if another one does, or if it has said that it stops;
    /// [`super::Applied::Missing`] if it was shut out.
    Hold {
        /// Its key id.
        key_id: String,
        /// Which copy.
        instance: String,
        /// Until when it is not another's turn; 0: it stops.
        until_ms: UnixMillis,
        /// Whether it plays streams; `None` if it does not say.
        plays: Option<bool>,
        /// Now.
        now_ms: UnixMillis,
    },
    /// The chain of rounds, if there is none of this anchor and length of a round.
    BeginChain(ChainRow),
    /// Another beacon from a round on, if none is known to begin there or after it.
    UseBeacon(BeaconRow),
    /// What a beacon outside gave for a round, or nothing: it is void. The first word stays.
    Draw {
        /// The round.
        round: u64,
        /// The signature, hex digits.
        signature: String,
    },
    /// Assignments that are not there yet.
    Assign(Vec<AssignmentRow>),
    /// A session is made for an assignment that is due: [`super::Applied::RaceLost`] if it is not, or has one.
    Play {
        /// The round.
        round: u64,
        /// The node's key id.
        node_key: String,
        /// What is to be checked.
        duty: String,
        /// The checker's key id.
        checker: String,
        /// The session.
        session: SessionId,
    },
    /// What came of an assignment that is due; [`super::Applied::Missing`] if it is not.
    Settle {
        /// The round.
        round: u64,
        /// The node's key id.
        node_key: String,
        /// What was to be checked.
        duty: String,
        /// The checker's key id.
        checker: String,
        /// Any but [`AssignmentState::Due`].
        state: AssignmentState,
        /// Why it was missed, or void.
        why: String,
        /// The leaf of its receipt.
        leaf: String,
    },
    /// Assignments that ended before go, but for those that were missed and those with a receipt.
    Prune {
        /// Then.
        before_ms: UnixMillis,
        /// Of the rest, those that ended before this.
        all_before_ms: UnixMillis,
    },
}

/// A change with its line of the audit log.
pub(super) type Change<'a> = (super::plan::At, &'a CheckChange, Option<&'a AuditRow>);
