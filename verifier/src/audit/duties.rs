//! Who was to check a node, who did, and what that comes to: worked out of the log and the directory, and held against
//! what the broker tells of its assignments.
//!
//! ```text
//!   anchor in the log <--hashed-- the newest value that somebody names --> values of all rounds before
//!   beacon in the log <--verified-- the signatures that the broker tells --> values of rounds of drand
//!   value, directory --> due rounds, set, order --against--> GET /v1/assignments, or an export of it
//!                                            `--seats--> receipts --core/proof's Round--> what each round comes to
//! ```
//!
//! **Invariants.** Nothing that the broker tells is believed but who missed and why, and how many a committee has: values
//! lead to the anchor or are drand's, sets and orders are computed. Rounds that are asked for are bounded.
//!
//! **What it does not know:** whether the node was attached in a round. Where nobody was assigned it was away, or left
//! out: that is said, and which of them is for its operator to know.

use super::compare::Compare;
use super::history::{Check, History};
use super::told::RoundTold;
use super::{AuditError, Finding, Oddity, RoundHeld, Rounds, Source, log::garbled};
use super::{drawn, streams};
use nearlight_proof::beacon::anchor::Anchor;
use nearlight_proof::beacon::chain;
use nearlight_proof::beacon::used::{Beacon, Timetable};
use nearlight_proof::key::KeyId;
use nearlight_proof::log::tree::Hash;
use nearlight_proof::porc::panel::{Drawn, Panel, Unseated};
use nearlight_proof::porc::round::Round;
use nearlight_proof::porc::schedule;
use nearlight_proof::porc::verdict::CheckerReport;
use nearlight_proof::receipt::directory::{Directory, Role};
use nearlight_proof::receipt::predicate::Finding as Found;
use std::collections::{BTreeMap, BTreeSet};

/// A committee, where nobody tells how many it has: as brokers ship.
const COMMITTEE: usize = 3;
/// For how long a check may take, seconds, where nobody tells: as brokers ship.
pub(super) const CAPACITY_S: u64 = 900;
/// Rounds that are asked for, the newest: some two years of three a day.
const ROUNDS_MAX: usize = 2048;
/// Values of rounds that are tried of one checker, the newest.
const TRIED_MAX: usize = 4;
const DAY_MS: u64 = 24 * 3600 * 1000;

/// What was found of rounds.
#[derive(Debug, Default)]
pub(super) struct Examined {
    pub(super) findings: Vec<Finding>,
    pub(super) rounds: Vec<RoundHeld>,
    /// Rounds of which the assignments were told.
    pub(super) told: usize,
    /// Rounds that are void, and in which nothing was due.
    pub(super) void: usize,
}

/// The values of rounds that matter, by round.
pub(super) type Values = BTreeMap<u64, Hash>;

/// A check, and the place of its checker in the order of its round.
type Seated<'a> = (Check<'a>, Option<u32>);

/// Looks at who checked the node, and who should have.
pub(super) fn examine<S: Source>(
    source: &mut S,
    history: &History<'_>,
    (rounds, now_s): (Rounds, u64),
) -> Result<Examined, AuditError<S::Error>> {
    let mut found = Examined::default();
    let Some(table) = history.table() else {
        let seats = Seats {
            panel: panel(history.directory(), None, (COMMITTEE, CAPACITY_S)),
            values: &Values::new(),
        };
        found.rounds = seats.rounds(history, &mut found.findings);
        return Ok(found);
    };
    let anchor = table.anchor();
    let now = anchor.round_at(now_s * 1000).unwrap_or(anchor.length);
    let until = match rounds {
        Rounds::Skipped => None,
        Rounds::UntilNow => Some(now),
        Rounds::Until(round) => Some(round),
    };
    let mut told = match until {
        Some(until) => newest_told(source, table, until)?,
        None => BTreeMap::new(),
    };
    let newest = newest(table, history, told.values());
    let mut values = values(table, history, newest);
    let wanted = drawn::Wanted {
        last: until.unwrap_or(now),
        told: &told,
        now_ms: now_s * 1000,
    };
    let drawn = drawn::drawn(source, (history, table), &wanted, &mut found.findings)?;
    values.extend(drawn.values);
    found.void = drawn.void;
    if until.is_some() {
        ask_for_due(source, history, &values, &mut told)?;
    }
    found.told = told.len();
    let committee = told
        .values()
        .next_back()
        .map_or(COMMITTEE, RoundTold::committee);
    let takes_s = told.values().filter_map(|of| of.capacity_s(anchor)).max();
    let takes = (committee, takes_s.unwrap_or(CAPACITY_S));
    let panel = panel(history.directory(), Some(anchor), takes);
    let rendered = streams::rendered(history, anchor);
    let compare = Compare {
        panel,
        rendered: &rendered,
        node: history.node(),
        now_ms: now_s * 1000,
    };
    for (round, of) in &told {
        let drawn = values.get(round).map(|value| Drawn {
            round: *round,
            value: *value,
        });
        compare.round(of, drawn.as_ref(), history, &mut found.findings);
    }
    if until.is_some() {
        found
            .findings
            .extend(not_told(&due(history, &values), &told));
    }
    let seats = Seats {
        panel,
        values: &values,
    };
    found.rounds = seats.rounds(history, &mut found.findings);
    Ok(found)
}

/// What is told of the newest round, or of the one before it: the broker's clock may be behind, and a value may be waited for.
/// And of the newest one of the chain, to whose value the ones before it are held.
fn newest_told<S: Source>(
    source: &mut S,
    table: &Timetable,
    until: u64,
) -> Result<BTreeMap<u64, RoundTold>, AuditError<S::Error>> {
    let mut told = BTreeMap::new();
    for round in [until, until.saturating_sub(1)] {
        if told.is_empty() && round > 0 {
            told.extend(ask(source, round)?.map(|of| (round, of)));
        }
    }
    let of_chain = newest_of_chain(table, until);
    if of_chain > 0 && of_chain < until.saturating_sub(1) {
        told.extend(ask(source, of_chain)?.map(|of| (of_chain, of)));
    }
    Ok(told)
}

/// The newest round until this one that takes its value from the chain; 0 if none does.
fn newest_of_chain(table: &Timetable, until: u64) -> u64 {
    let mut last = until;
    for used in table.uses().iter().rev() {
        match used.beacon {
            _ if used.from_round > last => {}
            Beacon::Chain => break,
            Beacon::Drand(_) => last = used.from_round.saturating_sub(1),
        }
    }
    last
}

fn not_told(due: &[u64], told: &BTreeMap<u64, RoundTold>) -> Option<Finding> {
    let silent = due.iter().filter(|round| !told.contains_key(round)).count();
    (silent > 0).then(|| Finding {
        oddity: Oddity::NotTold,
        entries: Vec::new(),
        words: format!(
            "of {silent} of {} rounds in which a check was due nothing is told",
            due.len()
        ),
    })
}

pub(super) const fn panel<'a>(
    directory: &'a Directory,
    chain: Option<&'a Anchor>,
    (committee, capacity_s): (usize, u64),
) -> Panel<'a> {
    Panel {
        directory,
        chain,
        committee,
        capacity_s,
    }
}

fn ask<S: Source>(source: &mut S, round: u64) -> Result<Option<RoundTold>, AuditError<S::Error>> {
    let Some(bytes) = source.assignments(round)? else {
        return Ok(None);
    };
    let told = RoundTold::parse(&bytes).filter(|told| told.round == round);
    let path = format!("/v1/assignments?round={round}");
    told.map(Some)
        .ok_or_else(|| garbled(&path, "not the assignments of that round"))
}

/// The newest round whose value somebody names that leads to the anchor: what is told, or one of the newest few of a
/// checker's, if that is later. What somebody makes up costs as many hashes as there are rounds since what is told, so of
/// nobody more than a few are tried.
fn newest<'a>(
    table: &Timetable,
    history: &History<'_>,
    told: impl DoubleEndedIterator<Item = &'a RoundTold>,
) -> Option<Drawn> {
    let anchor = table.anchor();
    let leads = |from: &Drawn, round, value: &Hash| {
        table.drand(round).is_none()
            && chain::verify((from.round, &KeyId(from.value)), round, value)
    };
    let first = Drawn {
        round: 0,
        value: anchor.anchor.0,
    };
    let mut newest_first = told.rev();
    let told = newest_first.find(|of| leads(&first, of.round, &of.value));
    let known = told.map_or(first, |of| Drawn {
        round: of.round,
        value: of.value,
    });
    let mut named: BTreeMap<KeyId, BTreeSet<(u64, Hash)>> = BTreeMap::new();
    let later = |check: &Check<'_>| {
        let round = check.porc.round;
        check.is_admitted && round > known.round && table.drand(round).is_none()
    };
    for check in history.checks().filter(later) {
        let of = named.entry(check.issuer).or_default();
        of.insert((check.porc.round, check.porc.beacon.0));
        if of.len() > TRIED_MAX {
            of.pop_first();
        }
    }
    let mut named: Vec<(u64, Hash)> = named.into_values().flatten().collect();
    named.sort_unstable();
    named.dedup();
    let mut newest_first = named.into_iter().rev();
    let found = newest_first.find(|(round, value)| leads(&known, *round, value));
    let found = found.map(|(round, value)| Drawn { round, value });
    found.or((known.round > 0).then_some(known))
}

/// The values of the rounds that checks are of or were due in, and of those alone: a chain has a million.
fn values(table: &Timetable, history: &History<'_>, newest: Option<Drawn>) -> Values {
    let anchor = table.anchor();
    let mut values = Values::new();
    let Some(Drawn {
        round: newest,
        mut value,
    }) = newest
    else {
        return values;
    };
    values.insert(newest, value);
    let known = history.directory().find(&history.node(), Role::Node);
    let Some((_, node)) = known else {
        return values;
    };
    let first = anchor
        .round_at(node.from_s.saturating_mul(1000))
        .unwrap_or(newest);
    let checked: BTreeSet<u64> = history.checks().map(|check| check.porc.round).collect();
    let rendered = streams::rendered(history, anchor);
    let judged = streams::first_judged(history, anchor);
    let a_day = (DAY_MS / anchor.round_ms).max(1);
    for number in (first.max(1)..=newest).rev() {
        let round = schedule::Round {
            number,
            value,
            a_day,
        };
        let is_due = schedule::capacity_is_due(&round, &node.operator);
        let is_wanted = checked.contains(&number) || rendered.contains(&number);
        let matters = is_due || is_wanted || streams::is_drawn(judged, &round, &history.node());
        if matters && table.drand(number).is_none() {
            values.insert(number, value);
        }
        value = chain::step(&value);
    }
    values
}

/// The rounds in which a check was due by the schedule, without the one that is under way.
pub(super) fn due(history: &History<'_>, values: &Values) -> Vec<u64> {
    let known = history.directory().find(&history.node(), Role::Node);
    let anchor = history.anchor();
    let Some(((_, node), anchor)) = known.zip(anchor) else {
        return Vec::new();
    };
    let a_day = (DAY_MS / anchor.round_ms).max(1);
    let is_due = |(number, value): &(&u64, &Hash)| {
        let round = schedule::Round {
            number: **number,
            value: **value,
            a_day,
        };
        let began_s = anchor.begins_ms(round.number) / 1000;
        schedule::is_there(node.from_s, began_s)
            && schedule::capacity_is_due(&round, &node.operator)
    };
    values
        .iter()
        .filter(is_due)
        .map(|(number, _)| *number)
        .collect()
}

fn ask_for_due<S: Source>(
    source: &mut S,
    history: &History<'_>,
    values: &Values,
    told: &mut BTreeMap<u64, RoundTold>,
) -> Result<(), AuditError<S::Error>> {
    let mut wanted: Vec<u64> = due(history, values);
    wanted.extend(history.checks().map(|check| check.porc.round));
    wanted.retain(|round| values.contains_key(round));
    wanted.sort_unstable();
    wanted.dedup();
    let newest = wanted.len().saturating_sub(ROUNDS_MAX);
    let mut wanted = wanted.split_off(newest);
    wanted.extend(streams::wanted(history, values));
    for round in wanted {
        if !told.contains_key(&round) {
            told.extend(ask(source, round)?.map(|of| (round, of)));
        }
    }
    Ok(())
}

/// Who has a seat in the rounds of a node.
struct Seats<'a> {
    panel: Panel<'a>,
    values: &'a Values,
}

impl Seats<'_> {
    fn of(&self, check: &Check<'_>, node: &KeyId) -> Result<u32, Unseated> {
        let value = |round| self.values.get(&round).copied();
        self.panel
            .seat(check.porc, node, &check.issuer, check.at, value)
    }

    /// Whether nobody could decide about the node in a round: whoever was there was assigned then, though none was due.
    fn lacks_committee(&self, round: u64, node: &KeyId) -> bool {
        let drawn = self.values.get(&round).map(|value| Drawn {
            round,
            value: *value,
        });
        drawn.is_some_and(|drawn| self.panel.has_committee(&drawn, node) == Ok(false))
    }

    /// What each round comes to by those who have a seat in it.
    fn rounds(&self, history: &History<'_>, findings: &mut Vec<Finding>) -> Vec<RoundHeld> {
        let node = history.node();
        let mut of_round: BTreeMap<(u64, &str), Vec<Seated<'_>>> = BTreeMap::new();
        for check in history.checks().filter(|check| check.is_admitted) {
            let seat = self.of(&check, &node);
            if let Err(why) = seat
                && !(why == Unseated::NotDue && self.lacks_committee(check.porc.round, &node))
            {
                findings.push(Finding {
                    oddity: Oddity::Unassigned,
                    entries: vec![check.index],
                    words: format!(
                        "checker {} says {} of round {}, which weighs nothing: {why}",
                        check.issuer,
                        name(check.finding),
                        check.porc.round
                    ),
                });
            }
            let of = of_round
                .entry((check.porc.round, &check.porc.gpu))
                .or_default();
            of.push((check, seat.ok()));
        }
        let rounds = of_round.into_iter();
        rounds
            .map(|((round, gpu), checks)| self.round((round, gpu), &checks, history, findings))
            .collect()
    }

    fn round(
        &self,
        (round, gpu): (u64, &str),
        checks: &[Seated<'_>],
        history: &History<'_>,
        findings: &mut Vec<Finding>,
    ) -> RoundHeld {
        let reports: Vec<CheckerReport> = checks
            .iter()
            .map(|(check, seat)| CheckerReport {
                checker: check.issuer,
                finding: check.finding,
                score_permille: check.porc.score_permille,
                seat: *seat,
            })
            .collect();
        let came_to = Round::default().with(&reports, self.panel.committee);
        let (passed, score_permille) = came_to.counts().unzip();
        let seated = checks.iter().filter(|(_, seat)| seat.is_some());
        let entries: Vec<u64> = seated.map(|(check, _)| check.index).collect();
        let has = |wanted| {
            let mut seated = checks.iter().filter(|(_, seat)| seat.is_some());
            seated.any(|(check, _)| check.porc.finding == wanted)
        };
        if has(Found::Pass) && has(Found::Fail) {
            findings.push(Finding {
                oddity: Oddity::Disagreement,
                entries: entries.clone(),
                words: format!("in round {round} some checkers passed {gpu} and some failed it"),
            });
        }
        let leaves: Vec<KeyId> = checks.iter().map(|(check, _)| check.leaf).collect();
        for (index, verdict) in history.verdicts() {
            let is_about = verdict.receipts.iter().any(|leaf| leaves.contains(leaf));
            let says = match verdict.finding {
                Found::Pass => Some(true),
                Found::Fail => Some(false),
                Found::Inconclusive => None,
            };
            // What was executed counts more than whoever was assigned.
            let contradicts = says
                .zip(passed)
                .is_some_and(|(says, passed)| says != passed);
            if is_about && verdict.step.is_empty() && contradicts {
                findings.push(Finding {
                    oddity: Oddity::AgainstAssigned,
                    entries: vec![index],
                    words: format!(
                        "a verdict says {} of round {round}, and executed nothing; those who were assigned say otherwise",
                        name(verdict.finding)
                    ),
                });
            }
        }
        RoundHeld {
            round,
            gpu: gpu.to_owned(),
            state: came_to.name(),
            score_permille,
            entries,
        }
    }
}

const fn name(finding: Found) -> &'static str {
    match finding {
        Found::Pass => "pass",
        Found::Fail => "fail",
        Found::Inconclusive => "inconclusive",
    }
}
