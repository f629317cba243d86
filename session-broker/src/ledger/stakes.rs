//! Stakes and rewards: accounts and transfers between them, after TigerBeetle's rules. Every transfer has one
//! debit and one credit of the same amount, and none ever changes: a pending one is ended by another.

use super::verdicts::RoundOf;
use nearlight_protocol::unit::UnixMillis;

/// The world: what is deposited comes from it, and what is withdrawn goes there.
pub const OUTSIDE: &str = "outside";
/// What rewards are paid from.
pub const POOL: &str = "pool";
/// What was taken from stakes.
pub const SLASHED: &str = "slashed";

/// How much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// So many micro-units, or nothing at all.
    Micro(u64),
    /// So many thousandths of what the debited account has, rounded down.
    Permille(u32),
}

/// What a transfer does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    /// It moves at once.
    Posted,
    /// It is held until then, and ended by another.
    Pending {
        /// When it is due.
        until_ms: UnixMillis,
        /// It is posted if its round comes to this finding, and void otherwise.
        holds_with: String,
    },
    /// The pending transfer with this id moves after all.
    Post(String),
    /// It does not.
    Void(String),
}

/// A transfer that is wanted. One of an id that there is already is [`super::Applied::Skipped`], and so is one that
/// ends what is ended, or nothing; what an account does not have is [`super::Applied::QuotaUsedUp`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Of what caused it.
    pub id: String,
    /// What it does.
    pub does: Move,
    /// The account that has less afterwards. Of one that ends another, as that has it; so with the next two.
    pub debit: String,
    /// The account that has more.
    pub credit: String,
    /// How much.
    pub amount: Amount,
    /// The places of the receipts that it rests on.
    pub receipts: Vec<u64>,
    /// Why.
    pub reason: String,
    /// When.
    pub at_ms: UnixMillis,
    /// The round that it follows from.
    pub round: Option<RoundOf>,
}

/// A transfer as it stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferRow {
    /// Of what caused it.
    pub id: String,
    /// `posted`, `pending`, `post` or `void`.
    pub kind: String,
    /// Whose less it is.
    pub debit: String,
    /// Whose more it is.
    pub credit: String,
    /// Micro-units.
    pub amount_micro: u64,
    /// The pending transfer that it ends.
    pub ends: Option<String>,
    /// The places of the receipts that it rests on.
    pub receipts: Vec<u64>,
    /// Why.
    pub reason: String,
    /// When.
    pub at_ms: UnixMillis,
    /// When a pending one is due.
    pub until_ms: Option<UnixMillis>,
    /// The round that it follows from.
    pub round: Option<RoundOf>,
    /// The finding that it holds with.
    pub holds_with: String,
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRow {
    /// `operator/NAME`, `checker/KEY`, `earned/KEY`, [`POOL`], [`SLASHED`] or [`OUTSIDE`].
    pub id: String,
    /// All that came, micro-units.
    pub credits_micro: u64,
    /// All that went.
    pub debits_micro: u64,
    /// What pending transfers hold.
    pub held_micro: u64,
}

impl AccountRow {
    /// What it has and nothing holds.
    #[must_use]
    pub const fn free_micro(&self) -> u64 {
        let gone = self.debits_micro.saturating_add(self.held_micro);
        self.credits_micro.saturating_sub(gone)
    }
}
