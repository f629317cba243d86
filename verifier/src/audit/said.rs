//! What the log says of rounds: the chain that times them, and which beacons they take their values from.
//!
//! **Invariants.** The first chain counts, and of the beacons what the log has in order. A beacon that stood in the log less
//! than [`SKEW_S`] before its rounds, by times that are off by as much, is told: whoever wrote it may have known what they
//! would be. Of round 1, which begins a round after its chain was made, as much is believed as of the chain.

use super::{Finding, Oddity};
use crate::given::Trust;
use nearlight_proof::beacon::anchor::Anchor;
use nearlight_proof::beacon::drand::QUICKNET;
use nearlight_proof::beacon::used::{Beacon, Timetable, Used};
use nearlight_proof::receipt::verify::SKEW_S;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Said {
    table: Option<Timetable>,
    findings: Vec<Finding>,
    /// Entries with another chain.
    other_chains: Vec<u64>,
}

impl Said {
    /// The next entry of the log that is no statement. What stands before it says that it was issued at `told_s` at the latest.
    pub(super) fn entry(&mut self, index: u64, bytes: &[u8], (trust, told_s): (&Trust, u64)) {
        if let Some(anchor) = Anchor::open(bytes, &trust.authority) {
            return self.chain(index, anchor, told_s);
        }
        if let Some(used) = Used::open(bytes, &trust.authority) {
            self.used(index, used, (trust, told_s));
        }
    }

    pub(super) const fn table(&self) -> Option<&Timetable> {
        self.table.as_ref()
    }

    fn chain(&mut self, index: u64, anchor: Anchor, told_s: u64) {
        match &self.table {
            None => {
                if is_late(anchor.genesis_ms, told_s) {
                    let words = "the chain of rounds had begun before it stood in the log: whoever made it could choose what came before";
                    self.odd(index, words.to_owned());
                }
                self.table = Some(Timetable::new(anchor));
            }
            Some(first) if *first.anchor() != anchor => self.other_chains.push(index),
            Some(_) => {}
        }
    }

    fn used(&mut self, index: u64, used: Used, (trust, told_s): (&Trust, u64)) {
        let (from, beacon) = (used.from_round, used.beacon);
        let Some(table) = &mut self.table else {
            return self.odd(index, "beacons of rounds that no chain times".to_owned());
        };
        let is_known = table.uses().contains(&used);
        let begins_ms = table.anchor().begins_ms(from);
        let before = table.beacon(from);
        if let Err(why) = table.add(used) {
            let words =
                format!("rounds from {from} on are said to take their values from {beacon}: {why}");
            return self.odd(index, words);
        }
        if is_known {
            return;
        }
        let is_in_time = match from {
            1 => !is_late(begins_ms, told_s),
            _ => told_s.saturating_add(SKEW_S) <= begins_ms / 1000,
        };
        if !is_in_time {
            let words = format!(
                "round {from} had begun, or began within {SKEW_S} seconds, when it came into the log that rounds from it on \
                 take their values from {beacon}: whoever runs the log could choose by what they were"
            );
            self.odd(index, words);
        }
        let words = match (trust.beacon, beacon) {
            (Some(wanted), _) if wanted != beacon => {
                format!(
                    "rounds from {from} on take their values from {beacon}, and not from {wanted}"
                )
            }
            (None, Beacon::Drand(network)) if network != QUICKNET => format!(
                "rounds from {from} on take their values from {beacon}, which is not quicknet: whoever has its key knows them \
                 ahead; name it with --beacon if you believe it"
            ),
            (None, Beacon::Chain) if before != Beacon::Chain => format!(
                "rounds from {from} on take their values from {beacon} again, and not from {before}: whoever runs the log \
                 knows them ahead"
            ),
            _ => return,
        };
        self.odd(index, words);
    }

    fn odd(&mut self, index: u64, words: String) {
        self.findings.push(Finding {
            oddity: Oddity::WrongAssignment,
            entries: vec![index],
            words,
        });
    }

    /// What is odd of it.
    pub(super) fn findings(mut self, wanted: Option<Beacon>) -> Vec<Finding> {
        if !self.other_chains.is_empty() {
            self.findings.push(Finding {
                oddity: Oddity::WrongAssignment,
                entries: self.other_chains,
                words: "another chain of rounds than the first".to_owned(),
            });
        }
        let first = self.table.map(|table| table.beacon(1));
        if let (Some(wanted), Some(first)) = (wanted, first)
            && first == Beacon::Chain
            && wanted != first
        {
            self.findings.push(Finding {
                oddity: Oddity::WrongAssignment,
                entries: Vec::new(),
                words: format!(
                    "rounds from 1 on take their values from {first}, and not from {wanted}"
                ),
            });
        }
        self.findings
    }
}

const fn is_late(begins_ms: u64, told_s: u64) -> bool {
    told_s > (begins_ms / 1000).saturating_add(SKEW_S)
}
