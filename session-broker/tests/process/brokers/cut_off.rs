//! Brokers that lose their way to the ledger, alone or all of them.

use super::{at, of, path, reach};
use crate::edge::{Edge, Node, Started};
use crate::http::Client;
use crate::program::Program;
use crate::rig::{eventually, id};
use crate::shared::Shared;
use nearlight_protocol::api::EndReason;
use nearlight_protocol::control::ToEdge;
use std::cell::RefCell;

/// Waits until a broker has found the ledger out of reach so often, of itself and as its peer says.
async fn finds_it_out_of_reach(broker: &Program, reached_by: &str, times: u64) {
    let metrics = Client::nobody(broker.metrics_listen.unwrap());
    let line = format!("broker_ledger_lapses_total{{reached_by=\"{reached_by}\"}} ");
    eventually("the ledger to be out of reach", || async {
        let page = metrics.get("/metrics").await.body;
        let found = page.lines().find_map(|l| l.strip_prefix(&line));
        found.is_some_and(|n| n.parse::<u64>().unwrap() >= times)
    })
    .await;
}

#[tokio::test]
async fn a_broker_that_alone_loses_the_ledger_sends_its_nodes_to_the_others() {
    let Some(shared) = Shared::new() else { return };
    let [(a, _line), (b, line)] = shared.two_by_lines().await;
    let guest = Client::guest(a.listen).await;
    let mut edge = shared.edge(1, &b, &[&guest, &at(&guest, &b)]).await;
    let session = id(&guest.create("demo").await);
    let started = edge.start_next().await;
    assert_eq!(of(&started), session);
    reach(&guest, &session, "ready").await;

    line.cut();
    assert!(matches!(
        edge.next_or_closed().await,
        Some(ToEdge::GoAway { .. })
    ));
    assert!(edge.next_or_closed().await.is_none());
    // It is of no use to come back.
    let node = edge.node.clone();
    let mut back = node.dial(&shared.pki(), b.node_listen, &node.id).await;
    let ToEdge::Refused {
        detail,
        revoked: false,
        ..
    } = back.next().await
    else {
        panic!("it is taken");
    };
    assert!(detail.contains("does not reach its ledger"), "{detail}");

    // Where it is sent it goes on with what it runs.
    let mut moved = shared.attach(&node, &a, vec![started.running(false)]).await;
    reach(&guest, &session, "ready").await;
    assert_eq!(guest.delete(&path(&session)).await.status, 202);
    assert_eq!(moved.stop_next(&started).await, EndReason::PlayerEnded);
    reach(&guest, &session, "ended").await;
}

#[tokio::test]
async fn nodes_stay_where_they_are_while_no_broker_reaches_the_ledger() {
    let Some(shared) = Shared::new() else { return };
    let [(a, one), (b, other)] = shared.two_by_lines().await;
    let guest = Client::guest(a.listen).await;
    let mut edge = shared.edge(1, &b, &[&guest, &at(&guest, &b)]).await;
    let session = id(&guest.create("demo").await);
    let started = edge.start_next().await;
    reach(&guest, &session, "ready").await;

    one.cut();
    other.cut();
    for broker in [&a, &b] {
        finds_it_out_of_reach(broker, "none", 2).await;
    }
    assert!(edge.is_open().await);
    let metrics = Client::nobody(b.metrics_listen.unwrap());
    let page = metrics.get("/metrics").await.body;
    assert!(page.contains("broker_nodes_sent_away 0"), "{page}");
    assert!(!page.contains("reached_by=\"another\""), "{page}");
    // Once it is there again, everything goes on where it is: nobody was given up.
    one.mend();
    other.mend();
    eventually("the ledger", || async {
        guest.delete(&path(&session)).await.status == 202
    })
    .await;
    assert_eq!(edge.stop_next(&started).await, EndReason::PlayerEnded);
    reach(&guest, &session, "ended").await;
}

/// Comes back until the broker takes it, and shows what it runs.
async fn taken_again(shared: &Shared, broker: &Program, (node, runs): (&Node, &Started)) -> Edge {
    let taken = RefCell::new(None);
    eventually("it to be taken", || async {
        let (pki, running) = (shared.pki(), vec![runs.running(false)]);
        match node.try_attach(&pki, broker.node_listen, running).await {
            Ok(edge) => taken.replace(Some(edge)).is_none(),
            Err(said) => {
                assert!(matches!(*said, ToEdge::Refused { revoked: false, .. }));
                false
            }
        }
    })
    .await;
    taken.into_inner().unwrap()
}

/// Cut from the ledger and from its peers it cannot know whether the others reach the ledger. Its nodes find out:
/// who does not get there is taken again, and sent to try again; who does has its session go on.
#[tokio::test]
async fn nodes_of_a_broker_that_reaches_nobody_try_the_others_and_are_taken_again() {
    let Some(shared) = Shared::new() else { return };
    // They try for two seconds of each four.
    let quick = "[sessions]\nnode_grace_s = 8\n";
    let [(a, _line), (b, line)] = shared.two_by_lines_with(quick).await;
    let guest = Client::guest(a.listen).await;
    let there = at(&guest, &b);
    let mut edge = shared.edge(1, &b, &[&guest, &there]).await;
    let session = id(&guest.create("demo").await);
    let started = edge.start_next().await;
    reach(&there, &session, "ready").await;

    line.cut();
    a.signal("-STOP").await;
    let node = edge.node.clone();
    for _ in 0..2 {
        assert!(matches!(
            edge.next_or_closed().await,
            Some(ToEdge::GoAway { .. })
        ));
        assert!(edge.next_or_closed().await.is_none());
        edge = taken_again(&shared, &b, (&node, &started)).await;
    }
    let cut_off = Client::nobody(b.metrics_listen.unwrap());
    let page = cut_off.get("/metrics").await.body;
    assert!(!page.contains("reached_by=\"another\""), "{page}");
    there.get("/readyz").await.refused(500, "internal");

    // The other one is there again, has taken over, and so has its session.
    a.signal("-CONT").await;
    let mut moved = shared.attach(&node, &a, vec![started.running(false)]).await;
    reach(&guest, &session, "ready").await;
    let claims = "SELECT COUNT(*), MAX(epoch) FROM claim WHERE released_ms IS NULL";
    assert_eq!(shared.postgres.ask(claims), "1|1", "it was placed once");
    assert_eq!(guest.delete(&path(&session)).await.status, 202);
    assert_eq!(moved.stop_next(&started).await, EndReason::PlayerEnded);
    reach(&guest, &session, "ended").await;
    // What was cut off finds that it was given up, and stops.
    let metrics = Client::nobody(a.metrics_listen.unwrap());
    eventually("it to be given up", || async {
        let page = metrics.get("/metrics").await.body;
        page.contains("broker_peers_given_up_total 1")
    })
    .await;
    line.mend();
    assert!(b.ended().await.success());
}
