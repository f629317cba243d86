//! What tenants have outside: credentials for registries, and endpoints with what they are told.

use super::*;
use nearlight_protocol::webhook::{DeliveryState, NoticeType};

fn owner() -> OwnerId {
    OwnerId::of(None, &nearlight_kit::ids::user())
}

fn outside(change: OutsideChange) -> Op {
    Op::Outside {
        change,
        audit: None,
    }
}

fn put(owner: &OwnerId, registry: &str, most: u32) -> Op {
    outside(OutsideChange::PutRegistry {
        owner: owner.clone(),
        row: RegistryRow {
            registry: registry.to_owned(),
            username: "ci".to_owned(),
            sealed: Sealed("sealed".to_owned()),
            created_ms: 5,
        },
        most,
    })
}

pub(super) async fn a_registry_stays_guarded_when_its_credential_goes(place: Place) {
    let store = Store::open(place).await;
    let (one, other) = (owner(), owner());
    let known = async |who: &OwnerId| {
        let known = store.ledger.registry(who.clone(), "a.example".to_owned());
        let known = known.await.unwrap();
        (known.login.is_some(), known.is_guarded)
    };
    assert_eq!(known(&one).await, (false, false));
    assert_eq!(store.write(put(&one, "a.example", 1)).await, Applied::Done);
    assert_eq!(store.write(put(&one, "a.example", 1)).await, Applied::Done);
    assert_eq!(
        store.write(put(&one, "b.example", 1)).await,
        Applied::QuotaUsedUp
    );
    assert_eq!(known(&one).await, (true, true));
    assert_eq!(known(&other).await, (false, true));
    assert_eq!(
        store.write(put(&other, "a.example", 1)).await,
        Applied::Done
    );
    assert_eq!(known(&other).await, (true, true));
    let remove = || {
        outside(OutsideChange::RemoveRegistry {
            owner: one.clone(),
            registry: "a.example".to_owned(),
        })
    };
    assert_eq!(store.write(remove()).await, Applied::Done);
    assert_eq!(store.write(remove()).await, Applied::Missing);
    assert_eq!(known(&one).await, (false, true));
    assert_eq!(known(&other).await, (true, true));
    assert_eq!(store.ledger.registries(one).await.unwrap(), []);
    let rows = store.ledger.registries(other).await.unwrap();
    assert_eq!(rows[0].username, "ci");
}

fn notice(owner: &OwnerId, id: &str, at_ms: u64) -> Op {
    Op::Notify(Box::new(Notice {
        id: id.to_owned(),
        owner: owner.clone(),
        session: None,
        kind: NoticeType::Test,
        body: "{}".to_owned(),
        at_ms,
    }))
}

fn add(owner: &OwnerId) -> Op {
    outside(OutsideChange::AddWebhook {
        owner: owner.clone(),
        url: "https://example.org/".to_owned(),
        sealed: Sealed("first".to_owned()),
        at_ms: 1,
    })
}

fn lease(id: &str, attempts: u32, holder: &str, until_ms: u64) -> Op {
    outside(OutsideChange::Lease {
        delivery: id.to_owned(),
        attempts,
        holder: holder.parse().unwrap(),
        until_ms,
    })
}

fn settle(id: &str, attempts: u32, state: DeliveryState, next_ms: u64) -> Op {
    outside(OutsideChange::Settle {
        delivery: id.to_owned(),
        attempts,
        state,
        next_ms,
        problem: "why".to_owned(),
    })
}

async fn due(store: &Store, now_ms: u64, of_owner: u32) -> Vec<String> {
    let due = store.ledger.due_deliveries(now_ms, of_owner, 100).await;
    due.unwrap().into_iter().map(|due| due.row.id).collect()
}

pub(super) async fn a_notice_is_leased_by_one_until_it_is_settled(place: Place) {
    let store = Store::open(place).await;
    let (one, nobody) = (owner(), owner());
    store.write(notice(&nobody, "msg_0", 1)).await;
    assert_eq!(due(&store, 9, 4).await, [""; 0], "nobody listens");
    assert_eq!(store.write(add(&one)).await, Applied::Done);
    assert_eq!(store.write(add(&one)).await, Applied::NameTaken);
    store.write(notice(&one, "msg_1", 10)).await;
    assert_eq!(due(&store, 9, 4).await, [""; 0], "not yet");
    assert_eq!(due(&store, 10, 4).await, ["msg_1"]);

    assert_eq!(store.write(lease("msg_1", 0, "b", 50)).await, Applied::Done);
    assert_eq!(
        store.write(lease("msg_1", 0, "c", 50)).await,
        Applied::RaceLost
    );
    assert_eq!(due(&store, 49, 4).await, [""; 0], "another broker's");
    assert_eq!(due(&store, 50, 4).await, ["msg_1"], "which was killed");
    // The next one has it; what the first one says of it counts no more.
    assert_eq!(store.write(lease("msg_1", 1, "c", 90)).await, Applied::Done);
    let late = settle("msg_1", 1, DeliveryState::Delivered, 0);
    assert_eq!(store.write(late).await, Applied::RaceLost);
    let again = settle("msg_1", 2, DeliveryState::Waiting, 70);
    assert_eq!(store.write(again).await, Applied::Done);
    assert_eq!(due(&store, 69, 4).await, [""; 0]);
    let rows = store.ledger.deliveries(one.clone(), 9).await.unwrap();
    assert_eq!((rows[0].attempts, &*rows[0].problem), (2, "why"));
    assert_eq!(store.write(lease("msg_1", 2, "c", 99)).await, Applied::Done);
    let done = settle("msg_1", 3, DeliveryState::Delivered, 0);
    assert_eq!(store.write(done).await, Applied::Done);
    assert_eq!(due(&store, 999, 4).await, [""; 0]);
    assert_eq!(
        store.write(lease("msg_1", 3, "c", 99)).await,
        Applied::RaceLost
    );

    store.write(notice(&one, "msg_2", 10)).await;
    let rotate = OutsideChange::RotateWebhook {
        owner: one.clone(),
        sealed: Sealed("second".to_owned()),
        former_until_ms: 77,
    };
    assert_eq!(store.write(outside(rotate)).await, Applied::Done);
    let row = store.ledger.webhook(one.clone()).await.unwrap().unwrap();
    assert_eq!(row.former, Some((Sealed("first".to_owned()), 77)));
    assert_eq!((row.waiting, row.lost), (1, 0));
    let remove = OutsideChange::RemoveWebhook { owner: one.clone() };
    assert_eq!(store.write(outside(remove.clone())).await, Applied::Done);
    assert_eq!(store.write(outside(remove)).await, Applied::Missing);
    assert_eq!(due(&store, 999, 4).await, [""; 0]);
    let rows = store.ledger.deliveries(one, 9).await.unwrap();
    let states: Vec<_> = rows.iter().map(|row| row.state).collect();
    assert!(states.contains(&DeliveryState::Dropped), "{rows:?}");
}

pub(super) async fn one_owner_never_has_all_that_is_due(place: Place) {
    let store = Store::open(place).await;
    let (dead, other) = (owner(), owner());
    store.write(add(&dead)).await;
    store.write(add(&other)).await;
    let most = NOTICES_WAITING_MAX as usize;
    let many: Vec<Op> = (0..most)
        .map(|n| notice(&dead, &format!("msg_{n}"), 1))
        .collect();
    store.ledger.write(many).await.unwrap();
    // Past the bound they are counted.
    let past = (0..3).map(|n| notice(&dead, &format!("msg_past_{n}"), 1));
    store.ledger.write(past.collect()).await.unwrap();
    store.write(notice(&other, "msg_other", 2)).await;
    let found = due(&store, 5, 4).await;
    assert_eq!(found.len(), 5, "{found:?}");
    assert!(found.contains(&"msg_other".to_owned()));
    let row = store.ledger.webhook(dead).await.unwrap().unwrap();
    assert_eq!((row.waiting as usize, row.lost), (most, 3));
}

pub(super) async fn owners_whose_endpoints_fail_are_counted_apart(place: Place) {
    let store = Store::open(place).await;
    let failing: Vec<OwnerId> = (0..8).map(|_| owner()).collect();
    for (nth, dead) in failing.iter().enumerate() {
        store.write(add(dead)).await;
        for n in 0..6 {
            store
                .write(notice(dead, &format!("msg_{nth}_{n}"), 1))
                .await;
        }
        let tried = format!("msg_{nth}_0");
        store.write(lease(&tried, 0, "b", 5)).await;
        store
            .write(settle(&tried, 1, DeliveryState::Waiting, 5))
            .await;
    }
    let other = owner();
    store.write(add(&other)).await;
    store.write(notice(&other, "msg_other", 50)).await;
    let due = store.ledger.due_deliveries(99, 4, 3).await.unwrap();
    let told: Vec<_> = due.iter().map(|due| due.is_failing).collect();
    assert_eq!(told, [false, true, true, true], "{due:?}");
    assert_eq!(due[0].row.id, "msg_other");
    // Once it takes what it gets, it counts as the others do.
    store.write(lease("msg_0_0", 1, "b", 100)).await;
    let done = settle("msg_0_0", 2, DeliveryState::Delivered, 0);
    store.write(done).await;
    let due = store.ledger.due_deliveries(99, 4, 9).await.unwrap();
    let good = due.iter().filter(|due| !due.is_failing);
    assert_eq!(good.count(), 5, "{due:?}");
}
