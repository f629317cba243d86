//! Claims: of slots, CPU, memory and uplink.

use super::*;

pub(super) async fn i1_a_slot_is_never_booked_twice_however_many_try_at_once(place: Place) {
    let store = Store::open(place).await;
    let node = store.node(1, 64_000).await;
    let mut tries = Vec::new();
    for _ in 0..40 {
        let session = store.session().await;
        tries.push(store.ledger.write(vec![op(&reserve(&node, 0, &session))]));
    }
    let outcomes = futures_util::future::join_all(tries).await;
    let won = outcomes.iter().filter(|o| ordered(&o.as_ref().unwrap()[0]));
    assert_eq!(won.count(), 1);
    let placed = store.loaded().await.sessions;
    let placed = placed.iter().filter(|s| s.phase != Phase::Queued);
    assert_eq!(placed.count(), 1, "the others wait on");
}

pub(super) async fn i1_claims_never_exceed_a_nodes_capacity(place: Place) {
    let store = Store::open(place).await;
    let mut node = store.node(3, 2_500).await;
    for slot in 0..3 {
        let session = store.session().await;
        let mut reserve = reserve(&node, slot, &session);
        reserve.capacity_rev = node.capacity.rev;
        let applied = store.write(op(&reserve)).await;
        assert_eq!(ordered(&applied), slot < 2, "{applied:?}");
        node = store.ledger.node(node.id.clone()).await.unwrap().unwrap();
    }
    assert_eq!(node.capacity.cpu_milli_free, 500);
}

pub(super) async fn i1_claims_never_exceed_a_nodes_uplink(place: Place) {
    let store = Store::open(place).await;
    let mut node = store.node(3, 64_000).await;
    let known = Inventory {
        uplink_kbps: Some(10_000),
        ..node.inventory.clone()
    };
    let save = Op::SaveNode {
        node: node.id.clone(),
        name: "n".to_owned(),
        region: "r".to_owned(),
        build: "b".to_owned(),
        inventory: Box::new(known),
        at: MonoTime(0),
    };
    store.write(save).await;
    for slot in 0..3 {
        node = store.ledger.node(node.id.clone()).await.unwrap().unwrap();
        let session = store.session().await;
        let applied = store.write(op(&reserve(&node, slot, &session))).await;
        assert_eq!(ordered(&applied), slot < 2, "{applied:?}");
    }
    assert_eq!(node.capacity.uplink_kbps_free, Some(2_000));
}

pub(super) async fn i1_an_old_epoch_an_old_revision_and_an_unlisted_slot_lose_the_race(
    place: Place,
) {
    let store = Store::open(place).await;
    let node = store.node(2, 64_000).await;
    let session = store.session().await;
    let good = reserve(&node, 0, &session);
    let mut old_epoch = good.clone();
    old_epoch.claim.epoch = Epoch(5);
    let mut old_rev = good.clone();
    old_rev.capacity_rev += 1;
    for bad in [old_epoch, old_rev] {
        assert_eq!(store.write(op(&bad)).await, Applied::RaceLost);
    }
    assert!(
        ordered(&store.write(op(&good)).await),
        "a lost race leaves nothing behind"
    );
    assert_eq!(store.write(op(&good)).await, Applied::RaceLost);
}

pub(super) async fn i4_a_released_reservation_gives_everything_back_once(place: Place) {
    let store = Store::open(place).await;
    let node = store.node(1, 64_000).await;
    let session = store.session().await;
    let first = reserve(&node, 0, &session);
    store.write(op(&first)).await;
    for _ in 0..2 {
        let release = Op::Release {
            session: session.id.clone(),
            claim: first.claim.clone(),
            billed_until: MonoTime(9_000),
            at: MonoTime(9_000),
        };
        assert_eq!(store.write(release).await, Applied::Done);
    }
    let back = store.ledger.node(node.id.clone()).await.unwrap().unwrap();
    assert_eq!(back.capacity.cpu_milli_free, 64_000);
    let other = store.session().await;
    let second = reserve(&back, 0, &other);
    assert_eq!(second.claim.epoch, Epoch(2), "epochs only rise");
    assert!(ordered(&store.write(op(&second)).await));
    let release = Op::Release {
        session: session.id,
        claim: first.claim,
        billed_until: MonoTime(9_000),
        at: MonoTime(9_000),
    };
    store.write(release).await;
    let back = store.ledger.node(node.id).await.unwrap().unwrap();
    let held = back.slots.values().next().unwrap().held_by.as_ref();
    assert_eq!(
        held.unwrap().session,
        other.id,
        "an old release frees no new claim"
    );
}

pub(super) async fn a_claim_that_comes_with_its_session_is_skipped_when_that_is_a_replay(
    place: Place,
) {
    let store = Store::open(place).await;
    let node = store.node(1, 64_000).await;
    let first = session();
    store.write(create(&first, "k", None)).await;
    let mut again = session();
    again.user.clone_from(&first.user);
    let mut reserve = reserve(&node, 0, &again);
    reserve.with_create = true;
    let ops = vec![create(&again, "k", None), op(&reserve)];
    let applied = store.ledger.write(ops).await.unwrap();
    assert_eq!(applied[1], Applied::Skipped);
}

pub(super) async fn a_node_cannot_take_over_another_ones_slot(place: Place) {
    let store = Store::open(place).await;
    let honest = store.node(1, 64_000).await;
    let thief = store.node(0, 64_000).await;
    let mut inventory = thief.inventory.clone();
    inventory.slots.clone_from(&honest.inventory.slots);
    let steal = Op::SaveNode {
        node: thief.id.clone(),
        name: String::new(),
        region: String::new(),
        build: String::new(),
        inventory: Box::new(inventory),
        at: MonoTime(0),
    };
    store.write(steal).await;
    let thief = store.ledger.node(thief.id).await.unwrap().unwrap();
    assert!(thief.slots.is_empty());
}
