//! Who may speak in a round: anyone works it out of the log and a directory, and believes no broker.
//!
//! ```text
//!   chain's anchor --hash--> the round's value ---.
//!   directory -- the set when it began -- its root |--> order --first committee + stand-ins--> seats
//!   node's key and operator ----------------------'
//! ```
//!
//! A seat is a place in that order; of a pass or a fail in a round in which a check of the node was due ([`super::schedule`]), of
//! a key that was there when it began, and for what was said in the round's time. Who has missed, and who was asked to stand in, is on no record that everybody has;
//! so everybody has a seat who could have been asked, and [`super::verdict::counted`] takes those in front first.
//!
//! **Invariants.** A seat follows from what a receipt says, the anchor and the directory; a later edition of the
//! directory gives the same one. Without a chain of rounds nobody is assigned, and all seats are 0.
//!
//! **What it does not know:** whether receipts verify, what they find, who missed.

use super::committee::{Candidate, STAND_INS, assign, set_of, set_root};
use super::schedule;
use crate::beacon::anchor::Anchor;
use crate::key::KeyId;
use crate::log::tree::Hash;
use crate::receipt::directory::{Directory, Role};
use crate::receipt::predicate::{Finding, Porc};

const DAY_MS: u64 = 24 * 3600 * 1000;

/// Why a checker's receipt has no seat in its round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unseated {
    /// The network has no such round.
    #[error("the network's chain has no such round")]
    NoRound,
    /// Another value than the round's.
    #[error("it names another value than the round has")]
    OtherValue,
    /// Another set.
    #[error("it names another set of checkers than the round had")]
    OtherSet,
    /// The node is not in the directory.
    #[error("the directory does not have the node")]
    NoNode,
    /// Its key came in after the round had begun.
    #[error("the node's key came in after the round had begun")]
    KeyIsNewer,
    /// Neither the schedule nor that its key is new has a check of it in that round.
    #[error("no check of the node was due in that round")]
    NotDue,
    /// Said before the round or after its time.
    #[error(
        "it was said out of the round's time, by its own word or by what stands before it in the log"
    )]
    OutOfTime,
    /// Not among the first of the order.
    #[error("its checker was not assigned, nor one of those that stand in")]
    NotAssigned,
}

/// A network that seats are worked out for.
#[derive(Clone, Copy, Debug)]
pub struct Panel<'a> {
    /// Whose keys are whose.
    pub directory: &'a Directory,
    /// The chain of rounds, if there is one.
    pub chain: Option<&'a Anchor>,
    /// How many checkers a capacity check takes.
    pub committee: usize,
    /// For how long one may, seconds.
    pub capacity_s: u64,
}

/// When a receipt was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaidAt {
    /// By its own word, Unix seconds.
    pub issued_at_s: u64,
    /// The latest such word of what stands before it in the log: it came no earlier, but for clocks.
    pub told_s: u64,
}

/// Why a check of capacity is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The schedule has it.
    Schedule,
    /// It is one of the first rounds that could check the node.
    First,
}

/// A round of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// Which.
    pub round: u64,
    /// Its value, which leads to the anchor.
    pub value: Hash,
}

impl Panel<'_> {
    /// The set of a round, by its root, and the order for a node: those that may be asked, first the one that goes
    /// first.
    ///
    /// # Errors
    /// [`Unseated::NoRound`] and [`Unseated::NoNode`].
    pub fn order(&self, drawn: &Drawn, node: &KeyId) -> Result<(KeyId, Vec<KeyId>), Unseated> {
        let (root, mut order) = self.whole_order(drawn, node)?;
        order.truncate(self.committee.saturating_add(STAND_INS));
        Ok((root, order))
    }

    /// As [`Panel::order`], of all that may check the node: a stream is played by the first who can.
    ///
    /// # Errors
    /// [`Unseated::NoRound`] and [`Unseated::NoNode`].
    pub fn whole_order(
        &self,
        drawn: &Drawn,
        node: &KeyId,
    ) -> Result<(KeyId, Vec<KeyId>), Unseated> {
        let chain = self.chain.ok_or(Unseated::NoRound)?;
        let (_, entry) = self
            .directory
            .find(node, Role::Node)
            .ok_or(Unseated::NoNode)?;
        let candidate = Candidate {
            key: *node,
            operator: entry.operator.clone(),
        };
        let set = set_of(self.directory, chain.begins_ms(drawn.round) / 1000);
        let order = assign(&drawn.value, &candidate, &set, set.len());
        let order = order.into_iter().map(|checker| checker.key).collect();
        Ok((KeyId(set_root(&set)), order))
    }

    /// Whether there was a committee for the node when a round began. Without one whoever is there may look at it, and no
    /// round comes to anything.
    ///
    /// # Errors
    /// [`Unseated::NoRound`] and [`Unseated::NoNode`].
    pub fn has_committee(&self, drawn: &Drawn, node: &KeyId) -> Result<bool, Unseated> {
        let (_, order) = self.whole_order(drawn, node)?;
        Ok(order.len() >= self.committee)
    }

    /// Whether a check of the node's capacity is due in a round, and why.
    ///
    /// # Errors
    /// [`Unseated::NoRound`], [`Unseated::NoNode`], [`Unseated::KeyIsNewer`] and [`Unseated::NotDue`].
    pub fn due(&self, drawn: &Drawn, node: &KeyId) -> Result<Cause, Unseated> {
        let chain = self.chain.ok_or(Unseated::NoRound)?;
        let known = self.directory.find(node, Role::Node);
        let (_, entry) = known.ok_or(Unseated::NoNode)?;
        let (began_s, round_s) = (chain.begins_ms(drawn.round) / 1000, chain.round_ms / 1000);
        if !schedule::is_there(entry.from_s, began_s) {
            return Err(Unseated::KeyIsNewer);
        }
        let round = schedule::Round {
            number: drawn.round,
            value: drawn.value,
            a_day: (DAY_MS / chain.round_ms.max(1)).max(1),
        };
        if schedule::capacity_is_due(&round, &entry.operator) {
            return Ok(Cause::Schedule);
        }
        let checkers = self.directory.of(Role::Checker);
        let others = checkers.filter(|(_, of)| of.operator != entry.operator);
        let others = others.map(|(_, of)| of.from_s);
        match schedule::is_first(entry.from_s, others, self.committee, (began_s, round_s)) {
            true => Ok(Cause::First),
            false => Err(Unseated::NotDue),
        }
    }

    /// The seat of the checker that issued a receipt about a node then. `value` knows the values of the chain's rounds.
    ///
    /// # Errors
    /// Why it has none.
    pub fn seat(
        &self,
        porc: &Porc,
        node: &KeyId,
        issuer: &KeyId,
        at: SaidAt,
        value: impl FnOnce(u64) -> Option<Hash>,
    ) -> Result<u32, Unseated> {
        let Some(chain) = self.chain else {
            return Ok(0);
        };
        let value = value(porc.round).ok_or(Unseated::NoRound)?;
        if value != porc.beacon.0 {
            return Err(Unseated::OtherValue);
        }
        let drawn = Drawn {
            round: porc.round,
            value,
        };
        // Who can say nothing may do so of any round: that a node is not there is found where no more than that was asked, and
        // nobody gains by choosing the round of what weighs nothing.
        if porc.finding != Finding::Inconclusive {
            self.due(&drawn, node)?;
            let began_s = chain.begins_ms(drawn.round) / 1000;
            if !schedule::is_in_time((at.issued_at_s, at.told_s), began_s, self.capacity_s) {
                return Err(Unseated::OutOfTime);
            }
        }
        let (root, order) = self.order(&drawn, node)?;
        if root != porc.checkers {
            return Err(Unseated::OtherSet);
        }
        let mut seats = (0_u32..).zip(&order);
        let seat = seats.find(|(_, key)| *key == issuer);
        seat.map(|(seat, _)| seat).ok_or(Unseated::NotAssigned)
    }
}

#[cfg(test)]
#[path = "panel/test.rs"]
mod test;
