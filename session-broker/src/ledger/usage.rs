//! What the ledger keeps of usage: intervals with all that their bill needs, rate cards, budgets.
//!
//! **Invariants.** An interval begins and ends once, however often either is said. It outlives its
//! session's row, and nothing in it changes but its end, and what its job used.

use super::StoreError;
use nearlight_protocol::id::{AppId, NodeId, SessionId, SlotId, TenantId, UserId, VolumeId};
use nearlight_protocol::unit::UnixMillis;
use nearlight_protocol::usage::UsageFacts;
use nearlight_session::Epoch;
use nearlight_session::bill::{Held, Interval, Kept, Line, Metered};
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
    /// What it holds, and what its node was measured to do.
    pub metered: Metered,
    /// Where the receipt of that stands.
    pub score_receipt: Option<u64>,
    /// Words of the tenant's own.
    pub labels: BTreeMap<String, String>,
}

/// An interval as a bill has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    clippy::large_enum_variant,
    reason = "claims are the rule: a box for each would cost more than the room of the few others"
)]
pub enum UsageLine {
    /// Of a claim.
    Claim(ClaimLine),
    /// Of a volume.
    Volume(VolumeLine),
}

/// The interval of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimLine {
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
    /// What it used of what it had, as its node says.
    pub used: UsageFacts,
}

/// The interval of a volume that had one size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeLine {
    /// The volume.
    pub volume: VolumeId,
    /// Its name.
    pub name: String,
    /// Who pays; nobody for one of a user without a tenant.
    pub tenant: Option<TenantId>,
    /// Its node.
    pub node: NodeId,
    /// Where that is.
    pub region: String,
    /// Its size.
    pub kept: Kept,
    /// Words of its tenant's own: those of the job that made it.
    pub labels: BTreeMap<String, String>,
    /// Since when its node holds that size for it.
    pub began_ms: UnixMillis,
    /// Until when; `None` while it does.
    pub ended_ms: Option<UnixMillis>,
}

impl UsageLine {
    const fn times(&self) -> (UnixMillis, Option<UnixMillis>) {
        match self {
            Self::Claim(line) => (line.began_ms, line.ended_ms),
            Self::Volume(line) => (line.began_ms, line.ended_ms),
        }
    }

    /// When it was, if what still is ends now.
    pub fn interval(&self, now_ms: UnixMillis) -> Interval {
        let (began_ms, ended_ms) = self.times();
        Interval {
            began_ms,
            ended_ms: ended_ms.unwrap_or(now_ms),
        }
    }

    /// Its labels.
    pub const fn labels(&self) -> &BTreeMap<String, String> {
        match self {
            Self::Claim(line) => &line.bill.labels,
            Self::Volume(line) => &line.labels,
        }
    }

    /// Where it stands among all.
    pub fn place(&self) -> UsagePlace {
        match self {
            Self::Claim(line) => {
                let slot = line.slot.as_ref();
                UsagePlace {
                    began_ms: line.began_ms,
                    session: line.session.to_string(),
                    slot: slot.map_or_else(String::new, SlotId::to_string),
                    epoch: line.epoch.0,
                }
            }
            Self::Volume(line) => UsagePlace {
                began_ms: line.began_ms,
                session: line.volume.to_string(),
                slot: String::new(),
                epoch: u64::from(line.kept.mib),
            },
        }
    }

    /// What is paid for.
    pub fn held(&self) -> Held {
        match self {
            Self::Claim(line) => Held::Claim(line.bill.metered.clone()),
            Self::Volume(line) => Held::Volume(line.kept),
        }
    }

    /// What a budget sees of it.
    pub fn for_budget(self) -> Line {
        let (began_ms, ended_ms) = self.times();
        Line {
            held: self.held(),
            began_ms,
            ended_ms,
        }
    }
}

/// Where an interval stands among all: by its beginning, and then by its key. A volume's id stands for
/// a session's, and its size for an epoch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsagePlace {
    /// Its beginning.
    pub began_ms: UnixMillis,
    /// Its session, or its volume.
    pub session: String,
    /// Its slot, or nothing.
    pub slot: String,
    /// Its epoch, or its size.
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
            // A broker of before wrote so of a job that came back from its grant.
            "app" if name.is_empty() => Ok(Self::Job(String::new())),
            "app" => Ok(Self::App(super::phase_row::parse(name)?)),
            "job" => Ok(Self::Job(name.to_owned())),
            other => Err(StoreError::Corrupt(format!(
                "unknown kind of usage `{other}`"
            ))),
        }
    }
}
