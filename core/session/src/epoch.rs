//! Epochs: the fencing number of a slot.
//!
//! Every time the broker claims a slot it takes the slot's next epoch and signs it into the grant.
//! The edge keeps a journal: per slot the highest epoch it ever admitted, and for whom. An order
//! with an older epoch comes from a broker that has been overtaken, and is refused.
//!
//! ```text
//!            admit(e > 0)                    release(session)
//!  Vacant ---------------------> Live(e, s) ------------------> Left(e, s)
//!                                   |  ^                           |
//!               admit(e, s): Already|  |       admit(e' > e, s')   |
//!                                   |  +---------------------------+
//!   admit(e' > e, _): Deny(SlotBusy)
//!   admit(e' < e, _), admit(e, s' != s): Deny(EpochOld), in every state
//!   admit(e, s) when Left: Already (it ran and is over; it is never started twice)
//! ```
//!
//! **Invariant I2.** A slot never runs two epochs: `Live` is left by [`EpochJournal::release`]
//! alone, and the epoch of a slot never falls.
//!
//! **Durability is the caller's.** Write the slot's [`JournalEntry`] to disk after
//! [`Admission::Admit`] and before anything is started, and again after a release. If the first
//! write fails, call `release` and deny the order: the epoch is burnt, which is safe.
//!
//! **What it does not know:** signatures, files, containers. A grant is verified before it is
//! admitted, or a forged epoch of 2^64-1 would close the slot for good.

use nearlight_protocol::control::DenyReason;
use nearlight_protocol::id::{SessionId, SlotId};
use nearlight_protocol::unit::U64;
use std::collections::BTreeMap;

/// The fencing number of a slot. Zero is no epoch: the first grant has 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch of the slot's next claim, or `None` when the numbers are used up.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(next) => Some(Self(next)),
            None => None,
        }
    }
}

impl From<U64> for Epoch {
    fn from(wire: U64) -> Self {
        Self(wire.0)
    }
}

impl From<Epoch> for U64 {
    fn from(epoch: Epoch) -> Self {
        Self(epoch.0)
    }
}

/// What the journal says to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// New: make the entry durable, then start the session.
    Admit,
    /// This very order was admitted before, after a re-attach it came again: acknowledge it, start
    /// nothing. [`EpochJournal::occupant`] says whether the session still runs or is over.
    Already,
    /// Refused.
    Deny(Denial),
}

/// Why the journal refuses an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// The slot has seen a newer epoch, or this epoch for another session.
    #[error("the slot's journal has a newer epoch, or has this one for another session")]
    EpochOld,
    /// The slot still runs a session under an older epoch.
    #[error("the slot still runs another session")]
    SlotBusy,
}

impl From<Denial> for DenyReason {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::EpochOld => Self::EpochOld,
            Denial::SlotBusy => Self::SlotBusy,
        }
    }
}

/// Who has a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Occupant {
    /// Nobody, ever.
    Vacant,
    /// This session runs in it, or is being started or stopped.
    Live(SessionId),
    /// This session was the last one, and nothing of it is left.
    Left(SessionId),
}

/// What the journal holds for one slot; what the caller writes to disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalEntry {
    /// The slot.
    pub slot: SlotId,
    /// The highest epoch admitted.
    pub epoch: Epoch,
    /// For whom.
    pub occupant: Occupant,
}

/// An edge's journal of epochs. One per node, owned by the agent.
#[derive(Clone, Debug, Default)]
pub struct EpochJournal {
    slots: BTreeMap<SlotId, (Epoch, Occupant)>,
}

impl EpochJournal {
    /// A journal with the entries that were on disk. Of two entries for one slot the newer epoch
    /// counts.
    pub fn restore(entries: impl IntoIterator<Item = JournalEntry>) -> Self {
        let mut journal = Self::default();
        for entry in entries {
            let newer = journal
                .slots
                .get(&entry.slot)
                .is_none_or(|(epoch, _)| entry.epoch >= *epoch);
            if newer {
                journal
                    .slots
                    .insert(entry.slot, (entry.epoch, entry.occupant));
            }
        }
        journal
    }

    /// Makes the slot known, so that it is listed before its first session.
    pub fn add_slot(&mut self, slot: SlotId) {
        self.slots
            .entry(slot)
            .or_insert((Epoch(0), Occupant::Vacant));
    }

    /// Whether `session` may run in `slot` under `epoch`.
    pub fn admit(&mut self, slot: &SlotId, epoch: Epoch, session: &SessionId) -> Admission {
        let (highest, occupant) = self
            .slots
            .entry(slot.clone())
            .or_insert((Epoch(0), Occupant::Vacant));
        if epoch < *highest || epoch == Epoch(0) {
            return Admission::Deny(Denial::EpochOld);
        }
        match occupant {
            Occupant::Live(last) | Occupant::Left(last) if epoch == *highest => {
                if last == session {
                    Admission::Already
                } else {
                    Admission::Deny(Denial::EpochOld)
                }
            }
            Occupant::Live(_) => Admission::Deny(Denial::SlotBusy),
            // A vacant slot whose epoch is above zero was restored without its session: that epoch
            // is burnt.
            Occupant::Vacant if epoch == *highest => Admission::Deny(Denial::EpochOld),
            Occupant::Vacant | Occupant::Left(_) => {
                *highest = epoch;
                *occupant = Occupant::Live(session.clone());
                Admission::Admit
            }
        }
    }

    /// Nothing of `session` is left in its slot. Returns the slot's entry to write, or `None` if
    /// no slot runs it.
    pub fn release(&mut self, session: &SessionId) -> Option<JournalEntry> {
        let (slot, (epoch, occupant)) = self
            .slots
            .iter_mut()
            .find(|(_, (_, occupant))| *occupant == Occupant::Live(session.clone()))?;
        *occupant = Occupant::Left(session.clone());
        Some(JournalEntry {
            slot: slot.clone(),
            epoch: *epoch,
            occupant: occupant.clone(),
        })
    }

    /// Who has the slot now.
    pub fn occupant(&self, slot: &SlotId) -> &Occupant {
        self.slots
            .get(slot)
            .map_or(&Occupant::Vacant, |(_, occupant)| occupant)
    }

    /// Every slot, in order: what goes to disk and into the inventory.
    pub fn entries(&self) -> impl Iterator<Item = JournalEntry> + '_ {
        self.slots
            .iter()
            .map(|(slot, (epoch, occupant))| JournalEntry {
                slot: slot.clone(),
                epoch: *epoch,
                occupant: occupant.clone(),
            })
    }
}

#[cfg(test)]
#[path = "epoch/test.rs"]
mod test;
