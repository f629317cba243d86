//! A bucket keeps what a directory does, and says why where it cannot.

use super::server::Server;
use super::*;
use crate::receipts::store::Directory;
use std::collections::BTreeSet;

fn object(path: &str, bytes: &[u8]) -> Object {
    Object::new(path.to_owned(), bytes.to_vec())
}

fn listed(store: &dyn Store, path: &str) -> BTreeSet<String> {
    store.list(path).unwrap().into_iter().collect()
}

/// What the log asks of a store.
fn is_a_store(store: &dyn Store) {
    assert_eq!(store.get("tile/0/000").unwrap(), None);
    assert!(listed(store, "tile").is_empty());
    store.remove("tile/0/000").unwrap();
    let bytes: Vec<u8> = (0..=255).collect();
    let many: Vec<Object> = (0..7)
        .map(|n| object(&format!("tile/0/00{n}"), &bytes[n..]))
        .collect();
    store.put(&many).unwrap();
    store
        .put(&[object("tile/1/000", &[]), object("tile/0/000", b"new")])
        .unwrap();
    assert_eq!(store.get("tile/0/000").unwrap().unwrap(), b"new");
    assert_eq!(store.get("tile/0/006").unwrap().unwrap(), &bytes[6..]);
    assert_eq!(store.get("tile/1/000").unwrap().unwrap(), b"");
    assert_eq!(store.get("tile").unwrap(), None, "a place is no object");
    let names = (0..7).map(|n| format!("00{n}")).collect();
    assert_eq!(listed(store, "tile/0"), names);
    let places = ["0", "1"].map(str::to_owned).into();
    assert_eq!(listed(store, "tile"), places);
    store.remove("tile/0/006").unwrap();
    store.remove("tile/0/006").unwrap();
    assert_eq!(store.get("tile/0/006").unwrap(), None);
    assert_eq!(listed(store, "tile/0").len(), 6);
}

#[test]
fn a_directory_is_a_store() {
    let dir = tempfile::tempdir().unwrap();
    is_a_store(&Directory::new(dir.path().join("log")));
}

#[test]
fn a_bucket_is_a_store_and_one_prefix_knows_nothing_of_another() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut store = Objects::new(&server.settings("/region/log/")).unwrap();
    // Pages of a few names, so that there are several.
    store.page_max = 3;
    is_a_store(&store);
    let other = Objects::new(&server.settings("region/lo")).unwrap();
    assert!(listed(&other, "").is_empty());
    assert_eq!(other.get("g/tile/0/001").unwrap(), None);
    let above = Objects::new(&server.settings("")).unwrap();
    assert_eq!(listed(&above, "region/log"), ["tile".to_owned()].into());
}

#[test]
fn what_a_store_refuses_is_said_and_is_never_taken_for_nothing() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut stranger = server.settings("log");
    stranger.secret_key.push('x');
    let stranger = Objects::new(&stranger).unwrap();
    for refused in [
        stranger.put(&[object("a", b"a")]).unwrap_err(),
        stranger.get("a").unwrap_err(),
        stranger.list("").unwrap_err(),
        stranger.remove("a").unwrap_err(),
    ] {
        let said = refused.to_string();
        assert!(said.contains("403") && said.contains("receipts"), "{said}");
    }
    let mut elsewhere = server.settings("log");
    elsewhere.bucket = "nowhere".to_owned();
    let elsewhere = Objects::new(&elsewhere).unwrap();
    assert!(elsewhere.get("a").is_err());
    assert!(elsewhere.list("").is_err());
    assert!(elsewhere.put(&[object("a", b"a")]).is_err());
}

#[test]
fn a_store_that_was_away_has_what_it_had() {
    let Some(server) = Server::start() else {
        return;
    };
    let store = Objects::new(&server.settings("log")).unwrap();
    store.put(&[object("a", b"kept")]).unwrap();
    server.stop();
    let away = store.get("a").unwrap_err().to_string();
    assert!(away.contains("read log/a"), "{away}");
    server.start_again();
    assert_eq!(store.get("a").unwrap().unwrap(), b"kept");
}
