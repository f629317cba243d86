//! Which changes of a group may be made in one statement.
//!
//! A group is what many callers want at once, each a list of changes in order. Changes that touch the
//! same thing keep their order; all others do not care. So each gets a level: one above the highest
//! of the earlier ones with which it shares a thing. Within a level nothing is touched twice, and all
//! changes of a kind are one statement.
//!
//! **Invariant.** Carrying out the levels in turn has the outcome of carrying out the changes one by
//! one in the order of the group. One liberty: a place that is given back to a quota may serve a
//! session that was asked for a moment earlier, in the same group.

use super::{Op, Reserve};
use std::collections::HashMap;

/// Where a change stands: the list, and its place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    pub(super) list: usize,
    pub(super) op: usize,
}

/// What a change touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Thing<'a> {
    Session(&'a str),
    Node(&'a str),
    Slot(&'a str),
    Key(&'a str, &'a str),
    Quota(&'a str),
    Ticket(&'a str),
    Credential(&'a [u8; 32]),
}

/// The changes of a group by level.
pub(super) fn levels<'a>(group: &[&'a [Op]]) -> Vec<Vec<(At, &'a Op)>> {
    let mut levels: Vec<Vec<(At, &'a Op)>> = Vec::new();
    let mut last: HashMap<Thing<'a>, usize> = HashMap::new();
    // What comes after a change that touches everything comes after its level.
    let mut floor = 0;
    for (list, ops) in group.iter().enumerate() {
        for (op, change) in ops.iter().enumerate() {
            let level = if touches_everything(change) {
                floor = levels.len() + 1;
                levels.len()
            } else {
                let (things, beside) = (things(change), beside(change));
                let after = things.iter().filter_map(|thing| last.get(thing)).max();
                let with = beside.as_ref().and_then(|thing| last.get(thing));
                let level = after.map_or(0, |level| level + 1).max(floor);
                let level = level.max(with.copied().unwrap_or_default());
                for thing in things.into_iter().chain(beside) {
                    last.insert(thing, level);
                }
                level
            };
            if levels.len() <= level {
                levels.resize_with(level + 1, Vec::new);
            }
            levels[level].push((At { list, op }, change));
        }
    }
    levels
}

fn touches_everything(op: &Op) -> bool {
    matches!(op, Op::SweepEnded { .. } | Op::Prune { .. })
}

/// What changes of one level may touch together, for their statement keeps their order.
fn beside(op: &Op) -> Option<Thing<'_>> {
    match op {
        Op::CreateSession { row, .. } => Some(Thing::Quota(row.user.as_str())),
        _ => None,
    }
}

fn things(op: &Op) -> Vec<Thing<'_>> {
    match op {
        Op::CreateSession {
            row, idempotency, ..
        } => vec![
            Thing::Session(row.id.as_str()),
            Thing::Key(row.user.as_str(), &idempotency.key),
        ],
        Op::Reserve(reserve) => things_of(reserve),
        Op::Release { session, claim, .. } => vec![
            Thing::Session(session.as_str()),
            Thing::Node(claim.node.as_str()),
            Thing::Slot(claim.slot.as_str()),
        ],
        Op::SavePhase { session, .. }
        | Op::BeginUsage { session, .. }
        | Op::OrderStop { session, .. }
        | Op::RevokeWatchLink { session, .. } => vec![Thing::Session(session.as_str())],
        Op::AddWatchLink { link, .. } => vec![
            Thing::Session(link.session.as_str()),
            Thing::Credential(&link.hash),
        ],
        Op::SaveNode {
            node, inventory, ..
        } => {
            let slots = inventory.slots.iter().map(|s| Thing::Slot(s.id.as_str()));
            std::iter::once(Thing::Node(node.as_str()))
                .chain(slots)
                .collect()
        }
        Op::RaiseEpoch { slot, .. } => vec![Thing::Slot(slot.as_str())],
        Op::SpendTicket { ticket, .. } => vec![Thing::Ticket(ticket)],
        Op::AddCredential { credential, .. } => vec![Thing::Credential(&credential.hash)],
        // Sums, deletions by number and times of which the last is as good as the first.
        Op::ReturnQuota { .. }
        | Op::Acked { .. }
        | Op::SeenNodes { .. }
        | Op::SweepEnded { .. }
        | Op::Prune { .. } => Vec::new(),
    }
}

fn things_of(reserve: &Reserve) -> Vec<Thing<'_>> {
    vec![
        Thing::Session(reserve.session.as_str()),
        Thing::Node(reserve.claim.node.as_str()),
        Thing::Slot(reserve.claim.slot.as_str()),
    ]
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_protocol::id::{SessionId, SlotId};
    use nearlight_protocol::unit::MonoTime;
    use nearlight_session::Epoch;

    fn stop(session: u64) -> Op {
        Op::RevokeWatchLink {
            session: SessionId::from_parts(session, [0; 10]),
            link: nearlight_kit::ids::watch_link(),
            at: MonoTime(0),
        }
    }

    fn raise(slot: u64) -> Op {
        Op::RaiseEpoch {
            slot: SlotId::from_parts(slot, [0; 10]),
            epoch: Epoch(1),
        }
    }

    fn shape(group: &[&[Op]]) -> Vec<Vec<(usize, usize)>> {
        let levels = levels(group);
        let of = |level: &Vec<(At, &Op)>| level.iter().map(|(at, _)| (at.list, at.op)).collect();
        levels.iter().map(of).collect()
    }

    #[test]
    fn what_shares_nothing_is_one_level() {
        let (a, b) = ([stop(1), raise(1)], [stop(2)]);
        assert_eq!(shape(&[&a, &b]), [[(0, 0), (0, 1), (1, 0)].to_vec()]);
    }

    #[test]
    fn what_shares_a_thing_keeps_its_order() {
        let (a, b) = ([stop(1), stop(2)], [stop(1), stop(1)]);
        let expected = [
            [(0, 0), (0, 1)].to_vec(),
            [(1, 0)].to_vec(),
            [(1, 1)].to_vec(),
        ];
        assert_eq!(shape(&[&a, &b]), expected);
    }

    #[test]
    fn a_sweep_stands_between_what_came_before_and_what_comes_after() {
        let sweep = || Op::Prune {
            before: MonoTime(0),
        };
        let a = [stop(1), stop(1), sweep(), stop(2)];
        let expected = [
            [(0, 0)].to_vec(),
            [(0, 1)].to_vec(),
            [(0, 2)].to_vec(),
            [(0, 3)].to_vec(),
        ];
        assert_eq!(shape(&[&a]), expected);
    }
}
