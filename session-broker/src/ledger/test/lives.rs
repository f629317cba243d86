//! Sessions from their creation until they are swept.

use super::*;
use std::sync::Arc;

pub(super) async fn an_idempotency_key_stands_for_one_session_of_one_body(place: Place) {
    let store = Store::open(place).await;
    let first = session();
    assert_eq!(
        store.write(create(&first, "k", Some(2))).await,
        Applied::Done
    );
    let mut again = session();
    again.user.clone_from(&first.user);
    let replayed = Applied::Replayed { session: first.id };
    assert_eq!(store.write(create(&again, "k", Some(2))).await, replayed);
    let mut other = create(&again, "k", Some(2));
    if let Op::CreateSession { idempotency, .. } = &mut other {
        idempotency.body_hash = [1; 32];
    }
    assert_eq!(store.write(other).await, Applied::KeyReused);
    assert_eq!(
        store.write(create(&again, "k2", Some(2))).await,
        Applied::Done
    );
}

pub(super) async fn a_quota_is_taken_with_the_session_and_given_back(place: Place) {
    let store = Store::open(place).await;
    let row = |user: &UserId| SessionRow {
        user: user.clone(),
        ..session()
    };
    let user = nearlight_kit::ids::user();
    for key in ["a", "b"] {
        assert_eq!(
            store.write(create(&row(&user), key, Some(2))).await,
            Applied::Done
        );
    }
    assert_eq!(
        store.write(create(&row(&user), "c", Some(2))).await,
        Applied::QuotaUsedUp
    );
    assert_eq!(
        store.loaded().await.sessions.len(),
        2,
        "the refused one is not there"
    );
    store
        .write(Op::ReturnQuota {
            session: session().id,
            user: user.clone(),
            tenant: None,
        })
        .await;
    assert_eq!(
        store.write(create(&row(&user), "c", Some(2))).await,
        Applied::Done,
        "nor is its key"
    );
}

pub(super) async fn i3_an_acked_reserve_is_visible_after_a_reopen(place: Place) {
    let store = Store::open(place).await;
    let node = store.node(1, 64_000).await;
    let session = store.session().await;
    let reserve = reserve(&node, 0, &session);
    assert!(ordered(&store.write(op(&reserve)).await));
    let store = store.reopen().await;
    let loaded = store.loaded().await;
    let Phase::Placing { held, .. } = &loaded.sessions[0].phase else {
        panic!("not placing: {:?}", loaded.sessions[0].phase);
    };
    assert_eq!(held.claim, reserve.claim);
    let slot = &loaded.nodes[0].slots[&reserve.claim.slot];
    assert_eq!(slot.epoch, reserve.claim.epoch);
    assert_eq!(slot.held_by.as_ref().unwrap().session, session.id);
    assert_eq!(
        loaded.outbox.len(),
        1,
        "the order goes out again until it is acked"
    );
    assert_eq!(loaded.outbox[0].order, reserve.order);
}

pub(super) async fn every_phase_is_read_back_as_it_was_written(place: Place) {
    let store = Store::open(place).await;
    let node = store.node(1, 64_000).await;
    let row = store.session().await;
    let reserve = reserve(&node, 0, &row);
    let epoch = reserve.claim.epoch;
    let attachment = nearlight_kit::ids::attachment();
    let mut life = Lifecycle::new(limits());
    let reason = EndReason::AppCrashed;
    let detail = "signal 11".to_owned();
    let named = attachment.clone();
    for event in [
        Event::Claimed(reserve.claim.clone()),
        Event::StartAcked { epoch },
        Event::NodeReady { epoch },
        Event::Attached { epoch, attachment },
        Event::Detached {
            epoch,
            attachment: named,
        },
        Event::EndRequested { reason },
        Event::NodeEnded {
            epoch,
            reason,
            detail,
        },
    ] {
        life.handle(MonoTime(3_000), event);
        let save = Op::SavePhase {
            session: row.id.clone(),
            phase: life.phase().clone(),
            starts_denied: 1,
            at: MonoTime(3_000),
        };
        store.write(save).await;
        let read = store.loaded().await.sessions.remove(0);
        assert_eq!(
            std::mem::discriminant(&read.phase),
            std::mem::discriminant(life.phase()),
            "{:?}",
            read.phase
        );
        let read_life = Lifecycle::restore(limits(), read.phase, read.starts_denied);
        let claim = |life: &Lifecycle| life.held().map(|held| held.claim.clone());
        assert_eq!(claim(&read_life), claim(&life));
        assert_eq!(read.node, Some(node.id.clone()));
    }
    let ended = store.loaded().await.sessions.remove(0).phase;
    assert_eq!(ended, *life.phase());
}

pub(super) async fn i5_usage_is_from_the_acked_start_to_the_acked_stop(place: Place) {
    let store = Store::open(place).await;
    let node = store.node(1, 64_000).await;
    let session = store.session().await;
    let claim = reserve(&node, 0, &session).claim;
    let begin = |ms: u64| Op::BeginUsage {
        session: session.id.clone(),
        claim: claim.clone(),
        bill: usage::bill(&session),
        at: MonoTime(ms * 1000),
    };
    let end = |ms: u64| Op::Release {
        session: session.id.clone(),
        claim: claim.clone(),
        billed_until: MonoTime(ms * 1000),
        at: MonoTime(ms * 1000),
    };
    store.write(begin(5)).await;
    store.write(begin(6)).await;
    let store = store.reopen().await;
    let open = store.ledger.usage(session.id.clone()).await.unwrap();
    assert_eq!(
        (open[0].began_ms, open[0].ended_ms),
        (5, None),
        "not lost, not doubled"
    );
    store.write(end(9)).await;
    store.write(end(10)).await;
    let closed = store.ledger.usage(session.id.clone()).await.unwrap();
    assert_eq!((closed.len(), closed[0].ended_ms), (1, Some(9)));
}

pub(super) async fn what_ended_long_ago_is_swept_in_batches_and_the_rest_stays(place: Place) {
    let store = Store::open(place).await;
    let node = store.node(1, 64_000).await;
    let live = store.session().await;
    let mut ended = Vec::new();
    for n in 1..=5 {
        let session = store.session().await;
        let phase = Phase::Ended {
            reason: EndReason::PlayerEnded,
            detail: String::new(),
        };
        let at = MonoTime(n * 1_000_000);
        if n == 1 {
            let node = store.ledger.node(node.id.clone()).await.unwrap().unwrap();
            let held = reserve(&node, 0, &session);
            assert!(ordered(&store.write(op(&held)).await));
            let (session, claim) = (session.id.clone(), held.claim);
            let billed_until = at;
            let release = Op::Release {
                session,
                claim,
                billed_until,
                at,
            };
            store.write(release).await;
        }
        let save = Op::SavePhase {
            session: session.id.clone(),
            phase,
            starts_denied: 0,
            at,
        };
        store.write(save).await;
        let n = u8::try_from(n).unwrap();
        let link = link(&session.id, n, 9_000);
        let add = Op::AddWatchLink { link, links_max: 1 };
        store.write(add).await;
        ended.push(session.id);
    }
    let sweep = || Op::SweepEnded {
        before: MonoTime(4_500_000),
        sessions_max: 3,
    };
    let left = async || -> Vec<SessionId> {
        let sessions = store.loaded().await.sessions;
        sessions.into_iter().map(|row| row.id).collect()
    };
    let removed = |rows, oldest_left| Applied::Removed { rows, oldest_left };
    let swept = store.write(sweep()).await;
    assert_eq!(swept, removed(3, Some(MonoTime(4_000_000))));
    let mut expected = vec![live.id.clone(), ended[3].clone(), ended[4].clone()];
    expected.sort();
    assert_eq!(
        left().await,
        expected,
        "the oldest first, and no more than asked"
    );
    assert_eq!(store.ledger.watch_link([1; 32]).await.unwrap(), None);
    assert!(store.ledger.watch_link([4; 32]).await.unwrap().is_some());
    assert_eq!(store.write(sweep()).await, removed(1, None));
    assert_eq!(store.write(sweep()).await, removed(0, None));
    let mut expected = vec![live.id, ended[4].clone()];
    expected.sort();
    assert_eq!(left().await, expected, "one ended too lately");
    // The slot's epochs go on from where they were.
    let node = store.ledger.node(node.id).await.unwrap().unwrap();
    assert_eq!(node.slots.values().next().unwrap().epoch, Epoch(1));
}

pub(super) async fn upkeep_goes_on_at_once_while_more_is_due(place: Place) {
    let store = Store::open(place).await;
    let (sessions, mut ops) = (2 * crate::upkeep::SESSIONS_MAX + 1, Vec::new());
    for _ in 0..sessions {
        let row = session();
        ops.push(create(&row, "k", None));
        ops.push(Op::SavePhase {
            session: row.id,
            phase: Phase::Ended {
                reason: EndReason::PlayerEnded,
                detail: String::new(),
            },
            starts_denied: 0,
            at: MonoTime(1_000_000),
        });
    }
    store.ledger.write(ops).await.unwrap();
    let mut beside = store.place.connect().await;
    let mut left = async || {
        let count =
            "SELECT (SELECT COUNT(*) FROM session) + (SELECT COUNT(*) FROM idempotency) AS n";
        let row = sqlx::query(count).fetch_one(&mut beside).await.unwrap();
        sqlx::Row::get::<i64, _>(&row, "n")
    };
    assert_eq!(left().await, 2 * i64::from(sessions));
    let upkeep = crate::upkeep::Upkeep {
        ledger: Arc::new(store.ledger),
        peers: None,
        clock: Clock::start(),
        retain_ms: Some(0),
    };
    upkeep.look(true).await.unwrap();
    assert_eq!(left().await, 0);
}
