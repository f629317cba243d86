//! Apps as versioned entries: what is live where, and what a session keeps.

use super::place::Place;
use super::*;
use std::sync::Arc;

fn spec(image: &str) -> AppSpec {
    let mut app = session().app().unwrap().clone();
    app.launch.image = image.to_owned();
    app
}

fn op(change: AppChange) -> Op {
    Op::App {
        change,
        audit: None,
    }
}

fn add(image: &str) -> Op {
    op(AppChange::Add {
        app: Box::new(spec(image)),
        by: nearlight_kit::ids::user(),
        at: MonoTime(1_000),
    })
}

fn roll(version: u32, metros: &[&str]) -> Op {
    op(AppChange::Roll {
        app: "demo".parse().unwrap(),
        version,
        metros: metros.iter().map(|metro| (*metro).to_owned()).collect(),
        at: MonoTime(2_000),
    })
}

fn back(app: &str) -> Op {
    op(AppChange::RollBack {
        app: app.parse().unwrap(),
        at: MonoTime(3_000),
    })
}

fn seed(image: &str) -> Op {
    op(AppChange::Seed {
        apps: vec![Arc::new(spec(image))],
        at: MonoTime(4_000),
    })
}

const fn version(version: u32, is_new: bool) -> Applied {
    Applied::AppVersion { version, is_new }
}

async fn demo(store: &Store) -> AppRow {
    let mut apps = store.ledger.apps().await.unwrap();
    assert_eq!(apps.len(), 1, "{apps:?}");
    apps.remove(0)
}

pub(super) async fn the_same_description_is_the_same_version(place: Place) {
    let store = Store::open(place).await;
    assert_eq!(store.write(add("demo:1")).await, version(1, true));
    assert_eq!(store.write(add("demo:2")).await, version(2, true));
    let before = store.ledger.app_changes().await.unwrap();
    // Also in one transaction, and after a restart.
    let again = store.ledger.write(vec![add("demo:1"), add("demo:3")]).await;
    assert_eq!(again.unwrap(), [version(1, false), version(3, true)]);
    let store = store.reopen().await;
    assert_eq!(store.write(add("demo:2")).await, version(2, false));
    let row = demo(&store).await;
    assert_eq!((row.live, row.former, row.withdrawn), (1, None, false));
    let images: Vec<_> = row.versions.iter().map(|v| &v.app.launch.image).collect();
    assert_eq!(images, ["demo:1", "demo:2", "demo:3"]);
    assert!(row.versions.iter().all(|v| v.by.is_some()));
    assert!(store.ledger.app_changes().await.unwrap() > before);
}

pub(super) async fn versions_that_two_brokers_add_at_once_have_their_own_numbers(place: Place) {
    let a = Store::open_as(place.clone(), member("a", "a:1")).await;
    let b = Store::open_as(place, member("b", "b:1")).await;
    let many = |from: u32| {
        (from..from + 8)
            .map(|n| add(&format!("demo:{n}")))
            .collect()
    };
    // Four descriptions are added by both.
    let (of_a, of_b) = tokio::join!(a.ledger.write(many(0)), b.ledger.write(many(4)));
    let new = |applied: &[Applied]| {
        let is_new = |a: &&Applied| matches!(a, Applied::AppVersion { is_new: true, .. });
        applied.iter().filter(is_new).count()
    };
    let (of_a, of_b) = (of_a.unwrap(), of_b.unwrap());
    assert_eq!(new(&of_a) + new(&of_b), 12);
    let mut numbers: Vec<u32> = demo(&a).await.versions.iter().map(|v| v.version).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=12).collect::<Vec<_>>());
}

pub(super) async fn a_version_is_staged_rolled_out_and_taken_back(place: Place) {
    let store = Store::open(place).await;
    assert_eq!(store.write(roll(1, &[])).await, Applied::Missing);
    assert_eq!(store.write(back("demo")).await, Applied::Missing);
    for n in 1..=3 {
        store.write(add(&format!("demo:{n}"))).await;
    }
    assert_eq!(store.write(roll(4, &[])).await, Applied::Missing);
    assert_eq!(store.write(back("demo")).await, Applied::Skipped);
    let staged = |row: &AppRow| row.staged.clone();
    let pair = |metro: &str, version| (metro.to_owned(), version);

    assert_eq!(store.write(roll(2, &["b", "a", "a"])).await, Applied::Done);
    assert_eq!(store.write(roll(3, &["a"])).await, Applied::Done);
    let row = demo(&store).await;
    assert_eq!((row.live, row.former), (1, None));
    assert_eq!(staged(&row), [pair("a", 3), pair("b", 2)]);
    // First what is staged goes, and what was live stays so.
    assert_eq!(store.write(back("demo")).await, Applied::Done);
    let row = demo(&store).await;
    assert_eq!((row.live, staged(&row)), (1, Vec::new()));

    store.write(roll(2, &["a"])).await;
    store.write(roll(2, &[])).await;
    // Once more changes nothing: what was live before is still known.
    store.write(roll(2, &[])).await;
    let row = demo(&store).await;
    assert_eq!((row.live, row.former, staged(&row)), (2, Some(1), vec![]));
    assert_eq!(store.write(back("demo")).await, Applied::Done);
    let row = demo(&store).await;
    assert_eq!((row.live, row.former), (1, None));
    assert_eq!(store.write(back("demo")).await, Applied::Skipped);
}

pub(super) async fn files_are_followed_until_an_operator_rolls_out(place: Place) {
    let store = Store::open(place).await;
    store.write(seed("demo:1")).await;
    let changes = store.ledger.app_changes().await.unwrap();
    store.write(seed("demo:1")).await;
    assert_eq!(store.ledger.app_changes().await.unwrap(), changes);
    store.write(seed("demo:2")).await;
    assert_eq!(demo(&store).await.live, 2);
    store.write(seed("demo:1")).await;
    let row = demo(&store).await;
    assert_eq!((row.live, row.versions.len()), (1, 2));
    assert!(row.versions.iter().all(|version| version.by.is_none()));

    // Without its file it is withdrawn, and with it it is back.
    let none = op(AppChange::Seed {
        apps: vec![Arc::new(AppSpec {
            id: "other".parse().unwrap(),
            ..spec("other:1")
        })],
        at: MonoTime(5_000),
    });
    store.write(none.clone()).await;
    let withdrawn = |rows: Vec<AppRow>| {
        let rows = rows.into_iter();
        rows.map(|row| (row.id.to_string(), row.withdrawn))
            .collect::<Vec<_>>()
    };
    let pair = |id: &str, withdrawn| (id.to_owned(), withdrawn);
    let rows = withdrawn(store.ledger.apps().await.unwrap());
    assert_eq!(rows, [pair("demo", true), pair("other", false)]);
    store.write(seed("demo:1")).await;
    let rows = withdrawn(store.ledger.apps().await.unwrap());
    assert_eq!(rows, [pair("demo", false), pair("other", true)]);

    // What an operator has rolled out stays, whatever the files have.
    assert_eq!(store.write(add("demo:3")).await, version(3, true));
    store.write(roll(3, &[])).await;
    store.write(seed("demo:4")).await;
    store.write(none).await;
    let rows = store.ledger.apps().await.unwrap();
    let row = rows.iter().find(|row| row.id.as_str() == "demo").unwrap();
    assert_eq!((row.live, row.withdrawn, row.versions.len()), (3, false, 4));
}

pub(super) async fn a_session_keeps_the_edition_that_it_was_placed_with(place: Place) {
    let store = Store::open(place).await;
    let node = store.node(1, 1000).await;
    let session = store.session().await;
    let chosen = Arc::new(spec("demo:2"));
    let set = Op::SetEdition {
        session: session.id.clone(),
        app: chosen.clone(),
    };
    let reserve = Op::Reserve(Box::new(reserve(&node, 0, &session)));
    let applied = store.ledger.write(vec![set, reserve]).await.unwrap();
    assert!(matches!(applied[1], Applied::Ordered { .. }), "{applied:?}");
    let store = store.reopen().await;
    let loaded = store.loaded().await;
    assert_eq!(loaded.sessions[0].app(), Some(&*chosen));
    let Order::Start(start) = &loaded.outbox[0].order else {
        panic!("no start: {:?}", loaded.outbox);
    };
    assert_eq!(
        start.work.app().unwrap().app,
        *chosen,
        "the order is for the same edition"
    );
}
