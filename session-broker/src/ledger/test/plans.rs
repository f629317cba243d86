//! How PostgreSQL carries out statements on tables that it has not counted yet.

use super::Store;
use super::place::Server;
use crate::ledger::dialect::Engine;
use crate::ledger::source::Source;
use crate::ledger::write::{
    apps, claims, gpus, jobs, orders, readmit, sessions, usage, volumes, webhooks,
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
