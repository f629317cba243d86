//! Volumes: taken with a claim, let go with it, and one of a name.

use super::*;
use nearlight_protocol::id::VolumeId;

fn take(id: &VolumeId, name: &str, is_new: bool) -> TakeVolume {
    TakeVolume {
        id: id.clone(),
        owner: "a".to_owned(),
        name: name.to_owned(),
        size_mib: 100,
        is_new,
        owner_mib_max: 250,
    }
}

async fn taken(
    store: &Store,
    node: &NodeRow,
    slot: usize,
    takes: &[TakeVolume],
) -> (Reserve, Applied) {
    let session = store.session().await;
    let node = store.ledger.node(node.id.clone()).await.unwrap().unwrap();
    let asked = Reserve {
        volumes: takes.to_vec(),
        ..reserve(&node, slot, &session)
    };
    let applied = store.write(op(&asked)).await;
    (asked, applied)
}

async fn volumes(store: &Store) -> Vec<VolumeRow> {
    store.ledger.volumes(None).await.unwrap()
}

fn release(asked: &Reserve) -> Op {
    Op::Release {
        session: asked.session.clone(),
        claim: asked.claim.clone(),
        billed_until: MonoTime(3_000),
        at: MonoTime(3_000),
    }
}

pub(super) async fn a_volume_is_taken_with_a_claim_and_let_go_with_it(place: Place) {
    let store = Store::open(place).await;
    let node = store.node(3, 9_000).await;
    let id = nearlight_kit::ids::volume();
    let (first, applied) = taken(&store, &node, 0, &[take(&id, "cache", true)]).await;
    assert!(ordered(&applied), "{applied:?}");
    let row = &volumes(&store).await[0];
    assert_eq!((&row.id, &row.node, row.size_mib), (&id, &node.id, 100));
    assert_eq!(
        (&row.used_by, row.made),
        (&Some(first.session.clone()), false)
    );
    let loaded = store.ledger.node(node.id.clone()).await.unwrap().unwrap();
    assert_eq!(loaded.volumes_mib, 100);

    // Nobody else gets it, nor its slot, and the rest of the group is none the worse.
    let larger = TakeVolume {
        size_mib: 150,
        ..take(&id, "cache", false)
    };
    let (second, applied) = taken(&store, &node, 1, &[larger.clone()]).await;
    assert_eq!(applied, Applied::RaceLost);
    let node_now = store.ledger.node(node.id.clone()).await.unwrap().unwrap();
    assert_eq!(node_now.slots[&second.claim.slot].held_by, None);
    let delete = || Op::DeleteVolume {
        volume: id.clone(),
        at: MonoTime(5_000),
    };
    assert_eq!(store.write(delete()).await, Applied::RaceLost);
    store.write(release(&first)).await;
    assert_eq!(volumes(&store).await[0].used_by, None);
    let (second, applied) = taken(&store, &node, 1, &[larger]).await;
    assert!(ordered(&applied), "{applied:?}");
    let row = &volumes(&store).await[0];
    assert_eq!(
        (row.size_mib, &row.used_by),
        (150, &Some(second.session.clone()))
    );
    store.write(release(&second)).await;
    // It never shrinks.
    let (third, applied) = taken(&store, &node, 2, &[take(&id, "cache", false)]).await;
    assert!(ordered(&applied), "{applied:?}");
    assert_eq!(volumes(&store).await[0].size_mib, 150);
    store.write(release(&third)).await;
    let store = store.reopen().await;
    assert_eq!(store.write(delete()).await, Applied::Done);
    assert_eq!(store.write(delete()).await, Applied::RaceLost, "once");
    let (_, applied) = taken(&store, &node, 0, &[take(&id, "cache", false)]).await;
    assert_eq!(applied, Applied::RaceLost);
}

pub(super) async fn a_name_is_one_volumes_and_an_owner_has_so_much(place: Place) {
    let store = Store::open(place).await;
    let node = store.node(4, 9_000).await;
    let [one, two, three] = [(); 3].map(|()| nearlight_kit::ids::volume());
    let (first, applied) = taken(&store, &node, 0, &[take(&one, "cache", true)]).await;
    assert!(ordered(&applied), "{applied:?}");
    let other_node = store.node(1, 9_000).await;
    // Made elsewhere at the same time by somebody who did not know.
    let (_, applied) = taken(&store, &other_node, 0, &[take(&two, "cache", true)]).await;
    assert_eq!(applied, Applied::RaceLost);
    // All of a claim's volumes, or none.
    let takes = [take(&two, "more", true), take(&one, "cache", false)];
    let (_, applied) = taken(&store, &node, 1, &takes).await;
    assert_eq!(applied, Applied::RaceLost);
    assert_eq!(volumes(&store).await.len(), 1);
    let (_, applied) = taken(&store, &node, 1, &[take(&two, "more", true)]).await;
    assert!(ordered(&applied), "{applied:?}");
    let (_, applied) = taken(&store, &node, 2, &[take(&three, "most", true)]).await;
    assert_eq!(
        applied,
        Applied::RaceLost,
        "250 MiB are all that the owner may have"
    );
    // Once one is deleted its name is free, and once it is wiped its room is.
    store.write(release(&first)).await;
    let delete = Op::DeleteVolume {
        volume: one.clone(),
        at: MonoTime(5_000),
    };
    assert_eq!(store.write(delete).await, Applied::Done);
    let (_, applied) = taken(&store, &node, 2, &[take(&three, "cache", true)]).await;
    assert_eq!(applied, Applied::RaceLost);
    let seen = VolumesSeen {
        there: vec![two.clone()],
        lost: Vec::new(),
        wiped: vec![one.clone(), two.clone()],
    };
    let note = |seen| Op::NoteVolumes {
        node: node.id.clone(),
        seen,
        at: MonoTime(6_000),
    };
    store.write(note(seen)).await;
    let left = volumes(&store).await;
    assert_eq!(left.len(), 1, "what nobody deleted is not forgotten");
    assert_eq!(
        (&left[0].id, left[0].made, left[0].lost),
        (&two, true, false)
    );
    let (_, applied) = taken(&store, &node, 2, &[take(&three, "cache", true)]).await;
    assert!(ordered(&applied), "{applied:?}");
    let lost = VolumesSeen {
        lost: vec![two.clone()],
        ..VolumesSeen::default()
    };
    store.write(note(lost)).await;
    let of =
        |rows: Vec<VolumeRow>, id: &VolumeId| rows.into_iter().find(|row| row.id == *id).unwrap();
    assert!(of(volumes(&store).await, &two).lost);
    let back = VolumesSeen {
        there: vec![two.clone()],
        ..VolumesSeen::default()
    };
    store.write(note(back)).await;
    assert!(!of(volumes(&store).await, &two).lost);
    assert!(
        store
            .ledger
            .volumes(Some("b".to_owned()))
            .await
            .unwrap()
            .is_empty()
    );
}
