//! What brokers say of a database that acks before all that is to have it has it.

use crate::http::Client;
use crate::shared::Shared;

/// With a synchronous standby, acked means: on two disks.
#[tokio::test]
async fn a_broker_says_that_its_commits_wait_for_no_standbys_disk() {
    let Some(shared) = Shared::new() else { return };
    // Of the role, as one may set it: the standby is not there, and whatever waits for it waits for good.
    let role = "ALTER ROLE CURRENT_USER SET synchronous_commit = local";
    shared.postgres.ask(role);
    let standby = "synchronous_standby_names = 'nobody'\n";
    shared.postgres.reconfigure(standby);
    let broker = shared.broker("a").await;
    let metrics = Client::nobody(broker.metrics_listen.unwrap());
    let page = metrics.get("/metrics").await.body;
    let of = |setting: &str| format!("broker_ledger_durable{{setting=\"{setting}\",value=");
    let commit = format!("{}\"local\"}} 0", of("synchronous_commit"));
    let fsync = format!("{}\"on\"}} 1", of("fsync"));
    assert!(page.contains(&commit) && page.contains(&fsync), "{page}");
}
