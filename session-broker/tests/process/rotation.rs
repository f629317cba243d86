//! The CA is rotated, and nodes go on: one that is there throughout, and one that was off for all of it.

use crate::edge::{Edge, Node};
use crate::enrolment::token;
use crate::rig::Rig;
use nearlight_kit::enrol::{broker_name, enrol, renew_late};
use nearlight_kit::pki::rotation::{RotationError, begin, retire, switch};
use nearlight_kit::pki::{Credentials, PendingKey};
use nearlight_protocol::control::{FromEdge, ToEdge};
use serde_json::json;
use std::path::Path;

const HOUR_S: i64 = 3600;

/// A node that joined, with what it knows in a directory of its own.
async fn joined(rig: &Rig) -> (Node, tempfile::TempDir) {
    let (token, key) = (
        token(rig, &json!({})).await,
        PendingKey::generate().unwrap(),
    );
    let (enrolled, issued, _) = enrol(&token, &broker_name(), &key, &rig.wall)
        .await
        .unwrap();
    let own = tempfile::tempdir().unwrap();
    issued.save(own.path(), enrolled.node.as_str()).unwrap();
    let mut node = Node::known(enrolled.node, 1);
    node.wall = rig.wall.clone();
    (node, own)
}

async fn attach(rig: &Rig, node: &Node, own: &Path) -> Edge {
    let edge = node.attach(own, rig.broker.node_listen, Vec::new()).await;
    rig.online(node).await;
    edge
}

async fn renew(rig: &Rig, edge: &mut Edge, own: &Path) {
    let key = PendingKey::generate().unwrap();
    let request = key.request().unwrap();
    edge.send(FromEdge::Renew { request }).await;
    let ToEdge::Renewed(renewed) = edge.next().await else {
        panic!("no certificate");
    };
    let issued = key
        .accept(&renewed.certificate, &renewed.ca, &rig.wall)
        .unwrap();
    issued.save(own, edge.node.id.as_str()).unwrap();
}

#[tokio::test]
async fn nodes_go_on_through_a_rotation_of_the_ca_and_one_that_was_off_returns_late() {
    let rig = Rig::start().await;
    let (there, knows) = joined(&rig).await;
    let (off, knew) = joined(&rig).await;
    let (gone, gone_knew) = joined(&rig).await;
    assert!(matches!(
        switch(&rig.pki(), &rig.wall, true),
        Err(RotationError::NotNow)
    ));

    begin(&rig.pki(), &rig.wall).unwrap();
    assert!(matches!(
        begin(&rig.pki(), &rig.wall),
        Err(RotationError::UnderWay)
    ));
    let rig = rig.restart().await;
    let mut edge = attach(&rig, &there, knows.path()).await;
    rig.wall.set_ahead(17 * HOUR_S);
    renew(&rig, &mut edge, knows.path()).await;
    let early = switch(&rig.pki(), &rig.wall, false);
    assert!(
        matches!(early, Err(RotationError::NotLearned(_))),
        "{early:?}"
    );

    rig.wall.set_ahead(25 * HOUR_S);
    switch(&rig.pki(), &rig.wall, false).unwrap();
    let rig = rig.restart().await;
    let mut edge = attach(&rig, &there, knows.path()).await;
    // What it gets from now on is of the new one.
    renew(&rig, &mut edge, knows.path()).await;

    // It knows the old one alone, and its certificate is over.
    let shown = Credentials::load(knew.path(), off.id.as_str()).unwrap();
    let (at, key) = (
        rig.broker.node_listen.to_string(),
        PendingKey::generate().unwrap(),
    );
    let issued = renew_late(&at, &broker_name(), &shown, &key, &rig.wall)
        .await
        .unwrap();
    issued.save(knew.path(), off.id.as_str()).unwrap();
    attach(&rig, &off, knew.path()).await;

    let early = retire(&rig.pki(), &rig.wall, false);
    assert!(
        matches!(early, Err(RotationError::StillValid(_))),
        "{early:?}"
    );
    retire(&rig.pki(), &rig.wall, true).unwrap();
    let rig = rig.restart().await;
    attach(&rig, &there, knows.path()).await;
    attach(&rig, &off, knew.path()).await;
    // Whoever was not heard of in all that time joins again: neither believes the other.
    let shown = Credentials::load(gone_knew.path(), gone.id.as_str()).unwrap();
    let at = rig.broker.node_listen.to_string();
    let (name, key) = (broker_name(), PendingKey::generate().unwrap());
    let late = renew_late(&at, &name, &shown, &key, &rig.wall).await;
    assert!(late.is_err());
    // The next rotation may begin.
    begin(&rig.pki(), &rig.wall).unwrap();
}
