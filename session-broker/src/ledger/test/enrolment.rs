//! Join tokens are used once, and what was decided about nodes holds.

use super::place::Place;
use super::*;

const HASH: CredentialHash = [7; 32];

fn token(expires_ms: u64) -> JoinTokenRow {
    JoinTokenRow {
        hash: HASH,
        name: "a\0ttic".to_owned(),
        region: "north".to_owned(),
        operator: "north gmbh".to_owned(),
        created_ms: 1_000,
        expires_ms,
        used: None,
    }
}

fn redeem(key: u8, at_ms: u64) -> (Redeemed, Op) {
    let by = Redeemed {
        key_hash: [key; 32],
        node: nearlight_kit::ids::node(),
    };
    let op = Op::RedeemJoinToken {
        hash: HASH,
        by: by.clone(),
        at_ms,
    };
    (by, op)
}

pub(super) async fn a_join_token_works_once_whoever_is_first(place: Place) {
    let store = Store::open(place).await;
    assert_eq!(store.write(redeem(1, 1_500).1).await, Applied::Missing);
    store
        .write(Op::AddJoinToken {
            token: token(2_000),
        })
        .await;
    let made = store.ledger.join_token(HASH).await.unwrap().unwrap();
    assert_eq!((made.name.as_str(), made.used), ("a\u{fffd}ttic", None));
    // Over, to the millisecond.
    assert_eq!(store.write(redeem(1, 2_000).1).await, Applied::Missing);
    // In one group, which the engine sees as one transaction.
    let ((first, one), (_, two)) = (redeem(2, 1_999), redeem(3, 1_999));
    let applied = store.ledger.write(vec![one, two]).await.unwrap();
    assert_eq!(applied, [Applied::Done, Applied::Missing]);
    // And in another one.
    assert_eq!(store.write(redeem(4, 1_999).1).await, Applied::Missing);
    let store = store.reopen().await;
    let used = store.ledger.join_token(HASH).await.unwrap().unwrap().used;
    assert_eq!(used, Some(first));
    let before = |ms: u64| prune(Remains::JoinTokens, MonoTime(ms * 1_000));
    store.write(before(2_000)).await;
    assert!(store.ledger.join_token(HASH).await.unwrap().is_some());
    store.write(before(2_001)).await;
    assert!(store.ledger.join_token(HASH).await.unwrap().is_none());
}

pub(super) async fn what_is_decided_about_nodes_is_read_back(place: Place) {
    let store = Store::open(place).await;
    let known = store.node(1, 1_000).await.id;
    store
        .write(Op::AddJoinToken {
            token: token(2_000),
        })
        .await;
    let (enrolled, came) = redeem(1, 1_500);
    store.write(came).await;
    let drain = |node: &NodeId, drained| Op::DrainNode {
        node: node.clone(),
        drained,
        reclaim: None,
        at: MonoTime(3_000),
    };
    let revoke = |node: &NodeId, at| Op::RevokeNode {
        node: node.clone(),
        at: MonoTime(at),
    };
    let stranger = nearlight_kit::ids::node();
    let applied = store
        .ledger
        .write(vec![
            drain(&stranger, true),
            revoke(&stranger, 3_000),
            drain(&known, true),
            revoke(&enrolled.node, 3_000),
            revoke(&enrolled.node, 4_000),
            drain(&enrolled.node, false),
        ])
        .await
        .unwrap();
    let strangers = [Applied::Missing, Applied::Missing];
    assert_eq!(applied[..2], strangers);
    assert!(
        applied[2..].iter().all(|a| *a == Applied::Done),
        "{applied:?}"
    );
    let store = store.reopen().await;
    let mut decided = store.ledger.standings().await.unwrap();
    decided.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let revoked = Decided {
        operator: "north gmbh".to_owned(),
        ..standing(Standing::Revoked)
    };
    let mut expected = vec![
        (known.clone(), standing(Standing::Drained)),
        (enrolled.node.clone(), revoked.clone()),
    ];
    expected.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(decided, expected);
    assert_eq!(store.write(drain(&known, false)).await, Applied::Done);
    let decided = store.ledger.standings().await.unwrap();
    assert_eq!(decided, [(enrolled.node, revoked)]);
    // A node that is saved and shut out in one group.
    let new = nearlight_kit::ids::node();
    let save = Op::SaveNode {
        node: new.clone(),
        name: String::new(),
        region: String::new(),
        build: String::new(),
        inventory: Box::new(inventory(1_000, 1_024)),
        at: MonoTime(0),
    };
    let applied = store.ledger.write(vec![save, revoke(&new, 5_000)]).await;
    assert_eq!(applied.unwrap(), [Applied::Done, Applied::Done]);
}

fn standing(standing: Standing) -> Decided {
    Decided {
        standing,
        ..Decided::default()
    }
}

pub(super) async fn a_node_is_vetted_beside_whatever_else_holds_of_it(place: Place) {
    let store = Store::open(place).await;
    let node = store.node(1, 1_000).await.id;
    let vet = |node: &NodeId, vetted| Op::VetNode {
        node: node.clone(),
        vetted,
        at: MonoTime(3_000),
    };
    let unknown = nearlight_kit::ids::node();
    assert_eq!(store.write(vet(&unknown, true)).await, Applied::Missing);
    assert_eq!(store.write(vet(&node, true)).await, Applied::Done);
    let drain = Op::DrainNode {
        node: node.clone(),
        drained: true,
        reclaim: None,
        at: MonoTime(4_000),
    };
    assert_eq!(store.write(drain).await, Applied::Done);
    let both = Decided {
        standing: Standing::Drained,
        vetted: true,
        ..Decided::default()
    };
    let decided = store.ledger.standings().await.unwrap();
    assert_eq!(decided, [(node.clone(), both)]);
    assert_eq!(store.write(vet(&node, false)).await, Applied::Done);
    let decided = store.ledger.standings().await.unwrap();
    assert_eq!(decided, [(node, standing(Standing::Drained))]);
}

pub(super) async fn a_reclaim_belongs_to_its_drain(place: Place) {
    let store = Store::open(place).await;
    let node = store.node(1, 1_000).await.id;
    let reclaim = Reclaim {
        until: MonoTime(9_000_000),
        reason: "sold, \0 and gone".to_owned(),
    };
    let kept = Reclaim {
        reason: "sold, \u{fffd} and gone".to_owned(),
        ..reclaim.clone()
    };
    let drain = |drained, reclaim: Option<&Reclaim>, at| Op::DrainNode {
        node: node.clone(),
        drained,
        reclaim: reclaim.cloned(),
        at: MonoTime(at),
    };
    let of = async |store: &Store| {
        let decided = store.ledger.standings().await.unwrap();
        decided.into_iter().next().map(|(_, decided)| decided)
    };
    let taken = drain(true, Some(&reclaim), 3_000_000);
    assert_eq!(store.write(taken.clone()).await, Applied::Done);
    let store = store.reopen().await;
    let decided = of(&store).await.unwrap();
    assert_eq!(decided.standing, Standing::Drained);
    assert_eq!(decided.reclaim, Some(kept.clone()));
    // Nobody decides that by vetting it.
    let vet = Op::VetNode {
        node: node.clone(),
        vetted: true,
        at: MonoTime(4_000_000),
    };
    assert_eq!(store.write(vet).await, Applied::Done);
    assert_eq!(of(&store).await.unwrap().reclaim, Some(kept));
    // The last word holds.
    let plain = drain(true, None, 5_000_000);
    assert_eq!(store.write(plain).await, Applied::Done);
    assert_eq!(of(&store).await.unwrap().reclaim, None);
    assert_eq!(store.write(taken).await, Applied::Done);
    let ended = drain(false, Some(&reclaim), 6_000_000);
    assert_eq!(store.write(ended).await, Applied::Done);
    let decided = of(&store).await.unwrap();
    assert_eq!(
        (decided.standing, decided.reclaim),
        (Standing::Active, None)
    );
}
