//! Sessions that play on a node of the test's own.

use super::broker::Attached;
use super::docker_with_image;
use super::node::{Agent, Site, app};
use nearlight_protocol::api::EndReason;
use nearlight_protocol::control::{AckOutcome, Order, SessionReport};
use nearlight_protocol::id::SessionId;

/// An app that runs until it is told to end.
pub const FOREVER: &str = "trap 'exit 0' TERM; while :; do sleep 0.1; done";

pub async fn docker_site() -> Option<Site> {
    if !docker_with_image() {
        return None;
    }
    Some(Site::new("docker").await)
}

/// An agent, attached, with one session that plays.
pub async fn playing(site: &Site) -> (Agent, Attached, SessionId) {
    let agent = site.agent();
    let mut edge = site.broker.attach().await;
    let session = play(site, &mut edge, 0, 1, FOREVER).await;
    (agent, edge, session)
}

pub async fn play(
    site: &Site,
    edge: &mut Attached,
    slot: usize,
    epoch: u64,
    script: &str,
) -> SessionId {
    let session = nearlight_kit::ids::session();
    let slot = edge.inventory.slots[slot].id.clone();
    let start = site.broker.start(&session, &slot, epoch, app(script));
    assert_eq!(edge.done(start).await, AckOutcome::Done);
    wait_for_app(edge, &session).await;
    site.show_picture(&session);
    edge.wait_ready(&session).await;
    session
}

pub async fn wait_for_app(edge: &mut Attached, session: &SessionId) {
    use nearlight_protocol::api::StartProgress;
    let waiting = SessionReport::Progress {
        progress: StartProgress::WaitingForPicture,
    };
    edge.report(session, |event| *event == waiting).await;
}

pub fn stop(session: &SessionId) -> Order {
    Order::Stop {
        session: session.clone(),
        reason: EndReason::PlayerEnded,
    }
}

pub async fn check_nothing_left(site: &Site) {
    assert_eq!(site.leftovers(), Vec::<std::path::PathBuf>::new());
    assert_eq!(site.containers(), Vec::<String>::new());
}

pub fn record_of(site: &Site, session: &SessionId) -> serde_json::Value {
    let record = site.data().join("sessions").join(format!("{session}.json"));
    serde_json::from_slice(&std::fs::read(record).unwrap()).unwrap()
}

pub fn worker_of(site: &Site, session: &SessionId) -> i32 {
    let record = record_of(site, session);
    i32::try_from(record["worker"]["pid"].as_i64().unwrap()).unwrap()
}
