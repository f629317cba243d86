//! The log of receipts: its head, what stands in it, and the directory.

use super::*;

fn log(change: LogChange) -> Op {
    Op::Log {
        change,
        audit: None,
    }
}

fn row(place: u64) -> ReceiptRow {
    ReceiptRow {
        place,
        leaf: format!("{place:064x}"),
        kind: "porc/v1".to_owned(),
        issuer: format!("{:064x}", 7),
        about: format!("{:064x}", place % 2),
        issued_at_s: 5,
    }
}

fn advance(from: (u64, &str), to: (u64, &str)) -> Op {
    let evidence = EvidenceRow {
        sha256: "e".repeat(64),
        bytes: 3,
        kept_until_s: 100 + to.0,
    };
    log(LogChange::Advance(Box::new(Advance {
        from: (from.0, from.1.to_owned()),
        to: (to.0, to.1.to_owned()),
        rows: (from.0..to.0).map(row).collect(),
        evidence: vec![evidence],
        at_ms: 1,
    })))
}

/// The swap is of size and root: whoever believes another one of them changes nothing.
pub(super) async fn a_log_grows_by_whoever_knows_its_head(place: Place) {
    let store = Store::open(place).await;
    assert_eq!(store.ledger.receipt_log().await.unwrap(), None);
    let begin = |origin: &str| {
        log(LogChange::Begin {
            origin: origin.to_owned(),
            key: "k".to_owned(),
            root: "r0".to_owned(),
            at_ms: 1,
        })
    };
    store.write(begin("a")).await;
    store.write(begin("b")).await;
    assert_eq!(
        store.write(advance((0, "r0"), (3, "r3"))).await,
        Applied::Done
    );
    for stale in [(0, "r0"), (3, "other"), (2, "r3")] {
        let lost = store.write(advance(stale, (9, "r9"))).await;
        assert_eq!(lost, Applied::RaceLost, "{stale:?}");
    }
    assert_eq!(
        store.write(advance((3, "r3"), (5, "r5"))).await,
        Applied::Done
    );
    let head = store.ledger.receipt_log().await.unwrap().unwrap();
    assert_eq!(
        (head.origin.as_str(), head.size, head.root.as_str()),
        ("a", 5, "r5")
    );
    let leaves = [4, 9, 0].map(|n| row(n).leaf).to_vec();
    let mut known = store.ledger.logged(leaves).await.unwrap();
    known.sort_by_key(|(_, place)| *place);
    assert_eq!(known, [(row(0).leaf, 0), (row(4).leaf, 4)]);
    let places = async |of: ReceiptQuery| {
        let rows = store.ledger.receipts(of).await.unwrap();
        rows.iter().map(|row| row.place).collect::<Vec<u64>>()
    };
    let of = ReceiptQuery {
        max: 3,
        ..ReceiptQuery::default()
    };
    assert_eq!(places(of.clone()).await, [4, 3, 2]);
    let before = Some(2);
    assert_eq!(
        places(ReceiptQuery {
            before,
            ..of.clone()
        })
        .await,
        [1, 0]
    );
    let about = Some(row(1).about);
    assert_eq!(
        places(ReceiptQuery {
            about,
            ..of.clone()
        })
        .await,
        [3, 1]
    );
    let leaf = Some(row(2).leaf);
    assert_eq!(places(ReceiptQuery { leaf, ..of }).await, [2]);
    // Of what is here there is a row, and the longest time counts.
    for kept_until_s in [104, 106, 9] {
        let piece = EvidenceRow {
            sha256: "e".repeat(64),
            bytes: 3,
            kept_until_s,
        };
        let noted = store.ledger.write(vec![log(LogChange::Evidence(piece))]);
        assert_eq!(noted.await.unwrap(), [Applied::Done]);
    }
    let evidence = store.ledger.evidence("e".repeat(64));
    let evidence = evidence.await.unwrap().unwrap();
    assert_eq!((evidence.bytes, evidence.kept_until_s), (3, 106));
}

pub(super) async fn what_was_witnessed_never_goes_back_and_goes_with_the_name(place: Place) {
    let store = Store::open(place).await;
    let begin = LogChange::Begin {
        origin: "a".to_owned(),
        key: "k".to_owned(),
        root: "r0".to_owned(),
        at_ms: 1,
    };
    store.write(log(begin)).await;
    store.write(advance((0, "r0"), (5, "r5"))).await;
    let seen = |size, note: &str| {
        let note = note.to_owned();
        log(LogChange::Witnessed { size, note })
    };
    assert_eq!(store.write(seen(4, "four")).await, Applied::Done);
    assert_eq!(store.write(seen(3, "three")).await, Applied::Skipped);
    assert_eq!(store.write(seen(6, "six")).await, Applied::Skipped);
    let rename = log(LogChange::Rename {
        suffix: "x".to_owned(),
    });
    assert_eq!(store.write(rename).await, Applied::Done);
    let head = store.ledger.receipt_log().await.unwrap().unwrap();
    assert_eq!((head.origin.as_str(), head.size), ("a/x", 5));
    assert_eq!(head.witnessed, "", "it was witnessed under another name");
}

pub(super) async fn each_change_of_the_directory_is_an_edition(place: Place) {
    let store = Store::open(place).await;
    assert_eq!(store.ledger.directory().await.unwrap().serial, 0);
    let key = |hex: &str, until_s| DirectoryKey {
        key: hex.to_owned(),
        role: "node".to_owned(),
        operator: "o\u{0}".to_owned(),
        licence: None,
        from_s: 1,
        until_s,
        revoked_at_s: None,
    };
    let put = |hex: &str, until_s| {
        let key = key(hex, until_s);
        log(LogChange::PutKey {
            key,
            most: 2,
            at_s: until_s,
        })
    };
    let revoke = |hex: &str| {
        let key = hex.to_owned();
        log(LogChange::RevokeKey { key, at_s: 9 })
    };
    assert_eq!(store.write(put("a", 10)).await, Applied::Done);
    assert_eq!(store.write(put("a", 10)).await, Applied::Skipped);
    assert_eq!(store.write(put("b", 20)).await, Applied::Done);
    assert_eq!(store.write(put("c", 20)).await, Applied::QuotaUsedUp);
    assert_eq!(store.write(put("a", 11)).await, Applied::Done);
    assert_eq!(store.write(revoke("a")).await, Applied::Done);
    assert_eq!(store.write(revoke("a")).await, Applied::Skipped);
    assert_eq!(store.write(revoke("c")).await, Applied::Missing);
    let rows = store.ledger.directory().await.unwrap();
    assert_eq!(
        (rows.serial, rows.issued_at_s),
        (4, 20),
        "time does not go back"
    );
    let found: Vec<_> = rows
        .keys
        .iter()
        .map(|k| (k.key.as_str(), k.until_s, k.revoked_at_s))
        .collect();
    assert_eq!(found, [("a", 11, Some(9)), ("b", 20, None)]);
}

/// The first receipt of a session is its receipt, with or without a tenant.
pub(super) async fn a_session_has_one_receipt(place: Place) {
    let store = Store::open(place).await;
    let row = |place, tenant| SessionReceiptRow {
        session: nearlight_kit::ids::session(),
        user: nearlight_kit::ids::user(),
        tenant,
        place,
        leaf: format!("{place:064x}"),
        salt: format!("{place:064x}"),
        agreement: "edge-only".to_owned(),
        logged_ms: 5,
    };
    let note = |row: &SessionReceiptRow| log(LogChange::SessionReceipt(Box::new(row.clone())));
    let (alone, of_tenant) = (row(7, None), row(8, Some(nearlight_kit::ids::tenant())));
    assert_eq!(store.write(note(&alone)).await, Applied::Done);
    assert_eq!(store.write(note(&of_tenant)).await, Applied::Done);
    let again = SessionReceiptRow {
        place: 9,
        ..alone.clone()
    };
    assert_eq!(store.write(note(&again)).await, Applied::Skipped);
    let asked = vec![
        alone.session.clone(),
        of_tenant.session.clone(),
        nearlight_kit::ids::session(),
    ];
    let mut found = store.ledger.session_receipts(asked).await.unwrap();
    found.sort_by_key(|row| row.place);
    assert_eq!(found, [alone, of_tenant]);
    assert_eq!(store.ledger.session_receipts(Vec::new()).await.unwrap(), []);
}
