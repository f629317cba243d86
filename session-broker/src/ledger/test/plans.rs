//! How PostgreSQL carries out statements: on tables that it has not counted yet, and on tables that a newer broker
//! changes beside one that has planned all it does.

use super::identity::{change, tenant_row};
use super::place::Server;
use super::*;
use crate::ledger::dialect::Engine;
use crate::ledger::source::Source;
use crate::ledger::write::{
    apps, claims, gpus, jobs, orders, readmit, sessions, upkeep, usage, volumes, webhooks,
};
use crate::ledger::{basis, share};
use sqlx::{AssertSqlSafe, Row};

/// A table is walked for a join filter, and without an index.
const WALKS: [&str; 2] = ["Join Filter", "Seq Scan"];

#[tokio::test]
async fn postgres_looks_each_row_up_by_its_key_in_tables_that_it_has_not_counted() {
    let Some(server) = Server::start() else {
        return;
    };
    let store = Store::open(server.database("plans").await).await;
    let source = Source::new(&store.place.at).unwrap();
    let mut writer = source.connect().await.unwrap();
    let statements = [
        apps::BY_KEY,
        basis::BY_KEY,
        claims::BY_KEY,
        gpus::BY_KEY,
        jobs::BY_KEY,
        orders::BY_KEY,
        readmit::BY_KEY,
        sessions::BY_KEY,
        share::BY_KEY,
        usage::BY_KEY,
        volumes::BY_KEY,
        webhooks::BY_KEY,
        upkeep::BY_AGE,
    ];
    for statement in statements.concat() {
        let rendered = Engine::Postgres.render(statement);
        let prepare = AssertSqlSafe(format!("PREPARE p (text) AS {rendered}"));
        sqlx::raw_sql(prepare).execute(&mut writer).await.unwrap();
        let explain = sqlx::raw_sql("EXPLAIN (COSTS OFF) EXECUTE p ('[]')");
        let lines = explain.fetch_all(&mut writer).await.unwrap();
        let plan: Vec<String> = lines.iter().map(|line| line.get(0)).collect();
        let plan = plan.join("\n");
        assert!(plan.contains("Index Cond"), "{statement}\n{plan}");
        assert!(
            !WALKS.iter().any(|walk| plan.contains(walk)),
            "{statement}\n{plan}"
        );
        sqlx::raw_sql("DEALLOCATE p")
            .execute(&mut writer)
            .await
            .unwrap();
    }
}

/// What is read of a session, a node and a tenant, in each way that there is.
async fn everything(store: &Store, session: &SessionRow, node: &NodeId) -> String {
    let (all, here) = (
        store.ledger.load(0).await.unwrap(),
        store.ledger.surely_of_node(node.clone()).await.unwrap(),
    );
    let read = async || {
        let ledger = &store.ledger;
        let broker: BrokerId = "broker".parse().unwrap();
        let of_node = ledger.of_node(node.clone()).await.unwrap();
        let one = ledger.session(session.id.clone()).await.unwrap();
        let live = ledger.live_of(broker, LiveOf::Everyone).await.unwrap();
        let waiting = ledger.waiting().await.unwrap();
        let tenants = ledger.tenants(Of::Everyone).await.unwrap();
        let budgets = ledger.tenant_budgets().await.unwrap();
        let keys = ledger.keys(Of::Everyone, None, 10).await.unwrap();
        assert!(one.is_some() && live.len() == 1 && waiting.len() == 1 && tenants.len() == 1);
        let rest = (of_node.nodes, one, live, waiting, tenants, budgets, keys);
        format!("{rest:?}")
    };
    // At once, so that each of the connections has read each of them.
    let reads = tokio::join!(read(), read(), read(), read());
    assert!(all.sessions.len() == 1 && all.nodes.len() == 1 && here.nodes == all.nodes);
    format!("{:?} {:?} {reads:?}", all.sessions, all.nodes)
}

#[tokio::test]
async fn a_broker_reads_and_writes_on_while_a_newer_one_changes_its_tables() {
    let Some(server) = Server::start() else {
        return;
    };
    let store = Store::open(server.database("changes").await).await;
    let node = store.node(1, 1_000).await.id;
    let session = store.session().await;
    let add = change(IdentityChange::AddTenant(tenant_row("a")));
    assert_eq!(store.write(add).await, Applied::Done);
    let before = everything(&store, &session, &node).await;
    let mut beside = store.place.connect().await;
    let mut alter = async |text: &str| {
        let alter = AssertSqlSafe(format!("ALTER TABLE {text}"));
        sqlx::raw_sql(alter).execute(&mut beside).await.unwrap();
    };

    for table in ["session", "tenant", "api_key", "node", "usage_interval"] {
        alter(&format!(
            "{table} ADD COLUMN newer BIGINT NOT NULL DEFAULT 7"
        ))
        .await;
    }
    assert_eq!(everything(&store, &session, &node).await, before);
    assert_eq!(
        store.ledger.readers.voided(),
        0,
        "one column more is nothing"
    );

    // What no naming of columns helps against: their types are others.
    alter("session ALTER COLUMN detail TYPE VARCHAR").await;
    alter("tenant ALTER COLUMN name TYPE VARCHAR").await;
    assert_eq!(everything(&store, &session, &node).await, before);
    let voided = store.ledger.readers.voided();
    assert!(voided > 0, "each connection with such a plan was given up");
    assert_eq!(everything(&store, &session, &node).await, before);
    assert_eq!(store.ledger.readers.voided(), voided, "and no other one");
    let save = Op::SavePhase {
        session: session.id.clone(),
        phase: Phase::Queued,
        starts_denied: 0,
        at: MonoTime(2_000),
    };
    assert_eq!(store.write(save).await, Applied::Done);
    assert_eq!(store.ledger.setbacks(), 0);
}
