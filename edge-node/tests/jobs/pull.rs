//! Images that are not for everybody, with a real registry that lets nobody in without a login.

use super::support::jobs::{docker, end_of, image, served, site, start, stopped};
use super::support::registry::{PASSWORD, Registry, USER, is_here};
use nearlight_protocol::api::EndReason;
use nearlight_protocol::control::{AckOutcome, Order};
use nearlight_protocol::work::PullLogin;
use std::fs;
use std::path::Path;

/// Files under `dir` that have `text`.
fn with(dir: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            found.extend(with(&path, text));
        } else if entry.file_type().unwrap().is_file() {
            let bytes = fs::read(&path).unwrap_or_default();
            let has = bytes
                .windows(text.len())
                .any(|part| part == text.as_bytes());
            found.extend(has.then(|| path.display().to_string()));
        }
    }
    found
}

fn with_login(order: Order, password: &str) -> Order {
    match order {
        Order::Start(mut start) => {
            start.pull = Some(PullLogin {
                username: USER.to_owned(),
                password: password.to_owned(),
            });
            Order::Start(start)
        }
        other => other,
    }
}

#[tokio::test]
async fn a_private_image_is_pulled_with_the_orders_login_of_which_nothing_stays() {
    let Some(site) = site().await else { return };
    let Some(mut registry) = Registry::start_private() else {
        return;
    };
    let mut spec = served();
    // What the tests' images are committed with is another program.
    spec.command = ["serve", "8000"].map(str::to_owned).into();
    spec.image = registry.image_on(&image(None), "private", 1024);
    let _agent = site.agent();
    let mut edge = site.broker.attach().await;

    let orders = [None, Some("wrong-horse"), Some(PASSWORD)];
    for (epoch, password) in (1..).zip(orders) {
        let session = nearlight_kit::ids::session();
        let order = start(&site.broker, &session, (&edge, 0, epoch), spec.clone());
        let order = match password {
            Some(password) => with_login(order, password),
            None => order,
        };
        assert_eq!(edge.done(order).await, AckOutcome::Done);
        if password == Some(PASSWORD) {
            edge.wait_ready(&session).await;
            let container = format!("nearlight-{session}");
            for what in [&container, &spec.image] {
                let inspected = docker(&["inspect", what]).unwrap();
                assert!(!inspected.contains(PASSWORD), "{inspected}");
            }
            assert_eq!(with(site.dir.path(), PASSWORD), [""; 0]);
            stopped(&mut edge, &session).await;
        } else {
            let (reason, detail) = end_of(&mut edge, &session).await;
            assert_eq!(reason, EndReason::ImageMissing, "{detail}");
            assert!(!detail.contains("horse"), "{detail}");
            assert!(!is_here(&spec.image));
        }
    }
}
