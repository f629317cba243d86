//! Which changes of a group may be made in one statement.
//!
//! A group is what many callers want at once, each a list of changes in order. Changes that touch the
//! same thing keep their order; all others do not care. So each gets a level. Within a level all changes
//! of a kind are one statement, and the kinds follow each other in the order of [`rank`]: two changes of
//! one thing share a level if their kinds come in their order, or if their kind's statement can carry
//! several changes of that thing ([`Thing::is_shared`]). Otherwise the later one is a level higher.
//!
//! **Invariant.** Carrying out the levels in turn has the outcome of carrying out the changes one by
//! one in the order of the group. One liberty: a place that is given back to a quota, and what a session of a tenant
//! had that ends, may serve a session that was asked for a moment earlier, in the same group.

use super::{Idempotency, IdentityChange, Op, Readmit, Reserve, SessionRow};
use nearlight_session::lifecycle::Phase;
use std::collections::HashMap;

/// Where a change stands: the list, and its place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct At {
    pub(super) list: usize,
    pub(super) op: usize,
}

impl At {
    /// The change before it in its list.
    pub(super) fn before(self) -> Option<Self> {
        let op = self.op.checked_sub(1)?;
        Some(Self { op, ..self })
    }
}

/// What a change touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Thing<'a> {
    /// A session's row.
    Session(&'a str),
    /// Its usage.
    Usage(&'a str),
    /// Its orders.
    Orders(&'a str),
    /// Its watch links.
    Links(&'a str),
    /// What a node can carry.
    Node(&'a str),
    Slot(&'a str),
    Key(&'a str, &'a str),
    Quota(&'a str),
    /// What the live sessions of tenants have together, and may have.
    Sums,
    Ticket(&'a str),
    Credential(&'a [u8; 32]),
    /// What was decided about a node.
    Standing(&'a str),
    /// Tenants, keys, players and the audit log.
    Identity,
    /// Apps and their versions.
    Apps,
    /// Rate cards.
    Rates,
    Volume(&'a str),
    /// What tenants have outside.
    Outside,
    /// The log of receipts.
    Log,
}

impl Thing<'_> {
    /// Whether one statement of the same kind carries several changes of it, in their order.
    fn is_shared(self, op: &Op) -> bool {
        match (self, op) {
            (Self::Quota(_) | Self::Sums, Op::CreateSession { .. })
            | (Self::Node(_), Op::Reserve(_) | Op::Release { .. })
            | (Self::Session(_), Op::SavePhase { .. })
            | (Self::Usage(_), Op::BeginUsage { .. })
            | (Self::Rates, Op::PutRateCard { .. })
            | (Self::Identity | Self::Sums, Op::Identity { .. })
            | (Self::Apps, Op::App { .. })
            | (Self::Outside, Op::Outside { .. } | Op::Notify(_))
            | (Self::Log, Op::Log { .. } | Op::Check { .. })
            // One by one.
            | (_, Op::Readmit(_) | Op::ReserveCluster(_)) => true,
            (_, _) => false,
        }
    }
}

/// The order of the kinds within a level: that of [`super::batch`].
fn rank(op: &Op) -> u8 {
    match op {
        Op::ReturnQuota { .. } => 0,
        Op::SavePhase { phase, .. } if is_over(phase) => 0,
        Op::CreateSession { .. } => 1,
        Op::GiveSession { .. } => 2,
        Op::SetEdition { .. } => 3,
        Op::HoldNode { .. } => 4,
        Op::SaveNode { .. } => 5,
        Op::RaiseEpoch { .. } => 6,
        Op::SeenNodes { .. } => 7,
        Op::Release { .. } => 8,
        Op::Reserve(_) => 9,
        Op::SavePhase { .. } => 10,
        Op::BeginUsage { .. } => 11,
        Op::OrderStop { .. } => 12,
        Op::Acked { .. } => 13,
        Op::SpendTicket { .. } => 14,
        Op::AddCredential { .. } => 15,
        Op::Identity { .. } => 16,
        Op::App { .. } => 17,
        Op::AddWatchLink { .. } => 18,
        Op::RevokeWatchLink { .. } => 19,
        Op::AddJoinToken { .. } => 20,
        Op::RedeemJoinToken { .. } => 21,
        Op::DrainNode { .. } => 22,
        Op::RevokeNode { .. } => 23,
        Op::NoteSave { .. } => 24,
        Op::VetNode { .. } => 25,
        Op::ForgetSecrets { .. } => 26,
        Op::SetBudget { .. } => 27,
        Op::PutRateCard { .. } => 28,
        Op::DeleteVolume { .. } => 29,
        Op::NoteVolumes { .. } => 30,
        Op::Readmit(_) => 31,
        Op::Outside { .. } => 32,
        Op::Notify(_) => 33,
        Op::CountMove { .. } => 34,
        Op::ReserveCluster(_) => 35,
        Op::NoteUsed { .. } => 36,
        Op::Log { .. } => 37,
        Op::Check { .. } => 38,
        Op::SweepEnded { .. } | Op::Prune { .. } | Op::SeizeBroker { .. } => 255,
    }
}

/// The changes of a group by level.
pub(super) fn levels<'a>(group: &[&'a [Op]]) -> Vec<Vec<(At, &'a Op)>> {
    let mut levels: Vec<Vec<(At, &'a Op)>> = Vec::new();
    // The highest level at which a thing was touched, and the kind that did it.
    let mut last: HashMap<Thing<'a>, (usize, u8)> = HashMap::new();
    // What comes after a change that touches everything comes after its level.
    let mut floor = 0;
    for (list, ops) in group.iter().enumerate() {
        for (op, change) in ops.iter().enumerate() {
            let (rank, things) = (rank(change), things(change));
            let level = if touches_everything(change) {
                floor = levels.len() + 1;
                levels.len()
            } else {
                let least = |thing: &Thing<'a>| match last.get(thing) {
                    None => 0,
                    // The liberty: else a session that ends would wait for every one that was asked for before.
                    Some(_) if *thing == Thing::Sums && gives_back(change) => 0,
                    Some((level, by)) if *by < rank => *level,
                    Some((level, by)) if *by == rank && thing.is_shared(change) => *level,
                    Some((level, _)) => level + 1,
                };
                things.iter().map(least).max().unwrap_or(0).max(floor)
            };
            for thing in things {
                let now = (level, rank);
                let last = last.entry(thing).or_insert(now);
                *last = now.max(*last);
            }
            if levels.len() <= level {
                levels.resize_with(level + 1, Vec::new);
            }
            levels[level].push((At { list, op }, change));
        }
    }
    levels
}

fn touches_everything(op: &Op) -> bool {
    matches!(
        op,
        Op::SweepEnded { .. } | Op::Prune { .. } | Op::SeizeBroker { .. }
    )
}

fn is_over(phase: &Phase) -> bool {
    matches!(phase, Phase::Ended { .. })
}

/// Whether a tenant may have more afterwards, and never less.
fn gives_back(op: &Op) -> bool {
    matches!(op, Op::SavePhase { .. })
}

fn things(op: &Op) -> Vec<Thing<'_>> {
    match op {
        Op::SavePhase { session, phase, .. } if is_over(phase) => {
            vec![Thing::Session(session.as_str()), Thing::Sums]
        }
        Op::CreateSession {
            row, idempotency, ..
        } => things_of_new(row, idempotency),
        Op::Reserve(reserve) => things_of_claim(reserve),
        Op::ReserveCluster(cluster) => {
            let reserves = cluster.reserves.iter();
            reserves.flat_map(things_of_claim).collect()
        }
        Op::Readmit(readmit) => things_of_readmission(readmit),
        Op::Release { session, claim, .. } => vec![
            Thing::Usage(session.as_str()),
            Thing::Orders(session.as_str()),
            Thing::Node(claim.node.as_str()),
            Thing::Slot(claim.slot.as_str()),
        ],
        Op::SavePhase { session, .. }
        | Op::ForgetSecrets { session }
        | Op::CountMove { session }
        | Op::SetBudget { session, .. }
        | Op::GiveSession { session, .. }
        | Op::SetEdition { session, .. } => vec![Thing::Session(session.as_str())],
        Op::HoldNode { node, .. } => vec![Thing::Node(node.as_str())],
        Op::BeginUsage { session, .. } | Op::NoteUsed { session, .. } => {
            vec![Thing::Usage(session.as_str())]
        }
        Op::OrderStop { session, .. } => vec![Thing::Orders(session.as_str())],
        Op::RevokeWatchLink { session, .. } => vec![Thing::Links(session.as_str())],
        Op::AddWatchLink { link, .. } => vec![
            Thing::Links(link.session.as_str()),
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
        Op::NoteVolumes { node, .. } => vec![Thing::Node(node.as_str())],
        Op::DeleteVolume { volume, .. } => vec![Thing::Volume(volume.as_str())],
        Op::RaiseEpoch { slot, .. } => vec![Thing::Slot(slot.as_str())],
        Op::SpendTicket { ticket, .. } => vec![Thing::Ticket(ticket)],
        Op::AddJoinToken { token } => vec![Thing::Credential(&token.hash)],
        Op::RedeemJoinToken { hash, by, .. } => {
            vec![Thing::Credential(hash), Thing::Standing(by.node.as_str())]
        }
        // Whether there is such a node depends on whether it was saved.
        Op::DrainNode { node, .. } | Op::RevokeNode { node, .. } | Op::VetNode { node, .. } => {
            vec![Thing::Standing(node.as_str()), Thing::Node(node.as_str())]
        }
        Op::AddCredential { credential, .. } => vec![Thing::Credential(&credential.hash)],
        Op::Identity {
            change: IdentityChange::AddTenant(_) | IdentityChange::SetTenant { .. },
            ..
        } => vec![Thing::Identity, Thing::Sums],
        Op::Identity { .. } => vec![Thing::Identity],
        Op::App { .. } => vec![Thing::Apps],
        Op::PutRateCard { .. } => vec![Thing::Rates],
        Op::Outside { .. } | Op::Notify(_) => vec![Thing::Outside],
        Op::Log { .. } => vec![Thing::Log],
        // It changes the directory, and API keys.
        Op::Check { .. } => vec![Thing::Log, Thing::Identity],
        // Sums, deletions by number and times of which the last is as good as the first.
        Op::ReturnQuota { .. }
        | Op::Acked { .. }
        | Op::SeenNodes { .. }
        | Op::NoteSave { .. }
        | Op::SweepEnded { .. }
        | Op::Prune { .. }
        | Op::SeizeBroker { .. } => Vec::new(),
    }
}

fn things_of_claim(reserve: &Reserve) -> Vec<Thing<'_>> {
    let volumes = reserve.volumes.iter();
    [
        Thing::Session(reserve.session.as_str()),
        Thing::Orders(reserve.session.as_str()),
        Thing::Node(reserve.claim.node.as_str()),
        Thing::Slot(reserve.claim.slot.as_str()),
    ]
    .into_iter()
    .chain(volumes.map(|volume| Thing::Volume(volume.id.as_str())))
    .collect()
}

fn things_of_readmission(readmit: &Readmit) -> Vec<Thing<'_>> {
    let tenant = readmit.row.tenant.iter();
    [
        Thing::Session(readmit.session.as_str()),
        Thing::Usage(readmit.session.as_str()),
        Thing::Orders(readmit.session.as_str()),
        Thing::Node(readmit.claim.node.as_str()),
        Thing::Slot(readmit.claim.slot.as_str()),
        Thing::Quota(readmit.user.as_str()),
    ]
    .into_iter()
    .chain(tenant.map(|tenant| Thing::Quota(tenant.as_str())))
    .collect()
}

fn things_of_new<'a>(row: &'a SessionRow, idempotency: &'a Idempotency) -> Vec<Thing<'a>> {
    let tenant = row.tenant.iter();
    [
        Thing::Session(row.id.as_str()),
        Thing::Key(row.user.as_str(), &idempotency.key),
        Thing::Quota(row.user.as_str()),
    ]
    .into_iter()
    .chain(tenant.flat_map(|tenant| [Thing::Quota(tenant.as_str()), Thing::Sums]))
    .collect()
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
    fn kinds_that_come_in_their_order_share_a_level() {
        let row = || Op::OrderStop {
            session: SessionId::from_parts(1, [0; 10]),
            node: nearlight_kit::ids::node(),
            epoch: Epoch(1),
            order: nearlight_protocol::control::Order::Stop {
                session: SessionId::from_parts(1, [0; 10]),
                reason: nearlight_protocol::api::EndReason::Internal,
            },
            at: MonoTime(0),
        };
        let release = || Op::Release {
            session: SessionId::from_parts(1, [0; 10]),
            claim: nearlight_session::Claim {
                node: nearlight_kit::ids::node(),
                slot: nearlight_kit::ids::slot(),
                epoch: Epoch(1),
            },
            billed_until: MonoTime(0),
            at: MonoTime(0),
        };
        let in_order = [release(), row()];
        assert_eq!(shape(&[&in_order]), [[(0, 0), (0, 1)].to_vec()]);
        let out_of_order = [row(), release()];
        let expected = [[(0, 0)].to_vec(), [(0, 1)].to_vec()];
        assert_eq!(shape(&[&out_of_order]), expected);
    }

    #[test]
    fn a_sweep_stands_between_what_came_before_and_what_comes_after() {
        let sweep = || Op::SweepEnded {
            before: MonoTime(0),
            sessions_max: 1,
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
