//! Where sessions run: by what the player measured, by what streams showed, or as the player chose.

use crate::attach::{answer, bearer, offer, ticket};
use crate::edge::Edge;
use crate::http::{Answer, Client};
use crate::rig::{Rig, eventually, id};
use nearlight_kit::shutdown::Shutdown;
use nearlight_proof::receipt::quality::Quality;
use nearlight_protocol::control::{FromEdge, Heartbeat, SessionRtt};
use serde_json::{Value, json};
use session_broker::broker::Broker;
use session_broker::config::{Config, Parsed, RegionFile};

/// A node of a region.
async fn edge_in(rig: &Rig, region: &str, slots: usize) -> Edge {
    let mut node = rig.node(slots);
    node.region = region.to_owned();
    let edge = rig.attach(&node, Vec::new()).await;
    rig.online(&node).await;
    edge
}

async fn create(client: &Client, wish: Value) -> Answer {
    let mut body = json!({ "app": "demo" });
    let wish = wish.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(wish);
    let key = nearlight_kit::ids::request().to_string();
    let client = client.with("idempotency-key", &key);
    client.post_json("/v1/sessions", &body).await
}

fn measured(fra: u32, sin: u32) -> Value {
    json!([{ "region": "fra", "ms": fra }, { "region": "sin", "ms": sin }])
}

fn described(name: &str, beacon: &str) -> RegionFile {
    RegionFile {
        name: name.to_owned(),
        title: name.to_uppercase(),
        beacon: beacon.to_owned(),
        ..RegionFile::default()
    }
}

#[tokio::test]
async fn the_region_that_the_player_measured_to_be_nearest_is_taken() {
    let rig = Rig::start().await;
    let (mut fra, mut sin) = (edge_in(&rig, "fra", 1).await, edge_in(&rig, "sin", 1).await);
    let guest = rig.guest().await;
    let near_sin = create(&guest, json!({ "rtt": measured(200, 12) })).await;
    assert_eq!(near_sin.at("/node"), sin.node.id.to_string());
    let expected = json!({
        "region": "sin", "chosen": false, "rtt_ms": 12, "rtt_from": "measured",
        "step": { "number": 1, "of": 4, "rtt_ms_max": 20, "from_ms": 0, "until_ms": 3000 },
    });
    assert_eq!(near_sin.json()["placed_in"], expected);
    sin.start_next().await;
    let path = format!("/v1/sessions/{}/placement", id(&near_sin));
    let placement = guest.get(&path).await.json();
    assert_eq!(
        (&placement["rtt_ms"], &placement["rtt_from"]),
        (&json!(12), &json!("measured"))
    );

    let near_fra = create(&guest, json!({ "rtt": measured(5, 12) })).await;
    assert_eq!(near_fra.at("/node"), fra.node.id.to_string());
    fra.start_next().await;
}

#[tokio::test]
async fn a_chosen_region_is_taken_however_far_and_waited_for_when_full() {
    let rig = Rig::start().await;
    let (mut fra, _sin) = (edge_in(&rig, "fra", 1).await, edge_in(&rig, "sin", 2).await);
    let guest = rig.guest().await;
    let wish = json!({ "region": "fra", "rtt": measured(900, 1) });
    let far = create(&guest, wish.clone()).await;
    assert_eq!(far.at("/node"), fra.node.id.to_string());
    let placed_in = far.json()["placed_in"].clone();
    assert_eq!(
        (&placed_in["chosen"], &placed_in["step"]),
        (&json!(true), &Value::Null)
    );
    let started = fra.start_next().await;

    let waits = create(&guest, wish).await;
    assert_eq!(waits.at("/state/phase"), "queued");
    let path = format!("/v1/sessions/{}/placement", id(&waits));
    eventually("the other region to be excluded", || async {
        let excluded = guest.get(&path).await.json()["excluded"].clone();
        excluded
            == json!([
                { "reason": "region", "nodes": 1 },
                { "reason": "slots-taken", "nodes": 1 },
            ])
    })
    .await;
    guest.delete(&format!("/v1/sessions/{}", id(&far))).await;
    fra.stop_next(&started).await;
    fra.start_next().await;
}

#[tokio::test]
async fn what_a_session_wishes_outlives_its_broker() {
    let rig = Rig::start().await;
    let fra = edge_in(&rig, "fra", 1).await;
    let guest = rig.guest().await;
    let first = create(&guest, json!({ "region": "fra" })).await;
    assert_eq!(first.at("/state/phase"), "placing");
    let waits = create(&guest, json!({ "region": "fra", "rtt": measured(70, 1) })).await;
    assert_eq!(waits.at("/state/phase"), "queued");
    let node = fra.node.clone();
    drop(fra);
    let rig = rig.restart().await;
    let guest = Client {
        at: rig.broker.listen,
        ..guest
    };
    let _sin = edge_in(&rig, "sin", 4).await;
    let mut fra = rig.attach(&node, Vec::new()).await;
    let path = |session: &Answer| format!("/v1/sessions/{}", id(session));
    guest.delete(&path(&first)).await;
    // Whatever became of the first one, the second runs where it was to run.
    loop {
        let started = fra.expect_start_or_stop().await;
        if started.is_some_and(|started| started.to_string() == id(&waits)) {
            break;
        }
    }
    let placed_in = guest.get(&path(&waits)).await.json()["placed_in"].clone();
    assert_eq!(
        (&placed_in["region"], &placed_in["rtt_ms"]),
        (&json!("fra"), &json!(70))
    );
}

#[tokio::test]
async fn what_streams_took_counts_for_the_players_network_until_something_is_measured() {
    let rig = Rig::start().await;
    let (mut fra, mut sin) = (edge_in(&rig, "fra", 2).await, edge_in(&rig, "sin", 2).await);
    let guest = rig.guest().await;
    for (edge, region, ms) in [(&mut fra, "fra", 60), (&mut sin, "sin", 9)] {
        let session = create(&guest, json!({ "region": region })).await;
        let started = edge.start_next().await;
        let path = format!("/v1/sessions/{}", id(&session));
        eventually("ready", || async {
            guest.get(&path).await.at("/state/phase") == "ready"
        })
        .await;
        let token = ticket(&guest, &id(&session), false).await.at("/ticket");
        let viewer = bearer(&rig, &token);
        let (attached, ..) = offer(&viewer, &id(&session), edge, answer()).await;
        assert_eq!(attached.status, 201);
        let session = started.start.session.clone();
        let sample = Quality {
            rtt_us: [ms * 1000, ms * 1000],
            seconds: 10,
            ..Quality::default()
        };
        let said = json!({ "sample": sample.text() });
        let noted = guest.post_json(&format!("{path}/quality"), &said).await;
        assert_eq!(noted.status, 204, "{noted:?}");
        // What a node says of a session that is none of its own does not count.
        let foreign = SessionRtt {
            session: nearlight_kit::ids::session(),
            ms: 1,
        };
        // Nor what its player contradicts.
        let other = if region == "fra" { 1 } else { 500 };
        let lie = SessionRtt {
            session: session.clone(),
            ms: other,
        };
        let rtts = vec![foreign, lie, SessionRtt { session, ms }];
        let heartbeat = Heartbeat {
            rtts,
            ..Heartbeat::default()
        };
        edge.send(FromEdge::Heartbeat(heartbeat)).await;
        guest.delete(&path).await;
        edge.stop_next(&started).await;
    }
    eventually("both regions to be known", || async {
        let regions = rig.guest().await.get("/v1/regions").await.json();
        let shown = |i: usize| {
            let region = &regions["regions"][i];
            (
                region["name"].clone(),
                region["rtt_ms"].clone(),
                region["rtt_from"].clone(),
            )
        };
        shown(0) == (json!("sin"), json!(9), json!("sessions"))
            && shown(1) == (json!("fra"), json!(60), json!("sessions"))
    })
    .await;
    let blind = create(&guest, json!({})).await;
    assert_eq!(blind.at("/placed_in/region"), "sin");
    assert_eq!(blind.at("/placed_in/rtt_from"), "sessions");
    let knows = create(&guest, json!({ "rtt": measured(3, 900) })).await;
    assert_eq!(knows.at("/placed_in/region"), "fra");
    assert_eq!(knows.at("/placed_in/rtt_from"), "measured");
}

#[tokio::test]
async fn regions_are_listed_with_what_they_have_and_no_node() {
    let beacon = "http://127.0.0.1:9/v1/beacon";
    let rig = Rig::start_with(|config| {
        config.regions = vec![described("ams", ""), described("fra", beacon)];
    })
    .await;
    let (mut fra, _here) = (
        edge_in(&rig, "fra", 1).await,
        edge_in(&rig, "here", 1).await,
    );
    let guest = rig.guest().await;
    let list = || async { guest.get("/v1/regions").await.json()["regions"].clone() };
    let region = |name: &str, title: &str, beacon: Value, state: &str| {
        json!({
            "name": name, "title": title, "latitude": null, "longitude": null, "beacon": beacon,
            "state": state, "rtt_ms": null, "rtt_from": null,
        })
    };
    let room = json!([
        region("ams", "AMS", Value::Null, "offline"),
        region("fra", "FRA", json!(beacon), "room"),
        region("here", "here", Value::Null, "room"),
    ]);
    eventually("the regions", || async { list().await == room }).await;
    create(&guest, json!({ "region": "fra" })).await;
    fra.start_next().await;
    eventually("a full region", || async {
        list().await[1]["state"] == "queue"
    })
    .await;
    rig.nobody()
        .get("/v1/regions")
        .await
        .refused(401, "unauthenticated");

    let page = guest.get("/v1/whoami").await;
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.contains("connect-src 'self' http://127.0.0.1:9; "),
        "{policy}"
    );
}

#[tokio::test]
async fn wishes_that_make_no_sense_are_refused() {
    let rig = Rig::start().await;
    let _fra = edge_in(&rig, "fra", 1).await;
    let guest = rig.guest().await;
    let one = json!({ "region": "a", "ms": 1 });
    let many: Vec<Value> = std::iter::repeat_n(one, 17).collect();
    for wish in [
        json!({ "region": "nowhere" }),
        json!({ "region": "" }),
        json!({ "rtt": many }),
        json!({ "rtt": [{ "region": "", "ms": 1 }] }),
        json!({ "rtt": [{ "region": "a".repeat(65), "ms": 1 }] }),
        json!({ "rtt": [{ "region": "a\nb", "ms": 1 }] }),
        json!({ "rtt": [{ "region": "a", "ms": -1 }] }),
        json!({ "rtt": [{ "region": "a", "ms": 1, "more": 2 }] }),
    ] {
        create(&guest, wish).await.refused(400, "bad-request");
    }
    // Of a region that is not there nothing follows; twice the same is no harm, nor is a second.
    let odd = json!([
        { "region": "gone", "ms": 1 },
        { "region": "fra", "ms": 4_000_000_000_u32 },
        { "region": "fra", "ms": 4_000_000_000_u32 },
    ]);
    let session = create(&guest, json!({ "rtt": odd })).await;
    assert_eq!(session.at("/placed_in/rtt_ms"), "1000");
    assert_eq!(session.at("/placed_in/step/number"), "4");
}

#[tokio::test]
async fn the_beacon_answers_pages_of_any_origin_and_says_nothing() {
    let rig = Rig::start().await;
    let headers = [
        ("origin", "https://elsewhere.example"),
        ("sec-fetch-site", "cross-site"),
    ];
    let answer = rig
        .nobody()
        .request("GET", "/v1/beacon", &headers, "")
        .await;
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        ("timing-allow-origin", "*"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    assert_eq!(answer.header("set-cookie"), None);
    let other = rig
        .nobody()
        .request("GET", "/v1/whoami", &headers, "")
        .await;
    assert_eq!(other.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn a_file_of_places_that_cannot_be_used_is_named_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut parsed: Parsed = crate::rig::parsed(dir.path());
    parsed.geoip.file = dir.path().join("city.mmdb");
    let start = || async {
        let config = Config::try_from(parsed.clone()).unwrap();
        let shutdown = Shutdown::new();
        let error = Box::pin(Broker::start(config, &shutdown))
            .await
            .unwrap_err();
        shutdown.token().cancel();
        shutdown.drain(crate::http::PATIENCE).await;
        format!("{error:#}")
    };
    let missing = start().await;
    assert!(missing.contains("city.mmdb; is it there"), "{missing}");
    std::fs::write(&parsed.geoip.file, "no database").unwrap();
    let broken = start().await;
    assert!(broken.contains("no sound MaxMind DB"), "{broken}");
}
