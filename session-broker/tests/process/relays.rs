//! TURN credentials: handed out with tickets, watch links and answers, and taken by a real coturn.

use crate::http::{Answer, Client};
use crate::rig::{Rig, eventually, id};
use nearlight_kit::shutdown::Shutdown;
use nearlight_protocol::control::WhepResult;
use serde_json::json;

const SDP: (&str, &str) = ("content-type", "application/sdp");

async fn rig() -> Rig {
    let secrets = tempfile::tempdir().unwrap();
    let file = secrets.path().join("turn.secret");
    std::fs::write(&file, "correct-horse-battery\n").unwrap();
    Rig::start_with(|config| {
        config.turn.urls = ["turn:a.example:3478", "turns:a.example:443?transport=tcp"]
            .map(str::to_owned)
            .to_vec();
        config.turn.secret_file = file;
    })
    .await
}

fn checked(answer: &Answer, what: &str) {
    let servers = answer.json()["ice_servers"].clone();
    assert_eq!(servers.as_array().unwrap().len(), 1, "{answer:?}");
    assert_eq!(servers[0]["urls"][0], "turn:a.example:3478");
    let username = servers[0]["username"].as_str().unwrap();
    assert!(username.ends_with(&format!(":{what}")), "{username}");
    assert!(!servers[0]["credential"].as_str().unwrap().is_empty());
}

#[tokio::test]
async fn whoever_may_attach_is_given_relays_and_nobody_else() {
    let rig = rig().await;
    let mut edge = rig.edge(1).await;
    let owner = rig.guest().await;
    let session = id(&owner.create("demo").await);
    edge.start_next().await;
    let path = format!("/v1/sessions/{session}");
    eventually("ready", || async {
        owner.get(&path).await.at("/state/phase") == "ready"
    })
    .await;
    let asked = format!("{path}/tickets");
    let ticket = owner.post_json(&asked, &json!({})).await;
    checked(&ticket, &session);
    let stranger = rig.guest().await.post_json(&asked, &json!({})).await;
    assert!(!stranger.body.contains("turn:"), "{stranger:?}");

    let body = json!({ "expires_s": 60 });
    let link = owner.post_json(&format!("{path}/watch-links"), &body).await;
    let watched = rig.nobody().get(&format!("/v1{}", link.at("/url"))).await;
    checked(&watched, &link.at("/id"));

    // A WHEP client that knows nothing of us reads the links of the answer.
    let token = format!("Bearer {}", ticket.at("/ticket"));
    let viewer: Client = rig.nobody().with("authorization", &token);
    let whep = format!("{path}/whep");
    let posting = async move { viewer.request("POST", &whep, &[SDP], "v=0\r\n").await };
    let posted = Shutdown::new().spawn(posting);
    let (request, _, _) = edge.expect_offer().await;
    let sdp = "v=0\r\n".to_owned();
    edge.answer(request, WhepResult::Answer { sdp }).await;
    let answer = posted.await.unwrap();
    let links = answer.headers.iter().filter(|(name, _)| name == "link");
    let links: Vec<&String> = links.map(|(_, value)| value).collect();
    assert_eq!(links.len(), 2, "one a URL: {answer:?}");
    assert!(
        links[1]
            .starts_with("<turns:a.example:443?transport=tcp>; rel=\"ice-server\"; username=\""),
        "{links:?}"
    );
}

#[tokio::test]
async fn without_servers_nothing_is_handed_out() {
    let rig = Rig::start().await;
    let mut edge = rig.edge(1).await;
    let owner = rig.guest().await;
    let session = id(&owner.create("demo").await);
    edge.start_next().await;
    let path = format!("/v1/sessions/{session}/tickets");
    eventually("a ticket", || async {
        owner.post_json(&path, &json!({})).await.status == 201
    })
    .await;
    let ticket = owner.post_json(&path, &json!({})).await;
    assert_eq!(ticket.json()["ice_servers"], json!([]));
}
