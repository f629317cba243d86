//! The ledger fails: before, or after it has written. The broker loads again and never guesses.

use crate::http::Client;
use crate::rig::{Rig, eventually};
use serde_json::json;
use session_broker::ledger::Fault;

mod looks;

async fn create(guest: &Client, key: &str) -> crate::http::Answer {
    let guest = guest.with("idempotency-key", key);
    guest
        .post_json("/v1/sessions", &json!({ "app": "demo" }))
        .await
}

/// A load balancer must not send callers to a broker that can read and not write.
#[tokio::test]
async fn a_broker_that_cannot_write_is_not_ready_until_it_can() {
    let rig = Rig::start().await;
    let (guest, probe) = (rig.guest().await, rig.nobody());
    assert_eq!(probe.get("/readyz").await.status, 200);
    rig.faults.arm(Fault::Full);
    let failed = create(&guest, "k").await;
    let told = failed.at("/detail");
    assert!(told.contains("the same Idempotency-Key"), "{told}");
    failed.refused(500, "internal");
    probe.get("/readyz").await.refused(500, "internal");
    assert_eq!(probe.get("/healthz").await.status, 200, "it lives");
    rig.faults.arm(Fault::None);
    eventually("readiness, without a write of anybody", || async {
        probe.get("/readyz").await.status == 200
    })
    .await;
    assert_eq!(create(&guest, "k").await.status, 201);
}

async fn a_create_meets(fault: Fault) {
    let rig = Rig::start().await;
    let guest = rig.guest().await;
    rig.faults.arm(fault);
    create(&guest, "k").await.refused(500, "internal");
    let again = create(&guest, "k").await;
    assert_eq!(
        again.status, 201,
        "{fault:?}: asking again is safe: {again:?}"
    );
    let listed = guest.get("/v1/sessions").await.json();
    assert_eq!(listed["sessions"].as_array().unwrap().len(), 1, "{fault:?}");
    assert_eq!(listed["sessions"][0]["id"], again.at("/id"));
    let loaded = rig.ledger.load(0).await.unwrap();
    assert_eq!(loaded.sessions.len(), 1, "{fault:?}: in the ledger, too");
}

#[tokio::test]
async fn a_create_that_fails_is_created_once_by_asking_again() {
    a_create_meets(Fault::Fails).await;
}

#[tokio::test]
async fn a_create_that_fails_but_is_applied_is_created_once_by_asking_again() {
    a_create_meets(Fault::FailsButApplied).await;
}

/// The end is asked for while the ledger fails; edges attach again, and it ends.
async fn an_end_meets(fault: Fault) {
    let rig = Rig::start().await;
    let mut edge = rig.edge(1).await;
    let node = edge.node.clone();
    let guest = rig.guest().await;
    let session = crate::rig::id(&guest.create("demo").await);
    let started = edge.start_next().await;
    let path = format!("/v1/sessions/{session}");
    eventually("ready", || async {
        guest.get(&path).await.at("/state/phase") == "ready"
    })
    .await;
    rig.faults.arm(fault);
    guest.delete(&path).await.refused(500, "internal");
    while edge.next_or_closed().await.is_some() {}
    let mut edge = rig.attach(&node, vec![started.running(false)]).await;
    if fault == Fault::Fails {
        eventually("the node", || async {
            guest.get("/v1/nodes").await.at("/nodes/0/status") == "online"
        })
        .await;
        assert_eq!(
            guest.get(&path).await.at("/state/phase"),
            "ready",
            "nothing was written"
        );
        assert_eq!(guest.delete(&path).await.status, 202);
    }
    edge.stop_next(&started).await;
    eventually("ended", || async {
        guest.get(&path).await.at("/state/phase") == "ended"
    })
    .await;
    assert_eq!(
        guest.create("demo").await.at("/state/phase"),
        "placing",
        "the slot is free"
    );
}

#[tokio::test]
async fn an_end_that_fails_changes_nothing() {
    Box::pin(an_end_meets(Fault::Fails)).await;
}

#[tokio::test]
async fn an_end_that_fails_but_is_applied_is_carried_out() {
    Box::pin(an_end_meets(Fault::FailsButApplied)).await;
}

/// The claim is made with the create, and meets `fault`.
async fn a_claim_meets(fault: Fault) {
    let rig = Rig::start().await;
    let mut edge = rig.edge(1).await;
    let node = edge.node.clone();
    let guest = rig.guest().await;
    rig.faults.arm(fault);
    create(&guest, "k").await.refused(500, "internal");
    while edge.next_or_closed().await.is_some() {}
    let mut edge = rig.attach(&node, Vec::new()).await;
    rig.online(&node).await;
    let session = crate::rig::id(&create(&guest, "k").await);
    let started = edge.start_next().await;
    assert_eq!(started.start.session.to_string(), session);
    assert_eq!(started.grant.epoch.0, 1, "{fault:?}: claimed once");
    // Nodes are shown a moment after their claims are durable.
    eventually("the slot to be shown as taken", || async {
        guest.get("/v1/nodes").await.at("/nodes/0/slots_free") == "0"
    })
    .await;
}

#[tokio::test]
async fn i3_a_claim_that_fails_is_made_by_asking_again() {
    Box::pin(a_claim_meets(Fault::Fails)).await;
}

#[tokio::test]
async fn i3_a_claim_that_fails_but_is_applied_is_carried_out_once() {
    Box::pin(a_claim_meets(Fault::FailsButApplied)).await;
}

#[tokio::test]
async fn a_ticket_whose_use_may_have_been_written_opens_nothing() {
    let rig = Rig::start().await;
    let mut edge = rig.edge(1).await;
    let guest = rig.guest().await;
    let session = crate::rig::id(&guest.create("demo").await);
    edge.start_next().await;
    let path = format!("/v1/sessions/{session}");
    eventually("ready", || async {
        guest.get(&path).await.at("/state/phase") == "ready"
    })
    .await;
    let ticket = guest
        .post_json(&format!("{path}/tickets"), &json!({}))
        .await
        .at("/ticket");
    let viewer = rig
        .nobody()
        .with("authorization", &format!("Bearer {ticket}"));
    let sdp = [("content-type", "application/sdp")];
    let whep = format!("{path}/whep");
    let offer = || viewer.request("POST", &whep, &sdp, "v=0\r\n");
    rig.faults.arm(Fault::FailsButApplied);
    offer().await.refused(500, "internal");
    offer().await.refused(401, "ticket-invalid");
}
