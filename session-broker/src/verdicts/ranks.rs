//! What verdicts come to: for each node a rank, and whether placement takes it.

use crate::ledger::{AssignmentRow, AssignmentState, NewVerdicts, RoundOf, VerdictRow};
use nearlight_proof::porc::rank::{DAYS, Gate, LAST, Past, Rank};
use nearlight_proof::porc::schedule::CPU;
use nearlight_proof::porc::score::stands_for_mib;
use nearlight_protocol::checker::NO_CLASS;
use nearlight_protocol::id::NodeId;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Rounds of a node that are kept in memory: the last that count, and some that are not certain.
const ROUNDS_MAX: usize = LAST * 4;

/// How much memory receipts stand for, by GPU as receipts name it, MiB.
pub(crate) type Memory = BTreeMap<String, u32>;

/// What placement is told of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Proven {
    /// Thousandths, 0 while it is not proven; `None` where nobody checks nodes.
    pub(crate) rank: Option<u32>,
    /// Whether it takes no more sessions until it passes.
    pub(crate) failing: bool,
    /// What its last verdict says that it can do, if that is a pass.
    pub(crate) score: Option<Scored>,
    /// Whether nobody could check it: no checker's table has its class.
    pub(crate) is_unchecked: bool,
    /// How much memory it was shown to have; `None` of one of which nothing is known, as of a GPU that is not in it.
    pub(crate) memory: Option<Arc<Memory>>,
}

/// The rank of a node that nobody could check, thousandths: placed behind whoever was, and not held to the sessions of one
/// that could be and was not.
const UNCHECKED: u32 = 1;

/// What a node was measured to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scored {
    /// Thousandths of its class: the least of its GPUs.
    pub(crate) permille: u32,
    /// Where a receipt that says so stands.
    pub(crate) receipt: Option<u64>,
}

impl Proven {
    /// Of a node that nobody could check.
    pub(super) fn unchecked() -> Self {
        Self {
            rank: Some(UNCHECKED),
            is_unchecked: true,
            ..Self::default()
        }
    }

    pub(super) fn of(rank: Rank, score: Option<Scored>, memory: Memory) -> Self {
        Self {
            score,
            rank: Some(match rank.gate {
                Gate::Unproven => 0,
                Gate::Proven | Gate::Failing => rank.permille,
            }),
            failing: matches!(rank.gate, Gate::Failing),
            is_unchecked: false,
            memory: (!memory.is_empty()).then(|| Arc::new(memory)),
        }
    }
}

/// Every node's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranks {
    /// Whether anybody checks nodes: otherwise no rank helps or harms.
    is_counted: bool,
    of: HashMap<NodeId, Proven>,
}

impl Ranks {
    pub(super) const fn counted(of: HashMap<NodeId, Proven>) -> Self {
        Self {
            is_counted: true,
            of,
        }
    }

    /// Whether anybody checks nodes.
    pub(crate) const fn is_counted(&self) -> bool {
        self.is_counted
    }

    /// A node's. One of which no key is known is not proven.
    pub(crate) fn of(&self, node: &NodeId) -> Proven {
        let unproven = || Proven {
            rank: self.is_counted.then_some(0),
            ..Proven::default()
        };
        self.of.get(node).cloned().unwrap_or_else(unproven)
    }
}

/// The verdicts that may count, by the nodes' keys.
#[derive(Debug, Default)]
pub(super) struct Known {
    rev: u64,
    /// Of each node its rounds, by number and GPU.
    nodes: HashMap<String, BTreeMap<(u64, String), VerdictRow>>,
}

impl Known {
    /// Up to where the log was gone through for what is known.
    pub(super) const fn rev(&self) -> u64 {
        self.rev
    }

    pub(super) fn take(&mut self, new: NewVerdicts) {
        for row in new.rows {
            let rounds = self.nodes.entry(row.of.node.clone()).or_default();
            rounds.insert((row.of.round, row.of.gpu.clone()), row);
            while rounds.len() > ROUNDS_MAX * of_one_round(rounds) {
                rounds.pop_first();
            }
        }
        self.rev = new.next;
    }

    /// Rounds in which checkers contradict each other, of receipts issued since then.
    pub(super) fn splits(&self, since_s: u64) -> Vec<RoundOf> {
        let rounds = self.nodes.values().flat_map(BTreeMap::values);
        let splits = rounds.filter(|row| row.state == "split" && row.at_s >= since_s);
        splits.map(|row| row.of.clone()).collect()
    }

    /// The rounds of a node, of all keys that it has had: a new one sheds nothing.
    fn rounds<'a>(&'a self, keys: &'a [String]) -> impl Iterator<Item = &'a VerdictRow> + Clone {
        let rounds = keys.iter().filter_map(|key| self.nodes.get(key));
        rounds.flat_map(BTreeMap::values)
    }

    /// Whether anything certain is known of it.
    pub(super) fn is_checked(&self, keys: &[String]) -> bool {
        let mut rounds = self.rounds(keys);
        rounds.any(|row| matches!(row.finding.as_str(), "pass" | "fail"))
    }

    pub(super) fn rank(&self, keys: &[String], now_s: u64) -> Rank {
        Rank::of(&pasts(self.rounds(keys)), now_s)
    }

    /// What a node's newest round that is certain says, if that is of the days that count.
    pub(super) fn score(&self, keys: &[String], now_s: u64) -> Option<Scored> {
        let certain = |row: &&VerdictRow| matches!(row.finding.as_str(), "pass" | "fail");
        let rounds = self.rounds(keys).filter(certain);
        let newest = rounds.clone().max_by_key(|row| row.at_s)?;
        let of_it = rounds;
        let of_it = of_it.filter(|row| row.of.round == newest.of.round);
        let worst = of_it.min_by_key(|row| (row.finding == "pass", row.score_permille))?;
        let counts = worst.finding == "pass" && newest.at_s + DAYS * 24 * 3600 > now_s;
        counts.then(|| Scored {
            permille: worst.score_permille,
            receipt: worst.places.first().copied(),
        })
    }
}

impl Known {
    /// How much memory each GPU of a node was shown to have: by the newest round of the days that count that it passed.
    pub(super) fn memory(&self, keys: &[String], now_s: u64) -> Memory {
        let counts = |row: &&VerdictRow| {
            row.finding == "pass" && row.of.gpu != CPU && row.at_s + DAYS * 24 * 3600 > now_s
        };
        let mut newest: BTreeMap<&str, (u64, u32)> = BTreeMap::new();
        for row in self.rounds(keys).filter(counts) {
            let Some(blocks) = row.blocks else {
                continue;
            };
            let of = newest.entry(&row.of.gpu).or_default();
            // Not by when it was over: a dispute ends an old round late.
            *of = (*of).max((row.of.round, blocks));
        }
        let mib = |blocks| u32::try_from(stands_for_mib(blocks)).unwrap_or(u32::MAX);
        let newest = newest.into_iter();
        newest
            .map(|(gpu, (_, blocks))| (gpu.to_owned(), mib(blocks)))
            .collect()
    }
}

/// Whether nobody could check a node, by the assignments of its capacity, newest first: of the newest round in which all have
/// said what they had to each one says that its table has no such class, and they are as many as a committee has. One who
/// says so alone changes nothing.
pub(super) fn nobody_could(newest_first: &[AssignmentRow], committee: usize) -> bool {
    let is_due = |row: &&AssignmentRow| row.state == AssignmentState::Due;
    let under_way: Vec<u64> = newest_first
        .iter()
        .filter(is_due)
        .map(|row| row.round)
        .collect();
    let mut settled = newest_first
        .iter()
        .filter(|row| !under_way.contains(&row.round));
    let Some(newest) = settled.clone().next().map(|row| row.round) else {
        return false;
    };
    let of_it = settled.clone().filter(|row| row.round == newest);
    let checkers: BTreeSet<&str> = of_it.map(|row| row.checker.as_str()).collect();
    let says_so =
        |row: &AssignmentRow| row.state == AssignmentState::Missed && row.why.starts_with(NO_CLASS);
    checkers.len() >= committee && settled.all(|row| row.round != newest || says_so(row))
}

/// GPUs of the newest round.
fn of_one_round(rounds: &BTreeMap<(u64, String), VerdictRow>) -> usize {
    let newest = rounds.last_key_value().map(|((round, _), _)| *round);
    let of_newest = rounds.keys().filter(|(round, _)| Some(*round) == newest);
    of_newest.count().max(1)
}

/// What counts, newest first. Of several GPUs in one round all have to pass, and the least score counts.
fn pasts<'a>(rounds: impl Iterator<Item = &'a VerdictRow>) -> Vec<Past> {
    let mut by_round: BTreeMap<u64, Past> = BTreeMap::new();
    let certain = rounds.filter(|row| matches!(row.finding.as_str(), "pass" | "fail"));
    for row in certain {
        let passed = row.finding == "pass";
        let past = by_round.entry(row.of.round).or_insert(Past {
            at_s: row.at_s,
            passed: true,
            score_permille: u32::MAX,
        });
        past.at_s = past.at_s.max(row.at_s);
        past.passed &= passed;
        past.score_permille = past.score_permille.min(row.score_permille);
    }
    let mut pasts: Vec<Past> = by_round.into_values().collect();
    pasts.sort_by_key(|past| std::cmp::Reverse(past.at_s));
    pasts
}

#[cfg(test)]
mod test {
    use super::*;

    const NOW_S: u64 = 1_800_000_000;

    fn row(round: u64, gpu: &str, finding: &str, score_permille: u32) -> VerdictRow {
        VerdictRow {
            of: RoundOf {
                node: "n".to_owned(),
                round,
                gpu: gpu.to_owned(),
            },
            state: String::new(),
            finding: finding.to_owned(),
            score_permille,
            at_s: NOW_S + round,
            places: Vec::new(),
            liars: Vec::new(),
            ground: String::new(),
            blocks: None,
        }
    }

    fn of(key: &str) -> Vec<String> {
        vec![key.to_owned()]
    }

    #[test]
    fn a_node_is_unchecked_once_a_whole_committee_has_no_class_for_it() {
        let row = |round, checker: &str, state, why: &str| AssignmentRow {
            round,
            node_key: "n".to_owned(),
            node: nearlight_kit::ids::node(),
            duty: "capacity/GPU-1".to_owned(),
            checker: checker.to_owned(),
            place: 0,
            due_ms: 1,
            until_ms: 2,
            state,
            why: why.to_owned(),
            leaf: String::new(),
            session: None,
        };
        use AssignmentState::{Done, Due, Missed};
        let no = format!("{NO_CLASS} `Some GPU`");
        let all = |round| -> Vec<AssignmentRow> {
            let of = ["a", "b", "c", "d", "e"];
            of.map(|key| row(round, key, Missed, &no)).to_vec()
        };
        assert!(nobody_could(&all(7), 3));
        assert!(!nobody_could(&all(7)[..2], 3), "too few");
        assert!(!nobody_could(&[], 1), "nobody was asked");
        let mut one = all(7);
        one[2].why = "it is busy".to_owned();
        assert!(!nobody_could(&one, 3), "one that could, and did not");
        one[2] = row(7, "c", Done, "");
        assert!(!nobody_could(&one, 3), "one that did");
        // A round that is under way changes nothing yet; a newer one that is over does.
        let mut newer = vec![row(8, "a", Due, "")];
        newer.extend(all(7));
        assert!(nobody_could(&newer, 3));
        newer[0] = row(8, "a", Done, "");
        assert!(!nobody_could(&newer, 3));
        let unchecked = Proven::unchecked();
        assert_eq!((unchecked.rank, unchecked.failing), (Some(1), false));
    }

    /// Who deletes its key has all that it did with it still.
    #[test]
    fn a_new_key_sheds_no_failure() {
        let mut known = Known::default();
        let mut rows = vec![row(1, "cpu", "fail", 0), row(2, "cpu", "fail", 0)];
        let (next, told_s) = (1, 0);
        let take = |known: &mut Known, rows| known.take(NewVerdicts { next, told_s, rows });
        take(&mut known, rows.clone());
        let both = ["n".to_owned(), "new".to_owned()];
        assert!(Proven::of(known.rank(&both, NOW_S), None, Memory::new()).failing);
        assert!(!Proven::of(known.rank(&both[1..], NOW_S), None, Memory::new()).failing);
        // A pass with the new one is a pass of the node's, with its failures behind it.
        rows = vec![row(3, "cpu", "pass", 1_000)];
        rows[0].of.node = "new".to_owned();
        take(&mut known, rows);
        let (alone, both_now) = (known.rank(&both[1..], NOW_S), known.rank(&both, NOW_S));
        assert!(!Proven::of(both_now, None, Memory::new()).failing);
        assert!(both_now.permille <= alone.permille);
        let score = known.score(&both, NOW_S);
        assert_eq!(score.map(|of| of.permille), Some(1_000));
    }

    #[test]
    fn a_gpu_has_as_much_memory_as_the_newest_round_that_it_passed_stands_for() {
        let mut known = Known::default();
        let of_blocks = |round, gpu: &str, finding: &str, blocks| VerdictRow {
            blocks,
            ..row(round, gpu, finding, 900)
        };
        // 850 MiB that are filled stand for 1,000.
        let rows = vec![
            of_blocks(1, "GPU-a", "pass", Some(2 * 850 * 16)),
            of_blocks(2, "GPU-a", "pass", Some(850 * 16)),
            of_blocks(3, "GPU-a", "fail", Some(7 * 850 * 16)),
            of_blocks(2, "GPU-b", "pass", Some(850 * 16 - 1)),
            of_blocks(2, "GPU-c", "pass", None),
            // An old round of a larger card, which a referee settled since.
            VerdictRow {
                at_s: NOW_S + 99,
                ..of_blocks(0, "GPU-a", "pass", Some(9 * 850 * 16))
            },
            of_blocks(2, "cpu", "pass", Some(850 * 16)),
        ];
        let (next, told_s) = (1, 0);
        known.take(NewVerdicts { next, told_s, rows });
        let shown: Memory = [("GPU-a", 1_000), ("GPU-b", 999)]
            .map(|(gpu, mib)| (gpu.to_owned(), mib))
            .into();
        assert_eq!(known.memory(&of("n"), NOW_S), shown);
        let later_s = NOW_S + 31 * 24 * 3600;
        assert_eq!(known.memory(&of("n"), later_s), Memory::new());
    }

    fn rank(rows: Vec<VerdictRow>) -> Proven {
        let mut known = Known::default();
        let next = 1;
        known.take(NewVerdicts {
            next,
            told_s: 0,
            rows,
        });
        assert_eq!(known.rev(), 1);
        Proven::of(known.rank(&of("n"), NOW_S), None, Memory::new())
    }

    fn proven(permille: u32) -> Proven {
        Proven {
            rank: Some(permille),
            ..Proven::default()
        }
    }

    #[test]
    fn a_node_without_receipts_is_unproven_only_where_somebody_checks() {
        let node = nearlight_kit::ids::node();
        assert_eq!(Ranks::default().of(&node), Proven::default());
        let counted = Ranks::counted(HashMap::new());
        assert_eq!(counted.of(&node), proven(0));
        assert_eq!(rank(Vec::new()), proven(0));
        assert_eq!(rank(vec![row(1, "cpu", "inconclusive", 0)]), proven(0));
        assert_eq!(rank(vec![row(1, "cpu", "fail", 0)]), proven(0));
    }

    #[test]
    fn all_gpus_of_a_round_are_one_verdict() {
        let both = vec![row(1, "a", "pass", 1_000), row(1, "b", "pass", 900)];
        assert_eq!(rank(both), proven(200));
        let one = vec![
            row(1, "a", "pass", 1_000),
            row(2, "a", "fail", 0),
            row(2, "b", "pass", 1_000),
        ];
        assert_eq!(rank(one).rank, Some(194), "7 * 1000 * 30 / 1080");
    }

    /// The last verdict counts, the worst of its GPUs, and nothing that is no pass or too old.
    #[test]
    fn a_score_is_that_of_the_last_verdict() {
        let score = |rows: Vec<VerdictRow>, now_s| {
            let mut known = Known::default();
            known.take(NewVerdicts {
                next: 1,
                told_s: 0,
                rows,
            });
            known
                .score(&of("n"), now_s)
                .map(|of| (of.permille, of.receipt))
        };
        let mut last = row(2, "a", "pass", 1_100);
        last.places = vec![41, 42];
        let rows = vec![row(1, "a", "fail", 0), last, row(2, "b", "pass", 1_200)];
        assert_eq!(score(rows.clone(), NOW_S), Some((1_100, Some(41))));
        let late_s = NOW_S + 2 + DAYS * 24 * 3600;
        assert_eq!(score(rows.clone(), late_s - 1), Some((1_100, Some(41))));
        assert_eq!(score(rows.clone(), late_s), None, "too old");
        let with = |more: VerdictRow| score([rows.clone(), vec![more]].concat(), NOW_S);
        assert_eq!(with(row(3, "a", "fail", 0)), None);
        assert_eq!(with(row(2, "c", "fail", 0)), None, "all GPUs have to pass");
        assert_eq!(
            with(row(3, "a", "inconclusive", 0)),
            Some((1_100, Some(41)))
        );
        assert_eq!(score(Vec::new(), NOW_S), None);
    }

    #[test]
    fn what_is_new_replaces_what_was_and_old_rounds_go() {
        let mut known = Known::default();
        let take = |known: &mut Known, rows| {
            known.take(NewVerdicts {
                next: 1,
                told_s: 0,
                rows,
            })
        };
        take(
            &mut known,
            vec![row(1, "cpu", "fail", 0), row(2, "cpu", "fail", 0)],
        );
        assert!(Proven::of(known.rank(&of("n"), NOW_S), None, Memory::new()).failing);
        // A dispute was won.
        take(&mut known, vec![row(2, "cpu", "pass", 1_000)]);
        assert_eq!(
            Proven::of(known.rank(&of("n"), NOW_S), None, Memory::new()),
            proven(222)
        );
        let many = (3..200).map(|round| row(round, "cpu", "pass", 1_000));
        take(&mut known, many.collect());
        assert_eq!(known.nodes["n"].len(), ROUNDS_MAX);
        assert_eq!(
            Proven::of(known.rank(&of("n"), NOW_S), None, Memory::new()),
            proven(1_000)
        );
    }
}
