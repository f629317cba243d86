//! The directory in the log: by itself, and of more keys than an entry has room for.

use super::super::directory::Logged;
use super::*;
use crate::config::LogAt;
use crate::ledger::ReceiptQuery;
use nearlight_proof::encoding::sha256;
use nearlight_proof::key::SecretKey;

pub(super) fn started(log: &Log) -> (Arc<Receipts>, Arc<dyn Ledger>) {
    let settings = LogSettings {
        at: LogAt::Directory(log.tiles()),
        origin: Some("log.example".to_owned()),
        operator: "near".to_owned(),
        witnesses: Vec::new(),
        quorum: 0,
    };
    let ledger: Arc<dyn Ledger> = Arc::new(log.ledger.clone());
    let keys = Keys::of(&[1; 32]);
    let receipts = Receipts::start(&settings, keys, &ledger, Clock::start(), &log.shutdown);
    let receipts = receipts.unwrap();
    (receipts, ledger)
}

#[tokio::test]
async fn the_directory_comes_into_the_log_by_itself() {
    let log = Log::new().await;
    let (receipts, ledger) = started(&log);
    let mut shown = receipts.published.clone();
    let has_one = shown.wait_for(|shown| shown.as_ref().is_some_and(|shown| shown.size == 1));
    tokio::time::timeout(PATIENCE, has_one)
        .await
        .unwrap()
        .unwrap();
    let known = receipts.keys().await.unwrap();
    let (log_key, broker) = (receipts.keys.log.public(), receipts.keys.broker.public());
    assert!(known.directory.find(&log_key.id(), Role::Log).is_some());
    assert!(known.directory.find(&broker.id(), Role::Broker).is_some());
    let shown = receipts.show(0).await.unwrap().unwrap();
    assert_eq!(shown.envelope, known.edition.to_bytes());
    let put = LogChange::PutKey {
        key: DirectoryKey {
            key: hex(Keys::of(&[2; 32]).broker.public().as_bytes()),
            role: "checker".to_owned(),
            operator: "east".to_owned(),
            licence: None,
            from_s: 0,
            until_s: 4_000_000_000,
            revoked_at_s: None,
        },
        most: KEYS_MAX,
        at_s: 5,
    };
    receipts.change_keys(put.clone(), None).await.unwrap();
    let full = Op::Log {
        change: put,
        audit: None,
    };
    ledger.write(vec![full]).await.unwrap();
    let directory = &receipts.keys().await.unwrap().directory;
    assert_eq!(directory.serial, 4, "the same again is no edition");
    let entry = Entry::admitted(signed(&dispute(1)), directory, 1_800_000_000).unwrap();
    let logged = receipts.append(entry.clone()).await.unwrap();
    let again = receipts.append(entry).await.unwrap();
    assert_eq!(
        (again.place, logged.is_new, again.is_new),
        (logged.place, true, false)
    );
    log.shutdown.token().cancel();
}

#[tokio::test]
async fn a_log_of_which_a_witness_saw_more_signs_nothing() {
    let log = Log::new().await;
    let mut replica = log.healthy();
    let seen_max = replica.seen_max.clone();
    assert!(
        replica
            .append(&plain(0..3))
            .await
            .iter()
            .all(Option::is_some)
    );
    seen_max.store(3, std::sync::atomic::Ordering::SeqCst);
    assert!(
        replica
            .append(&plain(3..4))
            .await
            .iter()
            .all(Option::is_some)
    );
    seen_max.store(5, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(replica.append(&plain(4..5)).await, [None]);
    let shown = replica.shown.borrow().clone().unwrap();
    assert_eq!(shown.size, 4);
}

fn put(number: u32) -> Op {
    let key = SecretKey::from_seed(&sha256(&[&number.to_le_bytes()]));
    let change = LogChange::PutKey {
        key: DirectoryKey {
            key: hex(key.public().as_bytes()),
            role: "node".to_owned(),
            operator: "east".to_owned(),
            licence: None,
            from_s: 0,
            until_s: 4_000_000_000,
            revoked_at_s: None,
        },
        most: KEYS_MAX,
        at_s: 5,
    };
    Op::Log {
        change,
        audit: None,
    }
}

async fn kinds(ledger: &Arc<dyn Ledger>) -> Vec<String> {
    let of = ReceiptQuery {
        max: 1_000,
        ..ReceiptQuery::default()
    };
    let rows = ledger.receipts(of).await.unwrap();
    rows.into_iter().map(|row| row.kind).collect()
}

/// Each key changes the page that it is on, and the edition that names it; what a verifier reads has all of them.
#[tokio::test]
async fn a_directory_of_many_keys_has_pages_and_a_new_key_changes_one() {
    let log = Log::new().await;
    let (receipts, ledger) = started(&log);
    let mut logged = Logged::default();
    receipts.keep_directory(&mut logged).await.unwrap();
    ledger.write((0..400).map(put).collect()).await.unwrap();
    receipts.keys_changed();
    receipts.keep_directory(&mut logged).await.unwrap();
    let count = |kinds: &[String], kind: &str| kinds.iter().filter(|of| *of == kind).count();
    let first = kinds(&ledger).await;
    assert_eq!(
        (
            count(&first, "directory/v2"),
            count(&first, "directory-page/v1")
        ),
        (1, 4)
    );
    ledger.write(vec![put(400)]).await.unwrap();
    receipts.keys_changed();
    receipts.keep_directory(&mut logged).await.unwrap();
    let second = kinds(&ledger).await;
    assert_eq!(
        (
            count(&second, "directory/v2"),
            count(&second, "directory-page/v1")
        ),
        (2, 5)
    );
    let known = receipts.keys().await.unwrap();
    let bytes = known.edition.to_bytes();
    let read = KeyDirectory::open(&bytes, &receipts.directory_key()).unwrap();
    assert_eq!(read.of(Role::Node).count(), 401);
    // Another broker signs the same, and appends nothing.
    receipts
        .keep_directory(&mut Logged::default())
        .await
        .unwrap();
    assert_eq!(kinds(&ledger).await, second);
    log.shutdown.token().cancel();
}
