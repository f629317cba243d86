//! The same through another broker, also when the one that holds it all hangs, or is dead.

use super::*;
use crate::program::Program;
use crate::shared::{Shared, online};
use futures_util::future::join_all;

/// The same caller at another broker.
fn at(client: &Client, broker: &Program) -> Client {
    Client {
        at: broker.listen,
        ..client.clone()
    }
}

/// What strangers learn at that broker by the routes that are `asked`, all at once.
async fn leaks(
    strangers: &[(&str, Client)],
    theirs: &Theirs,
    asked: impl Fn(&str) -> bool,
) -> Vec<String> {
    let mut asking = Vec::new();
    for (who, stranger) in strangers {
        for (method, route, apart) in ROUTES {
            if !asked(route) || is_theirs_too(who, method, route) {
                continue;
            }
            asking.push(async move {
                let why = leak(stranger, method, route, *apart, theirs).await?;
                Some(format!("{who}: {method} {route}: {why}"))
            });
        }
    }
    assert!(asking.len() > 2 * strangers.len());
    join_all(asking).await.into_iter().flatten().collect()
}

/// These brokers keep no log of receipts, and say so to anybody.
fn is_there(route: &str) -> bool {
    let of_log = ["/log/", "/v1/checkers", "/v1/directory", "/v1/receipts"];
    !of_log.iter().any(|of| route.starts_with(of))
}

fn is_held(route: &str) -> bool {
    route.starts_with("/v1/sessions/{id}") || route.starts_with("/v1/watch/")
}

fn none_of(leaks: &[String], when: &str) {
    assert!(leaks.is_empty(), "{when}:\n{}", leaks.join("\n"));
}

#[tokio::test]
async fn strangers_learn_nothing_through_another_broker_and_nothing_when_the_holder_is_dead() {
    let Some(shared) = Shared::new() else { return };
    let (a, b) = shared.two_that_wait().await;
    let admin = shared.admin("a", &a);
    let node = Node {
        jobs: Some(jobs::host()),
        ..Node::new(&shared.pki(), 3)
    };
    let mut edge = shared.attach(&node, &a, Vec::new()).await;
    for broker in [&a, &b] {
        online(&at(&admin, broker), &node).await;
    }
    let (theirs, owner) = busy(&admin, &mut edge).await;
    let owner = at(&owner, &b);
    let mut there = strangers(&at(&admin, &b), &theirs).await.to_vec();
    none_of(&leaks(&there, &theirs, is_there).await, "both are there");
    untouched(&owner, &theirs).await;

    // Nobody at all is one more, whom all routes refuse alike.
    there.push(("nobody", Client::nobody(b.listen)));
    let path = format!("/v1/sessions/{}", theirs.session);
    a.signal("-STOP").await;
    let hangs = async {
        let refused = owner.get(&path).await;
        // What waits for a node's word would wait for longer than anybody here.
        a.kill().await;
        refused
    };
    let (refused, found) = tokio::join!(hangs, leaks(&there, &theirs, is_held));
    refused.refused(503, "node-unreachable");
    none_of(&found, "the holder hangs");

    for route in [&path, &format!("{path}/files?path=/tmp/x")] {
        owner.get(route).await.refused(503, "node-unreachable");
    }
    let found = leaks(&there, &theirs, is_held).await;
    none_of(&found, "the holder is dead");
}
