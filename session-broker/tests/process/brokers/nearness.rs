//! What streams showed at one broker is known at the others.

use super::{SDP, at, path, reach};
use crate::http::Client;
use crate::rig::{eventually, id};
use crate::shared::Shared;
use nearlight_kit::shutdown::Shutdown;
use nearlight_proof::receipt::quality::Quality;
use nearlight_protocol::control::{FromEdge, Heartbeat, SessionReport, SessionRtt, WhepResult};
use serde_json::json;

/// The round trip of the only region, as a broker estimates it for whoever comes from here.
async fn estimate(broker: &Client) -> serde_json::Value {
    let regions = broker.get("/v1/regions").await;
    let region = &regions.json()["regions"][0];
    json!([region["rtt_ms"], region["rtt_from"]])
}

#[tokio::test]
async fn what_streams_of_one_brokers_nodes_took_is_known_at_the_other() {
    let Some(shared) = Shared::new() else { return };
    let (a, b) = shared.two().await;
    let here = Client::guest(a.listen).await;
    let there = at(&here, &b);
    let mut edge = shared.edge(1, &b, &[&here, &there]).await;
    let session = id(&here.create("demo").await);
    let started = edge.start_next().await;
    reach(&here, &session, "ready").await;
    assert_eq!(estimate(&here).await, json!([null, null]));

    // The player attaches through the broker that does not hold the session.
    let asked = format!("{}/tickets", path(&session));
    let ticket = here.post_json(&asked, &json!({ "take_over": false })).await;
    let token = format!("Bearer {}", ticket.at("/ticket"));
    let viewer = Client::nobody(a.listen).with("authorization", &token);
    let whep = format!("{}/whep", path(&session));
    let posting = async move { viewer.request("POST", &whep, &[SDP], "v=0\r\n").await };
    let posted = Shutdown::new().spawn(posting);
    let (request, attachment, _) = edge.expect_offer().await;
    let sdp = "v=0\r\nanswer".to_owned();
    edge.answer(request, WhepResult::Answer { sdp }).await;
    assert_eq!(posted.await.unwrap().status, 201);
    edge.report(&started, SessionReport::Attached { attachment })
        .await;
    let sample = Quality {
        rtt_us: [35_000, 50_000],
        seconds: 10,
        ..Quality::default()
    };
    let asked = format!("{}/quality", path(&session));
    let said = json!({ "sample": sample.text() });
    assert_eq!(here.post_json(&asked, &said).await.status, 204);
    let rtt = SessionRtt {
        session: started.start.session.clone(),
        ms: 37,
    };
    let heartbeat = Heartbeat {
        rtts: vec![rtt],
        ..Heartbeat::default()
    };
    edge.send(FromEdge::Heartbeat(heartbeat)).await;
    for broker in [&there, &here] {
        eventually("the round trip to be known", || async {
            estimate(broker).await == json!([37, "sessions"])
        })
        .await;
    }
}
