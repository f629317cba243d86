//! A ledger in a file that goes on in PostgreSQL.

use super::place::Server;
use super::*;

/// What of sessions does not depend on when they are read.
fn known(loaded: &Loaded) -> Vec<(&SessionId, &UserId, &Work, MonoTime)> {
    let sessions = loaded.sessions.iter();
    sessions
        .map(|row| (&row.id, &row.user, &row.work, row.created_at))
        .collect()
}

#[tokio::test]
async fn a_ledger_in_a_file_goes_on_in_postgres() {
    let Some(server) = Server::start() else {
        return;
    };
    let target = server.database("moved").await;
    let store = Store::open(Place::file()).await;
    let LedgerAt::File(file) = store.place.at.clone() else {
        panic!("a file");
    };
    let node = store.node(2, 2_000).await;
    let (runs, waits) = (store.session().await, store.session().await);
    let ordered = store.write(op(&reserve(&node, 0, &runs))).await;
    let Applied::Ordered { command } = ordered else {
        panic!("{ordered:?}");
    };
    let acked = Op::Acked {
        node: node.id.clone(),
        command,
    };
    store.write(acked).await;
    let before = store.loaded().await;
    let busy = move_file(&file, &target.at).await;
    assert!(matches!(busy, Err(MoveError::InUse { .. })), "{busy:?}");

    let Store {
        place,
        ledger,
        shutdown,
    } = store;
    drop(ledger);
    shutdown.drain(GRACE).await;
    let moved = move_file(&file, &target.at).await.unwrap();
    assert_eq!((moved["session"], moved["outbox"]), (2, 0));
    let again = move_file(&file, &target.at).await;
    let is_full = matches!(&again, Err(MoveError::NotEmpty { table }) if moved[table] > 0);
    assert!(is_full, "{again:?}");

    let there = Store::open(target).await;
    let after = there.loaded().await;
    assert_eq!(known(&after), known(&before));
    assert_eq!(after.nodes, before.nodes);
    let node = there.ledger.node(node.id.clone()).await.unwrap().unwrap();
    let next = there.write(op(&reserve(&node, 1, &waits))).await;
    let Applied::Ordered { command: next } = next else {
        panic!("{next:?}");
    };
    assert!(next > command, "{next} was given out before");
    // The file is as it was.
    let here = Store::open(place).await;
    assert_eq!(known(&here.loaded().await), known(&before));
}
