//! Jobs: what the ledger keeps of them beside what it keeps of every session, and for how long.

use super::readmit::{lost, readmit};
use super::*;
use nearlight_protocol::grant::GrantWork;
use nearlight_protocol::job::JobSpec;

fn spec() -> JobSpec {
    JobSpec {
        labels: [
            ("customer".to_owned(), "acme".to_owned()),
            ("team".to_owned(), "a=b \u{fc}".to_owned()),
        ]
        .into(),
        secrets: vec!["TOKEN".to_owned()],
        ..JobSpec::of_image("registry.example/a/server@sha256:00")
    }
}

pub(super) fn job() -> SessionRow {
    SessionRow {
        work: Work::Job(Box::new(spec())),
        sealed: Some(Sealed("0a.sealed".to_owned())),
        ..session()
    }
}

async fn row(store: &Store, id: &SessionId) -> SessionRow {
    let found = store.ledger.session(id.clone()).await.unwrap();
    found.unwrap().0
}

async fn count(store: &Store, table: &str) -> i64 {
    let mut beside = store.place.connect().await;
    let query = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) AS n FROM {table}"));
    let row = sqlx::query(query).fetch_one(&mut beside).await.unwrap();
    sqlx::Row::get(&row, "n")
}

pub(super) async fn a_job_is_read_back_with_its_sealed_secrets_until_they_are_forgotten(
    place: Place,
) {
    let store = Store::open(place).await;
    let node = store.node(1, 2_000).await;
    let job = job();
    let queued = store.write(create(&job, "k", None)).await;
    assert_eq!(queued, Applied::Done);
    let store = store.reopen().await;
    assert_eq!(row(&store, &job.id).await, job);
    let mut asked = reserve(&node, 0, &job);
    (asked.disk_mib, asked.gpus) = (2048, vec!["GPU-1".to_owned()]);
    let ordered = store.write(Op::Reserve(Box::new(asked.clone()))).await;
    let Applied::Ordered { command } = ordered else {
        panic!("{ordered:?}");
    };
    let loaded = store.loaded().await;
    let order = &loaded.outbox[0];
    assert_eq!(order.sealed, job.sealed);
    let Order::Start(start) = &order.order else {
        panic!("{order:?}");
    };
    assert_eq!((&start.work, start.secrets.is_empty()), (&job.work, true));
    let held = &loaded.nodes[0].slots[&asked.claim.slot].held_by;
    let held = held.as_ref().unwrap();
    assert_eq!((held.disk_mib, held.gpus), (2048, 1));
    assert_eq!(held.gpu_uuids, ["GPU-1"]);
    let session = job.id.clone();
    let ops = vec![
        Op::Acked {
            node: asked.claim.node.clone(),
            command,
        },
        Op::ForgetSecrets { session },
    ];
    store.ledger.write(ops).await.unwrap();
    assert_eq!(row(&store, &job.id).await.sealed, None);
    assert_eq!(count(&store, "job_secret").await, 0);
    assert_eq!(count(&store, "session_label").await, 2);
}

pub(super) async fn a_job_leaves_nothing_behind_once_it_is_swept(place: Place) {
    let store = Store::open(place).await;
    let job = job();
    store.write(create(&job, "k", None)).await;
    // The same key again writes nothing of the second.
    let again = SessionRow {
        id: nearlight_kit::ids::session(),
        ..job.clone()
    };
    let replayed = store.write(create(&again, "k", None)).await;
    let session = job.id.clone();
    assert_eq!(replayed, Applied::Replayed { session });
    assert_eq!(count(&store, "job_spec").await, 1);
    let ended = Phase::Ended {
        reason: EndReason::QueueTimeout,
        detail: String::new(),
    };
    let ops = vec![
        Op::SavePhase {
            session: job.id.clone(),
            phase: ended,
            starts_denied: 0,
            at: MonoTime(3_000_000),
        },
        Op::SweepEnded {
            before: MonoTime(4_000_000),
            sessions_max: 10,
        },
    ];
    store.ledger.write(ops).await.unwrap();
    for table in ["session", "job_spec", "job_secret", "session_label"] {
        assert_eq!(count(&store, table).await, 0, "{table}");
    }
}

pub(super) async fn a_job_that_the_ledger_lost_is_back_from_its_grant(place: Place) {
    let store = Store::open(place).await;
    let node = store.node(2, 2_000).await;
    let mut lost = lost(&node, 0, 7);
    let job = Box::new(spec());
    lost.row.work = GrantWork::Job { job };
    lost.bill.item = Item::Job(spec().image);
    lost.bill.labels = spec().labels;
    lost.bill.metered.gpus = vec!["H200".to_owned()];
    (lost.row.disk_mib, lost.gpus) = (512, vec!["GPU-1".to_owned()]);
    assert_eq!(store.write(readmit(&lost)).await, Applied::Done);
    let back = row(&store, &lost.session).await;
    assert_eq!(back.work, Work::Job(Box::new(spec())));
    assert_eq!(back.sealed, None);
    assert_eq!(count(&store, "session_label").await, 2);
    let held = store.loaded().await.nodes[0].slots[&lost.claim.slot].clone();
    let held = held.held_by.unwrap();
    assert_eq!((held.disk_mib, held.gpus), (512, 1));
    assert_eq!(held.gpu_uuids, ["GPU-1"]);
    let usage = store.ledger.usage_lines(usage::all()).await.unwrap();
    let [UsageLine::Claim(line)] = &*usage else {
        panic!("{usage:?}");
    };
    assert_eq!(line.bill, *lost.bill, "it costs what it did");
}

/// As a broker wrote it that knew no more of a job that came back.
pub(super) async fn usage_that_names_no_item_is_a_jobs(place: Place) {
    let store = Store::open(place).await;
    let node = store.node(1, 2_000).await;
    let job = job();
    store.write(create(&job, "k", None)).await;
    let begun = Op::BeginUsage {
        session: job.id.clone(),
        claim: reserve(&node, 0, &job).claim,
        bill: usage::bill(&session()),
        at: MonoTime(1_000_000),
    };
    store.write(begun).await;
    let mut beside = store.place.connect().await;
    sqlx::query("UPDATE usage_interval SET app_id = ''")
        .execute(&mut beside)
        .await
        .unwrap();
    let usage = store.ledger.usage_lines(usage::all()).await.unwrap();
    let [UsageLine::Claim(line)] = &*usage else {
        panic!("{usage:?}");
    };
    assert_eq!(line.bill.item, Item::Job(String::new()));
}
