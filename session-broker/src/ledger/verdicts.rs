//! What the ledger has of verdicts: what checkers found, what their rounds came to, and how far the log of
//! receipts has been gone through.

use super::disputes::DisputeRow;
use super::stakes::Transfer;

/// A round of one GPU of a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoundOf {
    /// The node's key, by its id in hex.
    pub node: String,
    /// Round of the beacon.
    pub round: u64,
    /// The GPU, by its own id.
    pub gpu: String,
}

impl RoundOf {
    /// The GPU as tables have it: no engine takes a NUL, and checkers write what they like.
    #[must_use]
    pub fn gpu_as_kept(&self) -> String {
        self.gpu.replace('\0', "\u{fffd}")
    }
}

/// How a checker's word compares with what its rounds came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// Rounds that are decided, and of which it said pass or fail from a seat of its own.
    pub decided: u64,
    /// Of those, rounds that came to what it said.
    pub agreed: u64,
    /// Of those, rounds in which it was refuted.
    pub refuted: u64,
}

/// What a checker found, of a receipt that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckRow {
    /// The receipt's place in the log.
    pub place: u64,
    /// Of which round.
    pub of: RoundOf,
    /// The checker's key, by its id in hex.
    pub checker: String,
    /// The receipt's leaf, hex.
    pub leaf: String,
    /// `pass`, `fail` or `inconclusive`.
    pub finding: String,
    /// Thousandths.
    pub score_permille: u32,
    /// When the receipt was issued, Unix seconds: as it says, but not before what stands before it in the log.
    pub issued_at_s: u64,
    /// Why it did not pass.
    pub reason: String,
    /// The checker's place in the round's order; `None` if it was not among those who may be asked.
    pub seat: Option<u32>,
    /// Blocks of memory that were to be filled; `None` of what was found before this was kept.
    pub blocks: Option<u32>,
    /// The place of the entry that revokes it: then it weighs nothing.
    pub revoked: Option<u64>,
}

/// A key of which the log says that what it signed from then on is void.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoidKey {
    /// The key, by its id in hex.
    pub key_id: String,
    /// From when on, Unix seconds, by what receipts say of themselves.
    pub from_s: u64,
    /// The place of the entry that says so.
    pub place: u64,
}

/// What a round has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerdictRow {
    /// Which round.
    pub of: RoundOf,
    /// `open`, `passed`, `failed`, `split` or `settled`.
    pub state: String,
    /// What counts: `pass`, `fail`, or `inconclusive` as long as nothing does.
    pub finding: String,
    /// Thousandths.
    pub score_permille: u32,
    /// When the newest receipt of it was issued, Unix seconds.
    pub at_s: u64,
    /// The places of its receipts, of checkers that have a seat in it; behind them those of the entries that revoke others.
    pub places: Vec<u64>,
    /// The keys whose word was refuted, by their ids.
    pub liars: Vec<String>,
    /// What a referee's word rests on: `majority`, `right` or `wrong`; empty while there is none.
    pub ground: String,
    /// The least of the blocks of memory that its checkers had filled; `None` where that is not known.
    pub blocks: Option<u32>,
}

/// Entries of the log that were gone through, and what follows from them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// The first of them.
    pub from: u64,
    /// The first that was not.
    pub to: u64,
    /// The latest time that an entry before `to` says it was issued at, Unix seconds.
    pub told_s: u64,
    /// What checkers found.
    pub checks: Vec<CheckRow>,
    /// Checks that are revoked: their places, and those of the entries that say so.
    pub revoked: Vec<(u64, u64)>,
    /// Keys that are revoked, each once.
    pub void_keys: Vec<VoidKey>,
    /// Rounds as they are now.
    pub verdicts: Vec<VerdictRow>,
    /// Disputes that began.
    pub disputes: Vec<DisputeRow>,
    /// Disputes that ended: their places, and those of their verdicts.
    pub ended: Vec<(u64, u64)>,
    /// What stakes and rewards follow, in order. What an account does not have is not moved.
    pub transfers: Vec<Transfer>,
}

/// Verdicts that a reader does not know yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewVerdicts {
    /// How far the log has been gone through.
    pub next: u64,
    /// The latest time that an entry before that says it was issued at, Unix seconds.
    pub told_s: u64,
    /// Rounds that have changed.
    pub rows: Vec<VerdictRow>,
}
