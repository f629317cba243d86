//! What the ledger keeps of usage: intervals with all that their bill needs, rate cards, budgets.
//!
//! **Invariants.** An interval begins and ends once, however often either is said. It outlives its
//! session's row, and nothing in it changes but its end.

use super::StoreError;
use nearlight_protocol::id::{AppId, NodeId, SessionId, SlotId, TenantId, UserId};
use nearlight_protocol::unit::UnixMillis;
use nearlight_session::Epoch;
use nearlight_session::bill::{Interval, Line, Metered};
use std::collections::BTreeMap;

/// What is paid for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    /// An app of the catalogue.
    App(AppId),
    /// A job, by its image.
    Job(String),
}

/// What a bill needs of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bill {
    /// Whose.
    pub user: UserId,
    /// Who pays.
    pub tenant: Option<TenantId>,
    /// For what.
    pub item: Item,
    /// Where its node is.
    pub region: String,
    /// What it holds.
    pub metered: Metered,
    /// Words of the tenant's own.
    pub labels: BTreeMap<String, String>,
}

/// An interval as a bill has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageLine {
    /// The session.
    pub session: SessionId,
    /// The claim's slot; `None` of one that an older broker has begun.
    pub slot: Option<SlotId>,
    /// The claim's epoch.
    pub epoch: Epoch,
    /// Its node.
    pub node: NodeId,
    /// What the bill needs.
    pub bill: Bill,
    /// The acked start.
    pub began_ms: UnixMillis,
    /// The acked stop, or as long as the node is known to have run it; `None` while it runs.
    pub ended_ms: Option<UnixMillis>,
}

impl UsageLine {
    /// When it ran, if what still runs ends now.
    pub fn interval(&self, now_ms: UnixMillis) -> Interval {
        Interval {
            began_ms: self.began_ms,
            ended_ms: self.ended_ms.unwrap_or(now_ms),
        }
    }

    /// Where it stands among all.
    pub fn place(&self) -> UsagePlace {
        UsagePlace {
            began_ms: self.began_ms,
            session: self.session.to_string(),
            slot: self
                .slot
                .as_ref()
                .map_or_else(String::new, SlotId::to_string),
            epoch: self.epoch.0,
        }
    }

    /// What a budget sees of it.
    pub fn for_budget(self) -> Line {
        Line {
            metered: self.bill.metered,
            began_ms: self.began_ms,
            ended_ms: self.ended_ms,
        }
    }
}

/// Where an interval stands among all: by its beginning, and then by its key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsagePlace {
    /// Its beginning.
    pub began_ms: UnixMillis,
    /// Its session.
    pub session: String,
    /// Its slot, or nothing.
    pub slot: String,
    /// Its epoch.
    pub epoch: u64,
}

/// Which intervals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageQuery {
    /// One tenant's, or everyone's.
    pub tenant: Option<TenantId>,
    /// Those that ended later than this, or run.
    pub from_ms: UnixMillis,
    /// Those that began earlier than this.
    pub to_ms: UnixMillis,
    /// Behind this one.
    pub after: Option<UsagePlace>,
    /// How many.
    pub max: u32,
}

/// A rate card as the ledger keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardRow {
    /// Since when it is to hold, as the operator's file says.
    pub declared_ms: UnixMillis,
    /// Since when it does: it was read later, or then.
    pub from_ms: UnixMillis,
    /// What it says, as JSON.
    pub card: String,
}

/// A live session that may cost so much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budgeted {
    /// The session.
    pub session: SessionId,
    /// Micro-units.
    pub budget_micro: u64,
    /// Its claims, as far as they ran.
    pub lines: Vec<Line>,
}

impl Item {
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::App(_) => "app",
            Self::Job(_) => "job",
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::App(app) => app.as_str(),
            Self::Job(image) => image,
        }
    }

    pub(super) fn read(kind: &str, name: &str) -> Result<Self, StoreError> {
        match kind {
            "app" => Ok(Self::App(super::phase_row::parse(name)?)),
            "job" => Ok(Self::Job(name.to_owned())),
            other => Err(StoreError::Corrupt(format!(
                "unknown kind of usage `{other}`"
            ))),
        }
    }
}
