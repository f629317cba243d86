//! Who may write, and what becomes of what was written when the engine dies.

use super::place::{Place, Server};
use super::*;
use sqlx::{Connection, Row};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc;

pub(super) async fn a_broker_that_was_superseded_writes_no_more(place: Place) {
    let old = Store::open(place.clone()).await;
    old.session().await;
    let new = Store::open(place).await;
    let late = old
        .ledger
        .write(vec![create(&session(), "late", None)])
        .await;
    assert!(matches!(late, Err(StoreError::Superseded)), "{late:?}");
    let load = old.ledger.load(0).await;
    assert!(matches!(load, Err(StoreError::Superseded)), "{load:?}");
    assert!(old.shutdown.token().is_cancelled(), "it stops");
    assert!(!new.shutdown.token().is_cancelled());
    new.session().await;
    assert_eq!(
        new.loaded().await.sessions.len(),
        2,
        "only the late one is not there"
    );
}

/// Whoever had its name before is superseded by it as it was at first.
pub(super) async fn a_broker_whose_start_the_ledger_lost_takes_a_term_anew(place: Place) {
    let before = Store::open(place.clone()).await;
    let store = Store::open(place.clone()).await;
    let mut beside = place.connect().await;
    for back in ["UPDATE writer SET term = 1", "DELETE FROM writer"] {
        let setbacks = store.ledger.setbacks();
        sqlx::raw_sql(back).execute(&mut beside).await.unwrap();
        let found = store.ledger.write(Vec::new()).await;
        assert!(matches!(found, Err(StoreError::NotApplied(_))), "{found:?}");
        assert_eq!(store.ledger.setbacks(), setbacks + 1);
        store.session().await;
        assert!(!store.shutdown.token().is_cancelled());
    }
    sqlx::raw_sql("UPDATE writer SET term = 2")
        .execute(&mut beside)
        .await
        .unwrap();
    let late = before.ledger.write(Vec::new()).await;
    assert!(matches!(late, Err(StoreError::Superseded)), "{late:?}");
}

/// The ledger went back behind the start of one that hangs; another one of its name has the same term now, and as
/// many transactions. Whoever started last goes on.
pub(super) async fn a_term_that_is_given_twice_is_whose_it_was_given_last(place: Place) {
    let before = Store::open(place.clone()).await;
    let mut beside = place.connect().await;
    let run = "SELECT run FROM writer";
    let row = sqlx::raw_sql(run).fetch_one(&mut beside).await.unwrap();
    let run: String = row.get("run");
    let hung = Store::open(place.clone()).await;
    let back = format!("UPDATE writer SET term = 1, run = '{run}'");
    let back = sqlx::raw_sql(sqlx::AssertSqlSafe(back));
    back.execute(&mut beside).await.unwrap();
    let later = Store::open(place).await;

    for old in [&hung, &before] {
        let late = old.ledger.write(Vec::new()).await;
        assert!(matches!(late, Err(StoreError::Superseded)), "{late:?}");
        assert!(old.shutdown.token().is_cancelled(), "it stops");
    }
    later.session().await;
    assert_eq!(later.ledger.setbacks(), 0);
    assert!(!later.shutdown.token().is_cancelled());
}

/// It was cut off, and given up in a ledger that had gone back behind its start: its own term, and not its run.
pub(super) async fn a_broker_that_is_seized_in_a_ledger_behind_its_start_stops(place: Place) {
    let a = Store::open_as(place.clone(), member("a", "a:1")).await;
    let b = Store::open_as(place.clone(), member("b", "b:1")).await;
    let mut beside = place.connect().await;
    let back = "UPDATE writer SET term = 0, run = '' WHERE writer_id = 'a'";
    sqlx::raw_sql(back).execute(&mut beside).await.unwrap();
    let brokers = b.ledger.brokers().await.unwrap();
    let gone = brokers
        .into_iter()
        .find(|row| row.member.id.as_str() == "a");
    let seize = Op::SeizeBroker {
        gone: Box::new(gone.unwrap()),
        ended_after_ms: 0,
    };
    assert_eq!(b.write(seize).await, Applied::Done);
    let late = a.ledger.write(Vec::new()).await;
    assert!(matches!(late, Err(StoreError::Superseded)), "{late:?}");
    assert!(a.shutdown.token().is_cancelled(), "it stops");
}

/// As after a failover to a standby that lagged. Who finds out first holds nothing; so nobody tells who does.
pub(super) async fn what_a_holder_believed_before_the_ledger_went_back_is_not_written(
    place: Place,
) {
    let store = Store::open(place.clone()).await;
    let believed = store.loaded().await.basis;
    store.session().await;
    let mut beside = place.connect().await;
    let back = sqlx::raw_sql("DELETE FROM session; UPDATE writer SET seq = seq - 1");
    back.execute(&mut beside).await.unwrap();
    let found = store.ledger.write(Vec::new()).await;
    assert!(matches!(found, Err(StoreError::NotApplied(_))), "{found:?}");

    for _ in 0..2 {
        let of_before = vec![create(&session(), "before", None)];
        let late = store.ledger.write_as_holder(of_before, believed).await;
        assert!(matches!(late, Err(StoreError::NotApplied(_))), "{late:?}");
    }
    let free = store.ledger.write(Vec::new()).await;
    assert!(free.is_ok(), "what goes by no belief is written: {free:?}");
    let knows = store.loaded().await.basis;
    assert_eq!(knows.setbacks, believed.setbacks + 1);
    let of_now = vec![create(&session(), "now", None)];
    let written = store.ledger.write_as_holder(of_now, knows).await;
    assert_eq!(written.unwrap(), [Applied::Done]);
    assert_eq!(store.loaded().await.sessions.len(), 1);
}

pub(super) async fn a_schema_that_needs_a_newer_broker_is_refused(place: Place) {
    let store = Store::open(place.clone()).await;
    drop(store.ledger);
    store.shutdown.drain(GRACE).await;
    let mut beside = place.connect().await;
    let raise = sqlx::raw_sql("UPDATE schema_floor SET version = 99");
    raise.execute(&mut beside).await.unwrap();
    beside.close().await.unwrap();
    let opened = SqlLedger::open(&place.at, alone(), Clock::start(), &Shutdown::new()).await;
    let error = opened.unwrap_err().to_string();
    assert!(error.contains("schema 99"), "{error}");
}

const CALLERS: usize = 8;
const CRASHES: usize = 3;
/// Sessions acked before, between and after the crashes: so each finds work, and work goes on.
const ACKS_BETWEEN: usize = 40;

/// Sessions that callers believe in: those whose creation was acked.
async fn create_until(
    store: Arc<Store>,
    stop: Arc<AtomicBool>,
    acks: mpsc::Sender<()>,
) -> Vec<SessionId> {
    let mut acked = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let row = session();
        match store.ledger.write(vec![create(&row, "k", None)]).await {
            Ok(applied) => {
                assert_eq!(applied, [Applied::Done]);
                acked.push(row.id);
                // One that nobody counted yet is enough.
                let _ = acks.try_send(());
            }
            Err(StoreError::NotApplied(_) | StoreError::Unknown(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    acked
}

#[tokio::test(flavor = "multi_thread")]
async fn i3_a_crash_of_postgres_loses_nothing_that_was_acked_and_doubles_nothing() {
    let Some(server) = Server::start() else {
        return;
    };
    let store = Arc::new(Store::open(server.database("crash").await).await);
    let stop = Arc::new(AtomicBool::new(false));
    let (ack, mut acks) = mpsc::channel(1);
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(create_until(store.clone(), stop.clone(), ack.clone()));
    }
    let server = Arc::new(server);
    for crash in 0..=CRASHES {
        for _ in 0..ACKS_BETWEEN {
            acks.recv().await.unwrap();
        }
        if crash < CRASHES {
            let server = server.clone();
            let crashed = tokio::task::spawn_blocking(move || server.crash());
            crashed.await.unwrap();
        }
    }
    stop.store(true, Ordering::Relaxed);
    let acked: Vec<SessionId> = callers.join_all().await.concat();
    let there: Vec<SessionId> = store
        .loaded()
        .await
        .sessions
        .into_iter()
        .map(|s| s.id)
        .collect();
    assert!(!acked.is_empty());
    for id in &acked {
        assert!(
            there.binary_search(id).is_ok(),
            "{id} was acked and is gone"
        );
    }
    // Each caller may have had one change under way at each crash.
    assert!(there.len() >= acked.len() && there.len() <= acked.len() + CALLERS * CRASHES);
    drop(store);
}

/// The first commit of a session after this waits until somebody waits for it, and then its connection dies.
const DOOM: &str = "
    CREATE SEQUENCE commits;
    CREATE FUNCTION doom() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF nextval('commits') = 1 THEN
            WHILE NOT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted) LOOP
                PERFORM pg_sleep(0.01);
            END LOOP;
            PERFORM pg_terminate_backend(pg_backend_pid());
            PERFORM pg_sleep(60);
        END IF;
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER doom AFTER INSERT ON session DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION doom();";

/// The failover falls into a commit: its answer is lost, and the ledger that the broker finds then is a
/// standby's that was behind. Tried again on top of that, the broker's memory and the ledger part for good.
#[tokio::test(flavor = "multi_thread")]
async fn i3_a_failover_in_a_commit_to_a_ledger_that_is_behind_is_not_written_on() {
    let Some(server) = Server::start() else {
        return;
    };
    let place = server.database("behind").await;
    let store = Store::open(place.clone()).await;
    store.session().await;
    let mut beside = place.connect().await;
    sqlx::raw_sql(DOOM).execute(&mut beside).await.unwrap();
    // It waits for the commit that is under way, and is there before whoever asks what became of that.
    let falls_behind = async {
        let back = "UPDATE writer SET seq = seq - 1 WHERE (SELECT is_called FROM commits)";
        while {
            let updated = sqlx::raw_sql(back).execute(&mut beside).await.unwrap();
            updated.rows_affected() == 0
        } {
            tokio::task::yield_now().await;
        }
    };
    let row = session();
    let write = store.ledger.write(vec![create(&row, "k", None)]);
    let (written, ()) = tokio::join!(write, falls_behind);
    assert!(
        matches!(written, Err(StoreError::NotApplied(_))),
        "{written:?}"
    );
    assert_eq!(store.loaded().await.sessions.len(), 1);
}
