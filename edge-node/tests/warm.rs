//! Desktops that are ready before a session: used once, shared by nobody, ended when there is no room for them.
#![allow(clippy::unwrap_used, reason = "a test that fails should say where")]

mod support;

use nearlight_protocol::api::{EndReason, StartProgress};
use nearlight_protocol::control::{
    AckOutcome, FromEdge, ImagesWanted, Order, SessionReport, ToEdge, WarmWanted,
};
use nearlight_protocol::id::SessionId;
use nearlight_protocol::work::Work;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use support::broker::Attached;
use support::docker_with_image;
use support::node::{Site, app, until};

const FOREVER: &str = "trap 'exit 0' TERM; while :; do sleep 0.1; done";

async fn docker_site() -> Option<Site> {
    if !docker_with_image() {
        return None;
    }
    Some(Site::new("docker").await)
}

async fn want(edge: &mut Attached, count: u32, width: u32) {
    let mut display = app(FOREVER).needs.display;
    display.width = width;
    let warm = WarmWanted {
        app: app(FOREVER).id,
        display,
        count,
    };
    let wanted = ImagesWanted {
        warm: vec![warm],
        ..ImagesWanted::default()
    };
    edge.say(&ToEdge::Images(wanted)).await;
}

/// Waits until the node says that so many are ready.
async fn ready(edge: &mut Attached, count: u32) {
    loop {
        if let FromEdge::Inventory(inventory) = edge.next().await {
            let ready: u32 = inventory.warm.iter().map(|warm| warm.count).sum();
            if ready == count {
                return;
            }
        }
    }
}

async fn play(site: &Site, edge: &mut Attached, slot: usize, layout: &str) -> SessionId {
    let session = nearlight_kit::ids::session();
    let slot = edge.inventory.slots[slot].id.clone();
    let Order::Start(mut start) = site.broker.start(&session, &slot, 1, app(FOREVER)) else {
        unreachable!()
    };
    let Work::App(work) = &mut start.work else {
        unreachable!()
    };
    layout.clone_into(&mut work.keyboard_layout);
    let done = edge.done(Order::Start(start)).await;
    assert_eq!(done, AckOutcome::Done);
    let waiting = SessionReport::Progress {
        progress: StartProgress::WaitingForPicture,
    };
    edge.report(&session, |event| *event == waiting).await;
    site.show_picture(&session);
    edge.wait_ready(&session).await;
    session
}

async fn stop(edge: &mut Attached, session: &SessionId) {
    let order = Order::Stop {
        session: session.clone(),
        reason: EndReason::PlayerEnded,
    };
    edge.order(order).await;
    assert_eq!(edge.ended(session).await.0, EndReason::PlayerEnded);
}

/// The user that owns a desktop's directory: its worker's.
fn user(dir: &Path) -> u32 {
    std::fs::metadata(dir.join("desk")).unwrap().uid()
}

/// Whether a worker runs in this directory.
fn has_worker(dir: &Path) -> bool {
    let desk = dir.join("desk").display().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok())
        .any(|line| line.contains(&desk))
}

#[tokio::test]
async fn a_spare_desktop_is_used_once_and_replaced_and_two_sessions_never_share() {
    let Some(site) = docker_site().await else {
        return;
    };
    let _agent = site.agent();
    let mut edge = site.broker.attach().await;
    want(&mut edge, 1, 640).await;
    ready(&mut edge, 1).await;
    let spare = site.desks();
    assert_eq!(spare.len(), 1);
    let one = play(&site, &mut edge, 0, "us").await;
    assert_eq!(
        site.desk(&one),
        spare[0],
        "it has the desktop that was ready"
    );
    until("it is replaced", || site.desks().len() == 2).await;
    until("the second is ready", || {
        site.desks().iter().all(|d| has_worker(d))
    })
    .await;

    let two = play(&site, &mut edge, 1, "us").await;
    assert_ne!(site.desk(&one), site.desk(&two));
    let users = [user(&site.desk(&one)), user(&site.desk(&two))];
    if nix::unistd::geteuid().is_root() {
        assert_ne!(users[0], users[1], "each worker is somebody else");
    }
    stop(&mut edge, &one).await;
    assert!(!has_worker(&spare[0]), "it is not kept for the next");
    assert!(!spare[0].exists());
    stop(&mut edge, &two).await;
    want(&mut edge, 0, 640).await;
    until("nothing is left", || site.leftovers().is_empty()).await;
    assert_eq!(site.containers(), Vec::<String>::new());
}

#[tokio::test]
async fn a_session_on_a_desktop_that_was_ready_outlives_its_agent_and_the_spares_do_not() {
    let Some(site) = docker_site().await else {
        return;
    };
    let agent = site.agent();
    let mut edge = site.broker.attach().await;
    want(&mut edge, 1, 640).await;
    ready(&mut edge, 1).await;
    let session = play(&site, &mut edge, 0, "us").await;
    until("it is replaced", || site.desks().len() == 2).await;
    let own = site.desk(&session);
    let is_spare = |dir: &&PathBuf| **dir != own;
    let spare = site.desks().iter().find(is_spare).unwrap().clone();
    until("the spare runs", || has_worker(&spare)).await;
    agent.kill().await;
    assert!(has_worker(&spare), "nobody has ended it");

    let _agent = site.agent();
    let mut edge = site.broker.attach().await;
    assert_eq!(edge.running.len(), 1, "the session goes on");
    assert!(has_worker(&own));
    assert!(!has_worker(&spare) && !spare.exists());
    assert_eq!(site.desks(), std::slice::from_ref(&own));
    stop(&mut edge, &session).await;
    assert_eq!(site.leftovers(), Vec::<PathBuf>::new());
    assert!(!has_worker(&own));
}

#[tokio::test]
async fn a_version_with_another_display_ends_the_spares_of_the_one_before() {
    let Some(site) = docker_site().await else {
        return;
    };
    let agent = site.agent();
    let mut edge = site.broker.attach().await;
    want(&mut edge, 1, 640).await;
    ready(&mut edge, 1).await;
    let former = site.desks()[0].clone();
    want(&mut edge, 1, 800).await;
    until("the former one ends", || {
        !former.exists() && !has_worker(&former)
    })
    .await;
    until("the next one is there", || {
        site.desks().iter().any(|d| has_worker(d))
    })
    .await;
    // A node that stops leaves none.
    agent.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(agent.exited().await, Some(0));
    assert_eq!(site.leftovers(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_spare_gives_way_to_a_session_that_it_does_not_fit() {
    let Some(site) = docker_site().await else {
        return;
    };
    let _agent = site.agent();
    let mut edge = site.broker.attach().await;
    want(&mut edge, 5, 640).await;
    ready(&mut edge, 2).await;
    let spares = site.desks();
    assert_eq!(spares.len(), 2, "no more than slots");
    let session = play(&site, &mut edge, 0, "de").await;
    assert!(!spares.contains(&site.desk(&session)), "another keyboard");
    until("one has given way", || site.desks().len() == 2).await;
    let second = play(&site, &mut edge, 1, "us").await;
    assert!(spares.contains(&site.desk(&second)));
    assert_eq!(site.desks().len(), 2, "no slot, no spare");
}
