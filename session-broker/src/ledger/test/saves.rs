//! Where saves are.

use super::*;
use crate::ledger::SavedAt;

pub(super) async fn the_node_that_ran_an_app_last_has_its_newest_save(place: Place) {
    let store = Store::open(place).await;
    let session = session();
    let app = session.app().unwrap().id.clone();
    let user = session.user;
    let nodes = [nearlight_kit::ids::node(), nearlight_kit::ids::node()];
    let note = |user: &UserId, node: &NodeId, ms: u64| Op::NoteSave {
        user: user.clone(),
        app: app.clone(),
        node: node.clone(),
        at: MonoTime(ms * 1000),
    };
    let newest = async |store: &Store| {
        let found = store.ledger.newest_save(user.clone(), app.clone()).await;
        found
            .unwrap()
            .map(|SavedAt { node, used_ms }| (node, used_ms))
    };
    assert_eq!(newest(&store).await, None);
    let [a, b] = nodes.each_ref();
    let both = vec![note(&user, a, 5), note(&user, b, 9), note(&user, b, 7)];
    store.ledger.write(both).await.unwrap();
    store.write(note(&nearlight_kit::ids::user(), a, 99)).await;
    assert_eq!(newest(&store).await, Some((b.clone(), 9)));
    store.write(note(&user, b, 3)).await;
    let store = store.reopen().await;
    assert_eq!(
        newest(&store).await,
        Some((b.clone(), 9)),
        "an older note changes nothing"
    );
    store.write(note(&user, a, 10)).await;
    assert_eq!(newest(&store).await, Some((a.clone(), 10)));

    let day_ms = 24 * 3600 * 1000;
    let prune = |ms: u64| prune(Remains::Saves, MonoTime(ms * 1000));
    store.write(prune(11 + 399 * day_ms)).await;
    assert_eq!(newest(&store).await, Some((a.clone(), 10)));
    store.write(prune(11 + 400 * day_ms)).await;
    assert_eq!(
        newest(&store).await,
        None,
        "after more than a year nobody comes back"
    );
}

pub(super) async fn a_key_is_known_once_its_session_is(place: Place) {
    let store = Store::open(place).await;
    let session = session();
    let user = session.user.clone();
    let known = async || {
        store
            .ledger
            .has_key(user.clone(), "k".to_owned())
            .await
            .unwrap()
    };
    assert!(!known().await);
    store.write(create(&session, "k", None)).await;
    assert!(known().await);
}
