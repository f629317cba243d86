//! Reading entries again, for whoever goes through the log.

use super::directory::started;
use super::*;

/// What a bundle holds is an entry if the ledger has its leaf at that place, and damage if not.
#[tokio::test]
async fn an_entry_is_the_one_that_the_ledger_has_at_its_place() {
    let log = Log::new().await;
    let (receipts, _ledger) = started(&log);
    let mut leaves = Vec::new();
    for n in 0..3 {
        let entry = Entry::read(signed(&dispute(n))).unwrap();
        leaves.push(entry.leaf().to_owned());
        let logged = receipts.append(entry).await.unwrap();
        assert!(logged.is_new);
    }
    let size = receipts.published().unwrap().size;
    let entries = receipts.entries_from(0).await.unwrap();
    let place = |leaf: &String| entries.iter().find(|entry| entry.leaf == *leaf);
    for (n, leaf) in (0..3).zip(&leaves) {
        let entry = place(leaf).expect("it was appended");
        assert_eq!(entry.bytes, signed(&dispute(n)));
        assert_eq!(entries[entry.place as usize], *entry);
    }
    assert_eq!(entries.len() as u64, size);
    assert_eq!(receipts.entries_from(1).await.unwrap(), entries[1..]);
    assert!(receipts.entries_from(size).await.unwrap().is_empty());

    // Another one that the same key signed, in the place of the last.
    let mut others: Vec<&[u8]> = entries.iter().map(|entry| &*entry.bytes).collect();
    let other = signed(&dispute(99));
    *others.last_mut().unwrap() = &other;
    let path = Tile::within(size, 0, 0).unwrap().bundle_path();
    let bundle = tile::bundle(others).unwrap();
    let store = Directory::new(log.tiles());
    store.put(&[Object::new(path, bundle)]).unwrap();
    let read = receipts.entries_from(0).await;
    assert!(matches!(read, Err(LogError::Damaged(_))), "{read:?}");
    log.shutdown.token().cancel();
}

/// After a failover to a ledger that was behind, tiles are whole: who is told to restore them from a back-up loses
/// what nobody else has.
#[tokio::test]
async fn entries_that_the_ledger_does_not_have_yet_are_no_damage() {
    let log = Log::new().await;
    let (receipts, _ledger) = started(&log);
    for n in 0..3 {
        let entry = Entry::read(signed(&dispute(n))).unwrap();
        receipts.append(entry).await.unwrap();
    }
    let size = receipts.published().unwrap().size;
    for has in [size - 1, 1, 0] {
        let lost = format!("DELETE FROM receipt WHERE place >= {has}");
        log.change(lost).await;
        for place in [0, 1] {
            let read = receipts.entries_from(place).await;
            assert!(
                matches!(read, Err(LogError::CatchingUp { size: of, .. }) if of == has),
                "{read:?}"
            );
        }
    }
    log.shutdown.token().cancel();
}
