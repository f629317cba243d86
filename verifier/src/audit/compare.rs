//! What a broker tells of a round's assignments, held against what follows from the round's value and the directory.
//!
//! **What it does not know:** where it was told, what receipts come to.

use super::duties::due;
use super::history::History;
use super::streams;
use super::told::{RoundTold, RowTold};
use super::{Finding, Oddity};
use nearlight_proof::key::KeyId;
use nearlight_proof::porc::committee::{Checker, STAND_INS, set_root};
use nearlight_proof::porc::panel::{Drawn, Panel};
use nearlight_proof::porc::schedule::{Due, Duty};
use nearlight_proof::receipt::directory::Role;
use std::collections::{BTreeMap, BTreeSet};

/// Holds what is told of a round against what follows from its value.
pub(super) struct Compare<'a> {
    pub(super) panel: Panel<'a>,
    /// The rounds in which the node had sessions, as the log says.
    pub(super) rendered: &'a BTreeSet<u64>,
    pub(super) node: KeyId,
    pub(super) now_ms: u64,
}

impl Compare<'_> {
    pub(super) fn round(
        &self,
        told: &RoundTold,
        drawn: Option<&Drawn>,
        history: &History<'_>,
        findings: &mut Vec<Finding>,
    ) {
        let mut wrong = |words: String| {
            findings.push(Finding {
                oddity: Oddity::WrongAssignment,
                entries: Vec::new(),
                words: format!("round {}: {words}", told.round),
            });
        };
        let Some(drawn) = drawn.filter(|drawn| drawn.value == told.value) else {
            return wrong(other_value(told.round, history));
        };
        let panel = Panel {
            committee: told.committee(),
            ..self.panel
        };
        let (root, whole) = match panel.whole_order(drawn, &self.node) {
            Ok(order) => order,
            Err(why) => return wrong(why.to_string()),
        };
        let seats = panel.committee.saturating_add(STAND_INS);
        let order = &whole[..seats.min(whole.len())];
        let set: Vec<Checker> = told.set();
        if root.0 != told.checkers_root.0 || root.0 != set_root(&set) {
            wrong("another set of checkers than the directory has of then".to_owned());
        }
        let mut dues: BTreeMap<Due, Vec<&RowTold>> = BTreeMap::new();
        for row in told.of(&self.node) {
            match Due::of_name(&row.duty) {
                Some(due) => dues.entry(due).or_default().push(row),
                None => wrong(format!("`{}` is no duty", row.duty)),
            }
        }
        for (due, rows) in &dues {
            let takes = due.duty.checkers(panel.committee);
            // Whoever is asked whether the node is there stands in the same order.
            let words = match due.duty {
                Duty::Stream => streams::held_against(rows, (told, &whole), history),
                Duty::Alive | Duty::Capacity => out_of_order(rows, order, takes),
            };
            for words in words {
                wrong(format!("{}: {words}", due.name()));
            }
        }
        let probes = || dues.iter().filter(|(due, _)| due.duty == Duty::Capacity);
        for (due, rows) in probes() {
            for words in unheld(rows, (told.round, &due.gpu), history) {
                wrong(words);
            }
        }
        findings.extend(
            told.of(&self.node)
                .filter_map(|row| self.missed(told.round, row)),
        );
        if streams::is_left_out(told, (drawn, self.now_ms), (&whole, history), self.rendered) {
            findings.push(Finding {
                oddity: Oddity::LeftOut,
                entries: Vec::new(),
                words: format!(
                    "a stream was due in round {}, and nobody was assigned: the node was away, or was left out",
                    told.round
                ),
            });
        }
        let is_due = due(history, &BTreeMap::from([(drawn.round, drawn.value)]));
        if !is_due.is_empty() && probes().next().is_none() {
            findings.push(Finding {
                oddity: Oddity::LeftOut,
                entries: Vec::new(),
                words: format!(
                    "a check was due in round {}, and nobody was assigned: the node was away, or was left out",
                    told.round
                ),
            });
        }
    }

    fn missed(&self, round: u64, row: &RowTold) -> Option<Finding> {
        let why = match row.state.as_str() {
            "missed" => row.why.as_str(),
            "due" if row.until_unix_ms < self.now_ms => "it was never settled",
            _ => return None,
        };
        let operator = self.panel.directory.find(&row.checker, Role::Checker);
        let operator = operator.map_or("an unknown operator", |(_, entry)| &entry.operator);
        Some(Finding {
            oddity: Oddity::Missed,
            entries: Vec::new(),
            words: format!(
                "{} of round {round} was missed by checker {} of {operator}: {why}",
                row.duty, row.checker
            ),
        })
    }
}

fn other_value(round: u64, history: &History<'_>) -> String {
    match history.table().and_then(|table| table.drand(round)) {
        Some((network, of)) => format!("its value is not that of round {of} of {network}"),
        None => "its value does not lead to the chain's anchor".to_owned(),
    }
}

/// What is wrong with who was assigned, in which place.
fn out_of_order(rows: &[&RowTold], order: &[KeyId], takes: usize) -> Vec<String> {
    if rows.is_empty() {
        return Vec::new();
    }
    let mut words = Vec::new();
    let has = |key: &KeyId| rows.iter().any(|row| row.checker == *key);
    for key in order.iter().take(takes).filter(|key| !has(key)) {
        words.push(format!(
            "checker {key} should have been assigned, and was not"
        ));
    }
    let most = takes.saturating_add(STAND_INS);
    let seats = order.get(..most.min(order.len())).unwrap_or_default();
    for row in rows {
        let seat = seats.iter().position(|key| *key == row.checker);
        if seat != usize::try_from(row.place).ok() {
            words.push(format!(
                "checker {} was assigned, and was not to be",
                row.checker
            ));
        }
    }
    let stand_ins = rows.len().saturating_sub(takes);
    let missed = rows.iter().filter(|row| row.state == "missed").count();
    if stand_ins > missed {
        words.push(format!("{stand_ins} stand in, and {missed} missed it"));
    }
    words
}

/// Checks of a GPU that are told as done, and of which the log has no receipt of that checker, round and GPU.
fn unheld(rows: &[&RowTold], (round, gpu): (u64, &str), history: &History<'_>) -> Vec<String> {
    let holds = |row: &RowTold| {
        let check = KeyId::from_hex(&row.leaf).and_then(|leaf| history.check(&leaf));
        check.is_some_and(|check| {
            check.issuer == row.checker && check.porc.round == round && check.porc.gpu == gpu
        })
    };
    let done = rows.iter().filter(|row| row.state == "done" && !holds(row));
    done.map(|row| {
        format!(
            "checker {} is told to be done, and the log has no such receipt",
            row.checker
        )
    })
    .collect()
}
