//! When probes of nodes that may be one machine are told their nonces: those of one operator, in one moment.
//!
//! Told with an assignment and written nowhere: it follows from the round, its rows and the order (core/proof
//! `porc/meeting.rs`), also for what another broker wrote down.
//!
//! **What it does not know:** which nodes are one machine. An operator that has one node has no moment to keep.

use super::{Checks, ChecksError, SeenRound};
use crate::ledger::{AssignmentQuery, AssignmentRow};
use nearlight_proof::key::KeyId;
use nearlight_proof::porc::meeting::Meeting;
use nearlight_proof::porc::schedule::{Due, Duty};
use nearlight_protocol::unit::UnixMillis;
use std::collections::{BTreeMap, BTreeSet};

/// The meetings of a round, by operator.
#[derive(Debug, Default)]
pub(crate) struct Meetings(BTreeMap<String, Meeting>);

impl Meetings {
    /// Of these rows of a round: `operator` knows whose a node is.
    fn of<'a>(
        rows: &'a [AssignmentRow],
        operator: impl Fn(&AssignmentRow) -> Option<String>,
        alike: Meeting,
    ) -> Self {
        let mut groups: BTreeMap<String, BTreeSet<(&'a str, &'a str)>> = BTreeMap::new();
        for row in rows.iter().filter(|row| is_probe(row)) {
            if let Some(operator) = operator(row) {
                let of = groups.entry(operator).or_default();
                of.insert((&row.node_key, &row.duty));
            }
        }
        let of_several = groups.into_iter().filter(|(_, probes)| {
            let nodes: BTreeSet<&str> = probes.iter().map(|(node, _)| *node).collect();
            nodes.len() > 1
        });
        let meeting = |(operator, probes): (String, BTreeSet<_>)| {
            let probes = probes.len();
            (operator, Meeting { probes, ..alike })
        };
        Self(of_several.map(meeting).collect())
    }

    /// When the checker of this row tells the node its nonce; `None` if no other node is waited for.
    pub(crate) fn moment_ms(&self, row: &AssignmentRow, operator: &str) -> Option<UnixMillis> {
        let meeting = self.0.get(operator).filter(|_| is_probe(row))?;
        meeting.moment_ms(&KeyId::from_hex(&row.node_key)?, row.place)
    }
}

impl Checks {
    /// Who meets in a round that has begun.
    pub(crate) async fn meetings(&self, seen: &SeenRound) -> Result<Meetings, ChecksError> {
        let rows = AssignmentQuery::Round(seen.round.number);
        let rows = self.assignments(rows).await?;
        let alike = Meeting {
            value: seen.round.value,
            began_ms: seen.began_ms,
            window_ms: u64::from(self.settings.capacity_s) * 1000,
            committee: self.committee(),
            probes: 0,
        };
        let operator = |row: &AssignmentRow| {
            let known = self.node_keys.of(&row.node);
            known.map(|key| key.operator.clone())
        };
        Ok(Meetings::of(&rows, operator, alike))
    }
}

/// Whether a row is of a probe of what a node can do.
pub(crate) fn is_probe(row: &AssignmentRow) -> bool {
    Due::of_name(&row.duty).is_some_and(|due| due.duty == Duty::Capacity)
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::ledger::AssignmentState;

    fn row((node, operator): (u8, &str), duty: &str, place: u32) -> (AssignmentRow, String) {
        let row = AssignmentRow {
            round: 7,
            node_key: KeyId([node; 32]).to_string(),
            node: nearlight_kit::ids::node(),
            duty: duty.to_owned(),
            checker: String::new(),
            place,
            due_ms: 0,
            until_ms: 0,
            state: AssignmentState::Due,
            why: String::new(),
            leaf: String::new(),
            session: None,
        };
        (row, operator.to_owned())
    }

    #[test]
    fn nodes_of_one_operator_meet_and_one_that_is_alone_waits_for_nobody() {
        let all = [
            row((1, "west"), "capacity", 0),
            row((1, "west"), "alive", 0),
            row((2, "west"), "capacity/GPU-1", 0),
            row((2, "west"), "capacity/GPU-2", 0),
            row((2, "west"), "capacity/GPU-2", 1),
            row((2, "west"), "capacity/GPU-2", 3),
            row((3, "east"), "capacity/GPU-1", 0),
            row((3, "east"), "capacity/GPU-2", 0),
            row((4, "unknown"), "capacity", 0),
        ];
        let rows: Vec<AssignmentRow> = all.iter().map(|(row, _)| row.clone()).collect();
        let operator = |row: &AssignmentRow| {
            let mut known = all.iter().filter(|(_, operator)| operator != "unknown");
            let found = known.find(|(of, _)| of.node_key == row.node_key);
            found.map(|(_, operator)| operator.clone())
        };
        let alike = Meeting {
            value: [7; 32],
            began_ms: 1_000,
            window_ms: 50_000,
            committee: 3,
            probes: 0,
        };
        let meetings = Meetings::of(&rows, operator, alike);
        let moments: Vec<Option<u64>> = all
            .iter()
            .map(|(row, operator)| meetings.moment_ms(row, operator))
            .collect();
        let (first, second) = (Some(6_000), Some(16_000));
        assert_eq!(
            moments,
            [first, None, first, first, second, None, None, None, None]
        );
        assert_eq!(meetings.0["west"].probes, 3, "one checker's of each GPU");
    }
}
