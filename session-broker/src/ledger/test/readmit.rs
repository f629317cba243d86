//! What of a ledger that has lost rows comes back from grants, and what stays away.

use super::*;
use nearlight_protocol::grant::{GrantRow, GrantWork};
use nearlight_session::lifecycle::{Held, Link, Run};

const GRANTED_MS: u64 = 5_000;

/// A session that runs in the node's slot number `slot` under `epoch`, as its grant has it.
pub(super) fn lost(node: &NodeRow, slot: usize, epoch: u64) -> Readmit {
    let row = session();
    let app = row.app().unwrap();
    let work = GrantWork::App {
        app: app.id.clone(),
        edition: edition_of(app).unwrap(),
        display: DisplayMode::default(),
        keyboard_layout: "us".to_owned(),
    };
    let claim = Claim {
        node: node.id.clone(),
        slot: node.slots.keys().nth(slot).unwrap().clone(),
        epoch: Epoch(epoch),
    };
    let granted_at = MonoTime(GRANTED_MS * 1000);
    Readmit {
        session: row.id.clone(),
        user: row.user.clone(),
        row: GrantRow {
            tenant: None,
            work,
            created_ms: 4_000,
            cpu_milli: 1000,
            mem_mib: 100,
            kbps: 4000,
            disk_mib: 0,
            gpus: 0,
        },
        gpus: Vec::new(),
        bill: usage::bill(&row),
        phase: Phase::Ready {
            run: Run {
                held: Held {
                    claim: claim.clone(),
                    link: Link::Up,
                },
                ready_at: granted_at,
                input_at: granted_at,
                warned_of: None,
            },
        },
        claim,
        granted_at,
        stop: Order::Stop {
            session: row.id,
            reason: EndReason::Internal,
        },
        at: MonoTime(9_000_000),
    }
}

pub(super) fn readmit(lost: &Readmit) -> Op {
    Op::Readmit(Box::new(lost.clone()))
}

/// Over, and swept long after.
async fn end_and_sweep(store: &Store, session: &SessionId, claim: &Claim) {
    let at = MonoTime(10_000_000);
    let ended = Phase::Ended {
        reason: EndReason::PlayerEnded,
        detail: String::new(),
    };
    let ops = vec![
        Op::Release {
            session: session.clone(),
            claim: claim.clone(),
            billed_until: at,
            at,
        },
        Op::SavePhase {
            session: session.clone(),
            phase: ended,
            starts_denied: 0,
            at,
        },
        Op::SweepEnded {
            before: MonoTime(11_000_000),
            sessions_max: 10,
        },
    ];
    store.ledger.write(ops).await.unwrap();
    assert_eq!(store.ledger.session(session.clone()).await.unwrap(), None);
}

async fn node_of(store: &Store, node: &NodeRow) -> NodeRow {
    store.ledger.node(node.id.clone()).await.unwrap().unwrap()
}

/// It is to be stopped, and nothing of it is left.
async fn stays_away(store: &Store, lost: &Readmit) {
    let before = store.ledger.node(lost.claim.node.clone()).await.unwrap();
    let used = store.ledger.usage(lost.session.clone()).await.unwrap();
    let applied = store.write(readmit(lost)).await;
    assert!(ordered(&applied), "{applied:?}");
    let after = store.ledger.node(lost.claim.node.clone()).await.unwrap();
    assert_eq!(after, before);
    let id = lost.session.clone();
    assert_eq!(store.ledger.session(id.clone()).await.unwrap(), None);
    assert_eq!(
        store.ledger.usage(id.clone()).await.unwrap(),
        used,
        "none is new"
    );
    let orders = store.loaded().await.outbox;
    let stop = orders.iter().find(|order| order.session == id).unwrap();
    assert_eq!(stop.order, lost.stop);
}

pub(super) async fn a_session_that_the_ledger_lost_is_back_with_all_that_it_holds(place: Place) {
    let store = Store::open(place).await;
    store.session().await;
    let node = store.node(2, 2_000).await;
    let lost = lost(&node, 0, 7);
    assert_eq!(store.write(readmit(&lost)).await, Applied::Done);
    let (row, _) = store
        .ledger
        .session(lost.session.clone())
        .await
        .unwrap()
        .unwrap();
    assert_eq!((&row.user, &row.work), (&lost.user, &session().work));
    assert_eq!(row.created_at, MonoTime(4_000_000));
    assert!(matches!(&row.phase, Phase::Ready { run } if run.held.claim == lost.claim));
    let node = node_of(&store, &node).await;
    let slot = &node.slots[&lost.claim.slot];
    assert_eq!(slot.epoch, Epoch(7));
    assert_eq!(slot.held_by.as_ref().unwrap().session, lost.session);
    assert_eq!(node.capacity.cpu_milli_free, 1_000);
    let usage = store.ledger.usage(lost.session.clone()).await.unwrap();
    assert_eq!(usage.len(), 1);
    assert_eq!(usage[0].began_ms, GRANTED_MS);
    let another = SessionRow {
        user: lost.user.clone(),
        ..session()
    };
    let create = store.write(create(&another, "l", Some(1))).await;
    assert_eq!(create, Applied::QuotaUsedUp);
    let next = store.write(op(&reserve(&node, 0, &store.session().await)));
    assert_eq!(next.await, Applied::RaceLost, "I1: its slot is taken");
    stays_away_with(&store, &node, &lost).await;
}

/// Shown again, by a node whose stream broke: it is there, and no second one of its slot comes.
async fn stays_away_with(store: &Store, node: &NodeRow, held: &Readmit) {
    let again = store.write(readmit(held)).await;
    assert!(ordered(&again), "{again:?}");
    assert_eq!(node_of(store, node).await, *node);
    stays_away(store, &lost(node, 0, 8)).await;
}

pub(super) async fn what_was_claimed_ended_and_swept_does_not_come_back(place: Place) {
    let store = Store::open(place).await;
    let node = store.node(1, 64_000).await;
    let over = store.session().await;
    let held = reserve(&node, 0, &over);
    assert!(ordered(&store.write(op(&held)).await));
    end_and_sweep(&store, &over.id, &held.claim).await;
    let shown = lost(&node, 0, held.claim.epoch.0);
    // As a node that lies would have it: its journal says no more than the ledger knows.
    let (slot, epoch) = (shown.claim.slot.clone(), shown.claim.epoch);
    store.write(Op::RaiseEpoch { slot, epoch }).await;
    stays_away(&store, &shown).await;
}

pub(super) async fn an_epoch_that_only_a_node_has_shown_comes_back_once(place: Place) {
    let store = Store::open(place).await;
    store.session().await;
    let node = store.node(1, 64_000).await;
    let newest = lost(&node, 0, 5);
    let slot = newest.claim.slot.clone();
    let epoch = Epoch(5);
    store.write(Op::RaiseEpoch { slot, epoch }).await;
    stays_away(&store, &lost(&node, 0, 4)).await;
    assert_eq!(store.write(readmit(&newest)).await, Applied::Done);
    end_and_sweep(&store, &newest.session, &newest.claim).await;
    stays_away(&store, &newest).await;
}

pub(super) async fn what_has_no_room_or_no_edition_does_not_come_back(place: Place) {
    let store = Store::open(place).await;
    let node = store.node(2, 1_500).await;
    let mut unknown = lost(&node, 0, 1);
    stays_away(&store, &unknown).await;
    store.session().await;
    unknown.row.cpu_milli = 1_501;
    stays_away(&store, &unknown).await;
    let group = [lost(&node, 0, 1), lost(&node, 1, 1)];
    let applied = store.ledger.write(group.iter().map(readmit).collect());
    let applied = applied.await.unwrap();
    assert_eq!(applied[0], Applied::Done);
    assert!(ordered(&applied[1]), "I1: one fits: {applied:?}");
}

pub(super) async fn i5_usage_before_a_session_that_is_back_ends_with_its_grant(place: Place) {
    let store = Store::open(place).await;
    let node = store.node(1, 64_000).await;
    let before = store.session().await;
    let held = reserve(&node, 0, &before);
    let begin = Op::BeginUsage {
        session: before.id.clone(),
        claim: held.claim.clone(),
        bill: usage::bill(&before),
        at: MonoTime(2_000_000),
    };
    let release = Op::Release {
        session: before.id.clone(),
        claim: held.claim.clone(),
        billed_until: MonoTime(9_000_000),
        at: MonoTime(9_000_000),
    };
    let ops = vec![op(&held), begin, release, readmit(&lost(&node, 0, 2))];
    let applied = store.ledger.write(ops).await.unwrap();
    assert_eq!(applied[3], Applied::Done);
    let usage = store.ledger.usage(before.id).await.unwrap();
    assert_eq!(usage[0].ended_ms, Some(GRANTED_MS));
}
