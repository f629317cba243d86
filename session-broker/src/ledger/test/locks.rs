//! Brokers that wait for rows of another one's transaction, and how long anybody's rows can be locked.

use super::place::Server;
use super::sharing::Two;
use super::*;
use crate::ledger::dialect::Engine;
use crate::ledger::read;
use crate::ledger::source::Source;
use crate::ledger::tx::Tx;
use futures_util::StreamExt;
use sqlx::Row;

/// Waits until a broker's row has moved on so often.
async fn moves_on(two: &Two, name: &str, times: u64) {
    let seq = two.seq(name).await;
    while two.seq(name).await < seq + times {
        tokio::task::yield_now().await;
    }
}

/// Whoever holds the row has hung. The one that waits for it is well, and its peers must see so: they would give up
/// one after the other.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_row_shows_its_peers_that_it_is_there() {
    let Some(server) = Server::start() else {
        return;
    };
    let place = server.database("waits").await;
    let two = Two::open(place.clone()).await;
    let (node, session, _) = two.running().await;
    let mut hangs = place.connect().await;
    let lock = "BEGIN; SELECT 1 FROM writer WHERE writer_id = 'a' FOR UPDATE";
    sqlx::raw_sql(lock).execute(&mut hangs).await.unwrap();

    let is_there = async {
        moves_on(&two, "b", 2).await;
        assert!(!two.b.ledger.is_failing());
        sqlx::raw_sql("COMMIT").execute(&mut hangs).await.unwrap();
    };
    let (held, ()) = tokio::join!(two.hold(&node), is_there);
    assert_eq!(held, Applied::Done, "it was tried until it could be done");
    let (_, holder) = two.b.ledger.session(session.id).await.unwrap().unwrap();
    assert_eq!(holder.as_str(), "b");
    assert_eq!(two.b.ledger.setbacks(), 0);
}

/// A broker hangs after it has read all that it holds, in the transaction that locks its row. The engine ends that as
/// it ends any other one, so another broker gets its nodes.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_hangs_while_it_loads_holds_its_row_no_longer_than_any_other() {
    let Some(server) = Server::start() else {
        return;
    };
    let place = server.database("hangs").await;
    let two = Two::open(place.clone()).await;
    let (node, ..) = two.running().await;
    let source = Source::new(&place.at).unwrap();
    let mut tx = Tx::new(Engine::Postgres, source.connect().await.unwrap());
    tx.begin().await.unwrap();
    let turn = "UPDATE writer SET seq = seq WHERE writer_id = 'a'";
    sqlx::raw_sql(turn).execute(tx.connection()).await.unwrap();
    let me = "a".parse().unwrap();
    let rows = read::all(tx.connection(), &me, 0).await.unwrap();
    assert_eq!(rows.read(MonoTime(0)).unwrap().nodes.len(), 1);
    let show = sqlx::raw_sql("SHOW idle_in_transaction_session_timeout");
    let shown = show.fetch_one(tx.connection()).await.unwrap();
    assert_eq!(shown.get::<&str, _>(0), "2s");

    assert_eq!(two.hold(&node).await, Applied::Done);
    assert!(tx.commit().await.is_err(), "it was ended");
}

/// A broker hangs while it reads, and the engine waits for it to take the rest: in no statement that could be too
/// late, and not idle. Its system ends the connection, where it is one to another machine.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_hangs_in_the_middle_of_an_answer_is_cut_off() {
    let Some(server) = Server::start_for_tcp() else {
        return;
    };
    let place = server.database("unread").await;
    let two = Two::open(place.clone()).await;
    let (node, ..) = two.running().await;
    let source = Source::new(&place.at).unwrap();
    let mut hangs = source.connect().await.unwrap();
    let turn = "BEGIN; UPDATE writer SET seq = seq WHERE writer_id = 'a'";
    sqlx::raw_sql(turn).execute(&mut hangs).await.unwrap();
    let much = "SELECT repeat('x', 1000) FROM generate_series(1, 100000)";
    let mut rows = sqlx::query(much).fetch(&mut hangs);
    assert!(rows.next().await.unwrap().is_ok());

    assert_eq!(two.hold(&node).await, Applied::Done);
    let mut last = Ok(());
    while let Some(row) = rows.next().await {
        last = row.map(drop);
    }
    assert!(last.is_err(), "it was ended");
}
