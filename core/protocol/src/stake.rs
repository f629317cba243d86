//! `/v1/stakes`: what operators and checkers have at stake, and what they earned.

use crate::unit::{U64, UnixMillis};
use serde::{Deserialize, Serialize};

/// The body of `POST /v1/stakes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveStake {
    /// Its name, of 1 to 64 bytes: the same twice moves once.
    pub id: String,
    /// Which way.
    pub direction: StakeDirection,
    /// `operator/NAME`, `checker/KEY`, `earned/KEY` or `pool`; KEY is a key id of 64 hex digits.
    pub account: String,
    /// Micro-units.
    #[schema(value_type = String)]
    pub amount_micro: U64,
}

/// Which way it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StakeDirection {
    /// Into the account.
    Deposit,
    /// Out of it.
    Withdraw,
}

/// Accounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StakeList {
    /// By name.
    pub accounts: Vec<StakeAccount>,
    /// The last transfers of the account that was asked for, newest first.
    pub transfers: Vec<StakeTransfer>,
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StakeAccount {
    /// Its name; beside those that take deposits there are `slashed` and `outside`.
    pub account: String,
    /// All that came, micro-units.
    #[schema(value_type = String)]
    pub credits_micro: U64,
    /// All that went.
    #[schema(value_type = String)]
    pub debits_micro: U64,
    /// What is held until disputes are over.
    #[schema(value_type = String)]
    pub held_micro: U64,
}

/// A transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StakeTransfer {
    /// Of what caused it.
    pub id: String,
    /// `posted`, `pending`, or `post` or `void`, which end a pending one.
    pub kind: String,
    /// The account that has less.
    pub debit: String,
    /// The account that has more.
    pub credit: String,
    /// Micro-units.
    #[schema(value_type = String)]
    pub amount_micro: U64,
    /// The receipts that it rests on, by their places in the log.
    pub receipts: Vec<u64>,
    /// Why.
    pub reason: String,
    /// When.
    pub at_unix_ms: UnixMillis,
    /// When a pending one is due.
    pub until_unix_ms: Option<UnixMillis>,
}
