//! Images from a real registry: fetched while a session waits, fetched ahead of sessions, and removed.
#![allow(clippy::unwrap_used, reason = "a test that fails should say where")]

mod support;

use nearlight_protocol::api::{EndReason, StartProgress};
use nearlight_protocol::app::AppSpec;
use nearlight_protocol::control::{
    AckOutcome, FromEdge, ImagesWanted, Inventory, Order, SessionReport, ToEdge,
};
use nearlight_protocol::id::SessionId;
use support::broker::Attached;
use support::docker_with_image;
use support::node::{Site, app, until};
use support::registry::{Registry, is_here};

const FOREVER: &str = "trap 'exit 0' TERM; while :; do sleep 0.1; done";
const BALLAST: usize = 8 * 1024 * 1024;

async fn site() -> Option<(Site, Registry)> {
    if !docker_with_image() {
        return None;
    }
    let registry = Registry::start()?;
    let mut site = Site::new("docker").await;
    "[images]\ndisk_mib = 0\nfree_mib = 0\n".clone_into(&mut site.config);
    Some((site, registry))
}

fn with_image(image: &str) -> AppSpec {
    let mut spec = app(FOREVER);
    image.clone_into(&mut spec.launch.image);
    spec
}

async fn started(site: &Site, edge: &mut Attached, epoch: u64, spec: AppSpec) -> SessionId {
    let session = nearlight_kit::ids::session();
    let slot = edge.inventory.slots[0].id.clone();
    let start = site.broker.start(&session, &slot, epoch, spec);
    assert_eq!(edge.done(start).await, AckOutcome::Done);
    session
}

async fn stopped(edge: &mut Attached, session: &SessionId) {
    let order = Order::Stop {
        session: session.clone(),
        reason: EndReason::PlayerEnded,
    };
    edge.order(order).await;
    assert_eq!(edge.ended(session).await.0, EndReason::PlayerEnded);
}

async fn want(edge: &mut Attached, pull: &[&str]) {
    let pull = pull.iter().map(|image| (*image).to_owned()).collect();
    let wanted = ImagesWanted {
        pull,
        ..ImagesWanted::default()
    };
    edge.say(&ToEdge::Images(wanted)).await;
}

async fn inventory(edge: &mut Attached, wanted: impl Fn(&Inventory) -> bool) -> Inventory {
    loop {
        if let FromEdge::Inventory(inventory) = edge.next().await
            && wanted(&inventory)
        {
            return inventory;
        }
    }
}

#[tokio::test]
async fn a_session_says_how_far_its_image_is_and_can_be_cancelled_meanwhile() {
    let Some((site, mut registry)) = site().await else {
        return;
    };
    let image = registry.image("progress", BALLAST);
    let _agent = site.agent();
    let mut edge = site.broker.attach().await;
    registry.let_through(BALLAST as u64 / 3);
    let session = started(&site, &mut edge, 1, with_image(&image)).await;
    let under_way = |event: &SessionReport| match event {
        SessionReport::Progress {
            progress:
                StartProgress::Pulling {
                    done_bytes,
                    total_bytes,
                    layers_done,
                    layers,
                },
        } => {
            let whole = *total_bytes >= BALLAST as u64;
            whole && *done_bytes > 0 && done_bytes < total_bytes && layers_done < layers
        }
        _ => false,
    };
    edge.report(&session, under_way).await;
    stopped(&mut edge, &session).await;
    assert_eq!(site.containers(), Vec::<String>::new());
    assert_eq!(site.leftovers(), Vec::<std::path::PathBuf>::new());
    assert!(!is_here(&image));

    registry.let_through(u64::MAX);
    let session = started(&site, &mut edge, 2, with_image(&image)).await;
    let waiting = SessionReport::Progress {
        progress: StartProgress::WaitingForPicture,
    };
    edge.report(&session, |event| *event == waiting).await;
    site.show_picture(&session);
    edge.wait_ready(&session).await;
    assert!(is_here(&image));
    stopped(&mut edge, &session).await;
}

#[tokio::test]
async fn what_is_wanted_is_fetched_ahead_and_what_failed_is_said() {
    let Some((site, mut registry)) = site().await else {
        return;
    };
    let image = registry.image("ahead", 64 * 1024);
    let absent = format!("{}/absent:1", registry.gate_at);
    let _agent = site.agent();
    let mut edge = site.broker.attach().await;
    // What cannot be had comes first, and holds nothing up.
    want(&mut edge, &[&absent, &image]).await;
    let has = |inventory: &Inventory| {
        inventory.images.contains(&image) && !inventory.image_faults.is_empty()
    };
    let found = inventory(&mut edge, has).await;
    assert_eq!(found.image_faults.len(), 1, "{:?}", found.image_faults);
    assert_eq!(found.image_faults[0].image, absent);
    assert!(!found.image_faults[0].detail.is_empty());
    // Nobody wants it any more.
    want(&mut edge, &[&image]).await;
    let quiet = inventory(&mut edge, |i| i.image_faults.is_empty()).await;
    assert!(quiet.images.contains(&image));
}

#[tokio::test]
async fn what_no_version_needs_goes_but_never_what_a_session_uses_or_somebody_built() {
    let Some((site, mut registry)) = site().await else {
        return;
    };
    let image = registry.image("gone", 64 * 1024);
    let agent = site.agent();
    let mut edge = site.broker.attach().await;
    want(&mut edge, &[&image, support::IMAGE]).await;
    inventory(&mut edge, |i| i.images.contains(&image)).await;
    let session = started(&site, &mut edge, 1, with_image(&image)).await;
    let waiting = SessionReport::Progress {
        progress: StartProgress::WaitingForPicture,
    };
    edge.report(&session, |event| *event == waiting).await;

    // With no room at all for what is not needed. The second wish is heard after the first was carried out.
    let other = registry.image("other", 1024);
    want(&mut edge, &[]).await;
    want(&mut edge, &[&other]).await;
    inventory(&mut edge, |i| i.images.contains(&other)).await;
    assert!(is_here(&image), "a session uses it");
    stopped(&mut edge, &session).await;

    // The next agent knows what the one before has fetched.
    drop((edge, agent));
    let _agent = site.agent();
    let mut edge = site.broker.attach().await;
    want(&mut edge, &[&other]).await;
    until("what nobody needs is removed", || !is_here(&image)).await;
    assert!(is_here(&other), "it is wanted");
    assert!(is_here(support::IMAGE), "this node did not fetch it");
}
