//! Who checks whom in a round, and who stands in for whom: nothing but what the round's value and the set of
//! checkers say.

use crate::ledger::{AssignmentRow, AssignmentState};
use nearlight_proof::key::KeyId;
use nearlight_proof::porc::committee::{self, Candidate, STAND_INS};
use nearlight_proof::porc::schedule::{self, CPU, Due, Duty, Round};
use nearlight_protocol::id::NodeId;
use std::collections::BTreeSet;

/// A node that is attached.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) node: NodeId,
    pub(super) key: KeyId,
    pub(super) operator: String,
    /// What of it is probed, by the node's own ids.
    pub(super) gpus: Vec<String>,
    /// Whether a probe of its capacity is due in the round.
    pub(super) capacity_is_due: bool,
    /// Whether it has apps of players running.
    pub(super) renders: bool,
}

impl Target {
    /// What a duty is about: the node once, but what it can do of each GPU.
    fn dues(&self, duty: Duty) -> Vec<Due> {
        let due = |gpu: &str| Due {
            duty,
            gpu: gpu.to_owned(),
        };
        match duty {
            Duty::Alive | Duty::Stream => vec![due(CPU)],
            Duty::Capacity => self.gpus.iter().map(|gpu| due(gpu)).collect(),
        }
    }
}

/// Times of a round, Unix milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// When it began.
    pub(super) began_ms: u64,
    /// For how long a checker may ask whether a node is there.
    pub(super) alive_ms: u64,
    /// For how long it may probe.
    pub(super) capacity_ms: u64,
    /// For how long it may play, and say what came of it.
    pub(super) stream_ms: u64,
}

impl Times {
    pub(super) const fn of(self, duty: Duty) -> u64 {
        match duty {
            Duty::Alive => self.alive_ms,
            Duty::Capacity => self.capacity_ms,
            Duty::Stream => self.stream_ms,
        }
    }
}

/// Whom a round has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Present<'a> {
    /// The set.
    pub(super) set: &'a [committee::Checker],
    /// Those of it that play streams; `None` where streams are not checked.
    pub(super) players: Option<&'a BTreeSet<KeyId>>,
    /// How many a check of capacity takes.
    pub(super) committee: usize,
}

/// What is due in a round.
pub(super) fn plan(
    round: &Round,
    times: Times,
    targets: &[Target],
    present: Present<'_>,
) -> Vec<AssignmentRow> {
    let mut rows = Vec::new();
    for target in targets {
        let ranked = ranked(round, target, present.set);
        let mut duties = vec![Duty::Alive];
        if target.capacity_is_due {
            duties.push(Duty::Capacity);
        }
        let streams = present.players.is_some();
        if streams && schedule::stream_is_due(round, &target.key, target.renders) {
            duties.push(Duty::Stream);
        }
        for duty in duties {
            let may = |key: &KeyId| {
                let players = present.players.filter(|_| duty == Duty::Stream);
                players.is_none_or(|players| players.contains(key))
            };
            let able = (0_u32..).zip(&ranked).filter(|(_, key)| may(key));
            let chosen: Vec<(u32, &KeyId)> = able.take(duty.checkers(present.committee)).collect();
            for due in target.dues(duty) {
                for (place, checker) in &chosen {
                    rows.push(AssignmentRow {
                        round: round.number,
                        node_key: target.key.to_string(),
                        node: target.node.clone(),
                        duty: due.name(),
                        checker: checker.to_string(),
                        place: *place,
                        due_ms: times.began_ms,
                        until_ms: times.began_ms + times.of(duty),
                        state: AssignmentState::Due,
                        why: String::new(),
                        leaf: String::new(),
                        session: None,
                    });
                }
            }
        }
    }
    rows
}

/// Who does what another one missed: the next in the round's order that still `counts`, of those who have a seat in it;
/// of a stream, where nobody has a seat, of all. `others` are all rows of the round.
pub(super) fn stand_in(
    missed: &AssignmentRow,
    others: &[AssignmentRow],
    (order, counts): (&[KeyId], impl Fn(&KeyId) -> bool),
    (now_ms, window_ms, committee): (u64, u64, usize),
) -> Option<AssignmentRow> {
    let duty = Due::of_name(&missed.duty)?.duty;
    let same: Vec<&AssignmentRow> = others
        .iter()
        .filter(|row| row.node_key == missed.node_key && row.duty == missed.duty)
        .collect();
    let most = duty.checkers(committee) + STAND_INS;
    let has = |key: &KeyId| same.iter().any(|row| row.checker == key.to_string());
    let seated = match duty {
        Duty::Alive | Duty::Capacity => most,
        Duty::Stream if same.len() < most => order.len(),
        Duty::Stream => 0,
    };
    let mut seats = (0_u32..).zip(order).take(seated);
    let (place, next) = seats.find(|(_, key)| !has(key) && counts(key))?;
    Some(AssignmentRow {
        checker: next.to_string(),
        place,
        due_ms: now_ms,
        until_ms: now_ms + window_ms,
        state: AssignmentState::Due,
        why: String::new(),
        leaf: String::new(),
        session: None,
        ..missed.clone()
    })
}

/// All checkers that may check a node in a round, first the one that goes first.
pub(super) fn ranked(round: &Round, target: &Target, set: &[committee::Checker]) -> Vec<KeyId> {
    let candidate = Candidate {
        key: target.key,
        operator: target.operator.clone(),
    };
    let ranked = committee::assign(&round.value, &candidate, set, set.len());
    ranked.into_iter().map(|checker| checker.key).collect()
}

#[cfg(test)]
mod test {
    use super::*;

    fn checker(n: u8, operator: &str) -> committee::Checker {
        committee::Checker {
            key: KeyId([n; 32]),
            operator: operator.to_owned(),
        }
    }

    fn target(capacity_is_due: bool) -> Target {
        Target {
            node: nearlight_kit::ids::node(),
            key: KeyId([77; 32]),
            operator: "south".to_owned(),
            gpus: vec![CPU.to_owned()],
            capacity_is_due,
            renders: false,
        }
    }

    fn present(set: &[committee::Checker]) -> Present<'_> {
        Present {
            set,
            players: None,
            committee: 3,
        }
    }

    const TIMES: Times = Times {
        began_ms: 5_000,
        alive_ms: 60_000,
        capacity_ms: 900_000,
        stream_ms: 120_000,
    };

    fn round() -> Round {
        Round {
            number: 9,
            value: [3; 32],
            a_day: 1440,
        }
    }

    #[test]
    fn a_node_that_is_due_has_a_committee_and_never_its_own_operator() {
        let set: Vec<committee::Checker> = (1..=5)
            .map(|n| checker(n, if n == 5 { "south" } else { "north" }))
            .collect();
        let new = plan(&round(), TIMES, &[target(true)], present(&set));
        let duties: Vec<(&str, u32)> = new.iter().map(|r| (r.duty.as_str(), r.place)).collect();
        assert_eq!(
            duties,
            [
                ("alive", 0),
                ("capacity", 0),
                ("capacity", 1),
                ("capacity", 2)
            ]
        );
        let own = KeyId([5; 32]).to_string();
        assert!(new.iter().all(|row| row.checker != own));
        assert_eq!((new[0].until_ms, new[1].until_ms), (65_000, 905_000));
        let known = plan(&round(), TIMES, &[target(false)], present(&set));
        assert_eq!(known.len(), 1, "nothing but whether it is there");
    }

    #[test]
    fn all_gpus_of_a_node_are_due_at_once_to_one_committee() {
        let set: Vec<committee::Checker> = (1..=5).map(|n| checker(n, "north")).collect();
        let both = Target {
            gpus: vec!["GPU-1".to_owned(), "GPU-2".to_owned()],
            ..target(true)
        };
        let rows = plan(&round(), TIMES, &[both], present(&set));
        let of = |duty: &str| -> Vec<&str> {
            let rows = rows.iter().filter(|row| row.duty == duty);
            rows.map(|row| row.checker.as_str()).collect()
        };
        assert_eq!(
            rows.len(),
            7,
            "one asks whether it is there, three probe each GPU"
        );
        assert_eq!((of("alive").len(), of("capacity/GPU-1").len()), (1, 3));
        assert_eq!(of("capacity/GPU-1"), of("capacity/GPU-2"));
        let order: Vec<KeyId> = set.iter().map(|of| of.key).collect();
        let missed = rows
            .iter()
            .find(|row| row.duty == "capacity/GPU-2")
            .unwrap();
        let all = (order.as_slice(), |_: &KeyId| true);
        let next = stand_in(missed, &rows, all, (0, 1, 3)).unwrap();
        assert_eq!(next.duty, "capacity/GPU-2");
        assert!(!of("capacity/GPU-2").contains(&next.checker.as_str()));
    }

    /// Who cannot play is passed over, in the plan and by those who stand in; and it is no seat that is passed over.
    #[test]
    fn a_stream_is_played_by_one_who_can_as_long_as_players_have_it() {
        let set: Vec<committee::Checker> = (1..=8).map(|n| checker(n, "north")).collect();
        let node = Target {
            renders: true,
            ..target(false)
        };
        let order = ranked(&round(), &node, &set);
        let players = BTreeSet::from([order[2], order[5], order[6], order[7]]);
        let able = Present {
            players: Some(&players),
            ..present(&set)
        };
        let duties = |rows: &[AssignmentRow]| -> Vec<String> {
            rows.iter().map(|row| row.duty.clone()).collect()
        };
        let mut rows = plan(&round(), TIMES, std::slice::from_ref(&node), able);
        assert_eq!(duties(&rows), ["alive", "stream"]);
        rows.remove(0);
        assert_eq!(
            (rows[0].checker.clone(), rows[0].place, rows[0].until_ms),
            (order[2].to_string(), 2, 125_000)
        );
        let can = (order.as_slice(), |key: &KeyId| players.contains(key));
        for place in [5, 6] {
            let next = stand_in(&rows[0], &rows, can, (70_000, 60_000, 3)).unwrap();
            assert_eq!(
                (next.checker.clone(), next.place),
                (order[place].to_string(), place as u32)
            );
            rows.push(next);
        }
        assert_eq!(
            stand_in(&rows[0], &rows, can, (70_000, 60_000, 3)),
            None,
            "two at most"
        );

        let idle = plan(&round(), TIMES, &[target(false)], able);
        assert_eq!(duties(&idle), ["alive"], "nobody has its stream");
        let none = Present {
            players: Some(&BTreeSet::new()),
            ..present(&set)
        };
        let rows = plan(&round(), TIMES, std::slice::from_ref(&node), none);
        assert_eq!(duties(&rows), ["alive"], "nobody can play");
        let rows = plan(&round(), TIMES, &[node], present(&set));
        assert_eq!(duties(&rows), ["alive"], "streams are not checked");
    }

    #[test]
    fn one_that_misses_is_stood_in_for_in_the_rounds_order_and_not_without_end() {
        let set: Vec<committee::Checker> = (1..=8).map(|n| checker(n, "north")).collect();
        let node = target(false);
        let order = ranked(&round(), &node, &set);
        let mut rows = plan(&round(), TIMES, &[node], present(&set));
        for expected in 1..=2 {
            let missed = rows[0].clone();
            let all = (order.as_slice(), |_: &KeyId| true);
            let next = stand_in(&missed, &rows, all, (70_000, 60_000, 3)).unwrap();
            assert_eq!(next.checker, order[expected].to_string());
            assert_eq!(
                (next.place as usize, next.due_ms, next.until_ms),
                (expected, 70_000, 130_000)
            );
            rows.push(next);
        }
        let missed = rows[0].clone();
        let times = (70_000, 60_000, 3);
        let all = (order.as_slice(), |_: &KeyId| true);
        assert_eq!(stand_in(&missed, &rows, all, times), None);
        let one = (&order[..1], |_: &KeyId| true);
        assert_eq!(
            stand_in(&missed, &rows[..1], one, times),
            None,
            "nobody is left"
        );
        // Who was shut out since is passed over; its seat is nobody else's, so that anyone knows who has one.
        let shut_out = order[1];
        let rest = (order.as_slice(), |key: &KeyId| *key != shut_out);
        let next = stand_in(&missed, &rows[..1], rest, times).unwrap();
        assert_eq!((next.checker, next.place), (order[2].to_string(), 2));
        rows[1].checker = order[2].to_string();
        assert_eq!(stand_in(&missed, &rows[..2], rest, times), None);
    }
}
