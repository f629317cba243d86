//! Versions of apps over HTTP: added, staged by metro, rolled out, taken back, and what sessions get.

use crate::edge::{Edge, Node, Started};
use crate::http::Client;
use crate::rig::{Rig, eventually};
use crate::shared::Shared;
use nearlight_protocol::control::{FromEdge, ImageFault};
use serde_json::{Value, json};

fn demo(image: &str) -> Value {
    json!({
        "id": "demo", "title": "demo", "summary": "For tests.", "picture": "/apps/demo.webp",
        "shelf": "tool", "launch": { "image": image, "command": ["/demo"] },
        "needs": { "kbps_min": 1000 },
    })
}

async fn added(client: &Client, image: &str, expected: (u16, &str)) {
    let answer = client.post_json("/v1/apps", &demo(image)).await;
    let got = (answer.status, answer.at("/version"));
    assert_eq!((got.0, got.1.as_str()), expected, "{answer:?}");
}

pub(crate) async fn rolled(client: &Client, version: u32, metros: &[&str]) -> Value {
    let body = json!({ "version": version, "metros": metros }).to_string();
    let header = [("content-type", "application/json")];
    let path = "/v1/apps/demo/rollout";
    let answer = client.request("PUT", path, &header, &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

async fn in_metro(rig: &Rig, metro: &str) -> Edge {
    let node = Node {
        region: metro.to_owned(),
        ..rig.node(4)
    };
    let edge = rig.attach(&node, Vec::new()).await;
    rig.online(&node).await;
    edge
}

/// Plays once, and says which image the edge was told to run.
async fn image_on(client: &Client, edge: &mut Edge) -> (String, Started) {
    let created = client.create("demo").await;
    assert_eq!(created.status, 201, "{created:?}");
    let started = edge.start_next().await;
    (started.app().app.launch.image.clone(), started)
}

#[tokio::test]
async fn a_version_goes_out_metro_by_metro_and_is_taken_back() {
    let rig = Rig::start().await;
    let admin = rig.admin();
    let mut north = in_metro(&rig, "north").await;
    added(&admin, "demo:2", (201, "2")).await;
    // Asked again, it is the same; and what the file has is version 1.
    added(&admin, "demo:2", (200, "2")).await;
    added(&admin, "demo:1", (201, "3")).await;
    let listed = admin.get("/v1/apps/demo/versions").await;
    assert_eq!(
        (listed.at("/live"), listed.at("/versions/2/image")),
        ("1".into(), "demo:1".into())
    );

    let (image, first) = image_on(&admin, &mut north).await;
    assert_eq!(image, "demo:1", "what was added is not live");
    rolled(&admin, 2, &["north"]).await;
    let (image, _) = image_on(&admin, &mut north).await;
    assert_eq!(image, "demo:2", "the metro has the new version");

    // Elsewhere the old one is live.
    let (command, _) = {
        let path = format!("/v1/sessions/{}", first.start.session);
        admin.delete(&path).await;
        north.expect_stop(&first.start.session).await
    };
    north.ack(command).await;
    drop(north);
    eventually("the node to be offline", || async {
        let nodes = admin.get("/v1/nodes").await;
        nodes.at("/nodes/0/status") == "offline"
    })
    .await;
    let mut south = in_metro(&rig, "south").await;
    let (image, _) = image_on(&admin, &mut south).await;
    assert_eq!(image, "demo:1");

    let now = rolled(&admin, 2, &[]).await;
    assert_eq!(
        (&now["live"], &now["former"], &now["staged"]),
        (&json!(2), &json!(1), &json!([]))
    );
    let (image, _) = image_on(&admin, &mut south).await;
    assert_eq!(image, "demo:2");
    let taken = admin.delete("/v1/apps/demo/rollout").await;
    assert_eq!((taken.status, taken.at("/live")), (200, "1".into()));
    let (image, _) = image_on(&admin, &mut south).await;
    assert_eq!(image, "demo:1");
    let nothing = admin.delete("/v1/apps/demo/rollout").await;
    nothing.refused(400, "bad-request");

    let noted = admin.get("/v1/audit?limit=10").await.json();
    let lines = noted["entries"].as_array().unwrap().iter();
    let actions: Vec<_> = lines
        .filter(|e| e["action"].as_str().unwrap().starts_with("app-"))
        .map(|e| (e["action"].as_str().unwrap(), e["detail"].as_str().unwrap()))
        .collect();
    let expected = [
        ("app-roll-back", ""),
        ("app-roll", "version 2: everywhere"),
        ("app-roll", "version 2: north"),
        ("app-add", "demo:1"),
        ("app-add", "demo:2"),
    ];
    assert_eq!(
        actions, expected,
        "each change once, and nothing of what changed nothing"
    );
}

#[tokio::test]
async fn a_session_that_waits_gets_what_is_live_where_it_is_placed_and_keeps_it() {
    let rig = Rig::start().await;
    let admin = rig.admin();
    let waiting = admin.create("demo").await;
    assert_eq!(waiting.at("/state/phase"), "queued");
    added(&admin, "demo:2", (201, "2")).await;
    rolled(&admin, 2, &["north"]).await;
    let node = Node {
        region: "north".to_owned(),
        ..rig.node(1)
    };
    let mut edge = rig.attach(&node, Vec::new()).await;
    let started = edge.expect_start().await;
    assert_eq!(started.app().app.launch.image, "demo:2");
    // The order was not acked. After a restart, and another roll-out, it is the same.
    admin.delete("/v1/apps/demo/rollout").await;
    drop(edge);
    let rig = rig.restart().await;
    let mut edge = rig.attach(&node, Vec::new()).await;
    let started = edge.expect_start().await;
    assert_eq!(started.app().app.launch.image, "demo:2");
}

#[tokio::test]
async fn what_is_no_app_or_not_the_callers_to_change_is_refused() {
    let rig = Rig::start().await;
    let admin = rig.admin();
    let mut bad = demo("");
    bad["needs"]["cpu_milli"] = json!(0);
    let refused = admin.post_json("/v1/apps", &bad).await;
    refused.refused(400, "bad-request");
    let detail = refused.at("/detail");
    assert!(
        detail.contains("`launch.image`") && detail.contains("`needs.cpu_milli`"),
        "{detail}"
    );
    let path = "/v1/apps/demo/rollout";
    let header = [("content-type", "application/json")];
    let unknown = admin
        .request("PUT", path, &header, r#"{"version":9}"#)
        .await;
    unknown.refused(404, "not-found");
    let guest = rig.guest().await;
    for (method, path, body) in [
        ("POST", "/v1/apps", demo("demo:9").to_string()),
        ("GET", "/v1/apps/demo/versions", String::new()),
        ("PUT", path, r#"{"version":1}"#.to_owned()),
        ("DELETE", path, String::new()),
    ] {
        let answer = guest.request(method, path, &header, &body).await;
        answer.refused(403, "forbidden");
    }
}

#[tokio::test]
async fn a_broker_that_shares_the_ledger_sees_a_roll_out_within_seconds() {
    let Some(shared) = Shared::new() else { return };
    let (a, b) = (shared.broker("a").await, shared.broker("b").await);
    let (a, b) = (shared.admin("a", &a), shared.admin("b", &b));
    let mut app = demo("demo:1");
    app["id"] = json!("fresh");
    let made = a.post_json("/v1/apps", &app).await;
    assert_eq!(made.status, 201, "{made:?}");
    eventually("the other broker to have it", || async {
        let apps = b.get("/v1/apps").await.json();
        let mut apps = apps["apps"].as_array().unwrap().iter();
        apps.any(|app| app["id"] == "fresh")
    })
    .await;
    let again = b.post_json("/v1/apps", &app).await;
    assert_eq!((again.status, again.at("/version")), (200, "1".into()));
}

#[tokio::test]
async fn nodes_are_told_what_to_fetch_before_it_is_live_and_what_failed_is_shown_to_operators() {
    let rig = Rig::start().await;
    let admin = rig.admin();
    let mut edge = in_metro(&rig, "north").await;
    let first = edge.next_images().await;
    assert!(first.pull.contains(&"demo:1".to_owned()), "{first:?}");
    assert!(!first.pull.contains(&"demo:2".to_owned()), "{first:?}");

    added(&admin, "demo:2", (201, "2")).await;
    let wanted = edge.next_images().await;
    let at = |image: &str| wanted.pull.iter().position(|i| i == image);
    assert!(
        at("demo:1") < at("demo:2"),
        "{wanted:?}: what is live goes first"
    );
    rolled(&admin, 2, &[]).await;
    let wanted = edge.next_images().await;
    assert!(
        wanted.keep.contains(&"demo:1".to_owned()) || wanted.pull.contains(&"demo:1".to_owned())
    );

    let mut inventory = edge.node.inventory();
    inventory.image_faults = vec![ImageFault {
        image: "demo:2".to_owned(),
        detail: "no such host".to_owned(),
    }];
    edge.send(FromEdge::Inventory(inventory)).await;
    eventually("the fault to be shown", || async {
        let nodes = admin.get("/v1/nodes").await;
        nodes.at("/nodes/0/image_faults/0/detail") == "no such host"
    })
    .await;
    let seen = rig.guest().await.get("/v1/nodes").await.json();
    assert_eq!(seen["nodes"][0]["image_faults"], json!([]));
}
