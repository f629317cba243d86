//! GPUs of claims, one by one.

use super::jobs::job;
use super::*;

fn uuids(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| format!("GPU-{name}")).collect()
}

/// The claim of a slot with these GPUs, on the node as it is now.
async fn asked(store: &Store, node: &NodeRow, slot: usize, names: &[&str]) -> Reserve {
    let row = job();
    let key = row.id.to_string();
    assert_eq!(store.write(create(&row, &key, None)).await, Applied::Done);
    let now = store.ledger.node(node.id.clone()).await.unwrap().unwrap();
    Reserve {
        gpus: uuids(names),
        ..reserve(&now, slot, &row)
    }
}

fn release(reserve: &Reserve) -> Op {
    Op::Release {
        session: reserve.session.clone(),
        claim: reserve.claim.clone(),
        billed_until: MonoTime(5_000),
        at: MonoTime(5_000),
    }
}

async fn held(store: &Store, reserve: &Reserve) -> Option<Vec<String>> {
    let loaded = store.loaded().await;
    let slot = &loaded.nodes[0].slots[&reserve.claim.slot];
    slot.held_by.as_ref().map(|held| held.gpu_uuids.clone())
}

pub(super) async fn i1_a_gpu_is_claimed_once_and_the_others_beside_it(place: Place) {
    let store = Store::open(place).await;
    let node = store.node(4, 9_000).await;
    let first = asked(&store, &node, 0, &["a", "b"]).await;
    assert!(ordered(&store.write(op(&first)).await));
    let second = asked(&store, &node, 1, &["b", "c"]).await;
    let lost = store.write(op(&second)).await;
    assert_eq!(lost, Applied::RaceLost, "the engine itself refuses it");
    let third = asked(&store, &node, 1, &["c"]).await;
    assert!(ordered(&store.write(op(&third)).await), "beside the first");
    let plain = asked(&store, &node, 2, &[]).await;
    assert!(ordered(&store.write(op(&plain)).await));
    assert_eq!(held(&store, &first).await, Some(uuids(&["a", "b"])));
    assert_eq!(held(&store, &third).await, Some(uuids(&["c"])));
    assert_eq!(held(&store, &plain).await, Some(Vec::new()));
    store.write(release(&first)).await;
    let next = asked(&store, &node, 3, &["b"]).await;
    assert!(ordered(&store.write(op(&next)).await));
    let store = store.reopen().await;
    assert_eq!(held(&store, &first).await, None);
    assert_eq!(held(&store, &next).await, Some(uuids(&["b"])));
    store.write(release(&first)).await;
    assert_eq!(held(&store, &next).await, Some(uuids(&["b"])), "said twice");
}

pub(super) async fn i1_of_many_that_want_the_same_gpus_at_once_each_gets_all_or_none(place: Place) {
    let store = Store::open(place).await;
    let node = store.node(4, 9_000).await;
    let wishes: [&[&str]; 4] = [&["a", "b"], &["b", "c"], &["c", "d"], &["d", "a"]];
    let mut asked_for = Vec::new();
    for (slot, wish) in wishes.iter().enumerate() {
        let mut reserve = asked(&store, &node, slot, wish).await;
        // Each decided on what the one before leaves, as the owner's mirror has it.
        reserve.capacity_rev += u64::try_from(slot).unwrap();
        asked_for.push(reserve);
    }
    let ops: Vec<Op> = asked_for.iter().map(op).collect();
    let applied = store.ledger.write(ops).await.unwrap();
    let won = asked_for.iter().zip(&applied).filter(|(_, a)| ordered(a));
    let won: Vec<&Reserve> = won.map(|(reserve, _)| reserve).collect();
    assert!(!won.is_empty());
    let mut taken = Vec::new();
    for reserve in &asked_for {
        let is_won = won.iter().any(|w| w.claim == reserve.claim);
        let has = held(&store, reserve).await;
        assert_eq!(has.is_some(), is_won, "{applied:?}");
        let mut wanted = reserve.gpus.clone();
        wanted.sort_unstable();
        assert!(has.is_none_or(|has| has == wanted), "all or none");
        taken.extend(is_won.then(|| reserve.gpus.clone()).into_iter().flatten());
    }
    let all = taken.len();
    taken.sort_unstable();
    taken.dedup();
    assert_eq!(taken.len(), all, "no GPU twice");
}

pub(super) async fn what_a_broker_of_before_left_of_a_claim_is_nobodys(place: Place) {
    let store = Store::open(place).await;
    let node = store.node(2, 9_000).await;
    let first = asked(&store, &node, 0, &["a"]).await;
    assert!(ordered(&store.write(op(&first)).await));
    let mut beside = store.place.connect().await;
    // It knows no row of a GPU: it releases the claim alone.
    sqlx::query("UPDATE claim SET released_ms = 6")
        .execute(&mut beside)
        .await
        .unwrap();
    assert_eq!(held(&store, &first).await, None);
    let next = asked(&store, &node, 1, &["a"]).await;
    assert!(ordered(&store.write(op(&next)).await));
    assert_eq!(held(&store, &next).await, Some(uuids(&["a"])));
}
