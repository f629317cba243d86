//! Streams that checkers play: whose session comes to the node that is to be checked, what settles it, and what a node
//! and a stranger hear of it. Nodes are scripted.

use crate::checkers::{Member, due, member, rows};
use crate::edge::{Edge, Started};
use crate::http::{Answer, Client};
use crate::node_keys::claim;
use crate::rig::{Rig, eventually, id, phase};
use nearlight_proof::encoding::{array_from_hex, hex};
use nearlight_proof::key::{KeyId, SecretKey};
use nearlight_proof::porw::pass::Pass;
use nearlight_proof::porw::{Played, statement};
use nearlight_proof::receipt::envelope::{IN_TOTO, pae};
use nearlight_proof::receipt::quality::{PlayerSample, Quality};
use nearlight_proof::receipt::session::segments;
use nearlight_protocol::control::{FromEdge, ToEdge};
use nearlight_protocol::quality::{Countersigned, Measured};
use nearlight_protocol::unit::U64;
use serde_json::{Value, json};

const ENVELOPE: (&str, &str) = ("content-type", "application/vnd.dsse.envelope.v1+json");

/// A broker whose checkers play `demo`, checkers that can, and a node on which somebody plays.
struct World {
    rig: Rig,
    members: Vec<Member>,
    edge: Edge,
    node_key: SecretKey,
    /// A node of another region.
    elsewhere: Edge,
    /// Who plays, and what.
    player: (Client, String),
}

/// A checker that says that it plays streams.
async fn player(rig: &Rig, n: u8, operator: &str) -> Member {
    let mut member = member(rig, n, operator).await;
    member.client = member.client.with("nearlight-checker-plays", "streams");
    let path = format!("/v1/checkers/me/assignments?instance=copy-of-the-test-{n}");
    assert_eq!(member.client.get(&path).await.status, 200);
    member
}

impl World {
    async fn begin(slots: usize) -> Self {
        let rig = Rig::start_with(|config| {
            config.checks.round_s = 3;
            // The node of these tests sends none, and is to be there for as long as draws take.
            config.control.heartbeat_s = 60;
            config.checks.capacity_s = 900;
            config.checks.stream_app = "demo".to_owned();
            config.limits.requests_burst = 5000;
            config.limits.key_requests_burst = 5000;
        })
        .await;
        let members = vec![player(&rig, 1, "a").await, player(&rig, 2, "b").await];
        let node_key = SecretKey::from_seed(&[50; 32]);
        let mut node = rig.node(slots);
        node.receipt_key = Some(Box::new(claim(&node.id, &node_key)));
        let mut edge = rig.attach(&node, Vec::new()).await;
        rig.online(&node).await;
        let mut other = rig.node(8);
        other.region = "there".to_owned();
        let elsewhere = rig.attach(&other, Vec::new()).await;
        rig.online(&other).await;
        let guest = rig.guest().await;
        let session = id(&in_region(&guest, "demo", "here").await);
        edge.start_next().await;
        Self {
            rig,
            members,
            edge,
            node_key,
            elsewhere,
            player: (guest, session),
        }
    }

    /// Who is to play, and the duty.
    async fn due(&self) -> (&Member, Value) {
        let (member, duty) = due(&self.members, "stream").await;
        assert_eq!(duty["app"], "demo");
        assert_eq!(duty["node"], self.edge.node.id.to_string());
        (member, duty)
    }

    /// A round's stream that is due, of another round than `not`.
    async fn due_after(&self, not: u64) -> (&Member, Value) {
        let found = std::sync::Mutex::new(None);
        eventually("another round's stream to be due", || async {
            for member in &self.members {
                let mine = member.client.get("/v1/checkers/me").await.json();
                let mut rows = mine["assignments"].as_array().unwrap().iter();
                let is_next = |row: &&Value| {
                    row["duty"] == "stream" && row["state"] == "due" && row["round"] != not
                };
                if rows.any(|row| is_next(&row)) {
                    *found.lock().unwrap() = Some(member);
                    return true;
                }
            }
            false
        })
        .await;
        let member: &Member = found.into_inner().unwrap().unwrap();
        let mine = member.duties().await;
        let duty = mine
            .into_iter()
            .find(|duty| duty["duty"] == "stream" && duty["round"] != not);
        (member, duty.unwrap())
    }

    /// The rows of a round's stream, as a stranger sees them.
    async fn told(&self, round: u64) -> Vec<Value> {
        let shown = rows(&self.rig, round).await;
        let rows = shown["assignments"].as_array().unwrap().clone();
        rows.into_iter()
            .filter(|row| row["duty"] == "stream")
            .collect()
    }
}

fn round_of(duty: &Value) -> u64 {
    duty["round"].as_u64().unwrap()
}

fn pass(by: &SecretKey, duty: &Value) -> String {
    let value: [u8; 32] = array_from_hex(duty["value"].as_str().unwrap()).unwrap();
    let node = KeyId::from_hex(duty["node_key_id"].as_str().unwrap()).unwrap();
    Pass::sign(by, (round_of(duty), &value), node).to_string()
}

/// Wants the region of another node, where an ordinary session would go.
async fn comes_with(guest: &Client, pass: &str, app: &str) -> Answer {
    let with_pass = guest.with("nearlight-stream-pass", pass);
    in_region(&with_pass, app, "there").await
}

async fn in_region(guest: &Client, app: &str, region: &str) -> Answer {
    let key = nearlight_kit::ids::request().to_string();
    let wish = json!({ "app": app, "region": region });
    let client = guest.with("idempotency-key", &key);
    client.post_json("/v1/sessions", &wish).await
}

/// The checker that is assigned, once, with its own signature, for what it is to play; its session comes to the node, and
/// is one like any other there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pass_is_worth_one_session_on_the_node_that_is_to_be_checked() {
    let mut world = Box::pin(World::begin(3)).await;
    let (member, duty) = world.due().await;
    let stranger = world
        .members
        .iter()
        .find(|of| of.id() != member.id())
        .unwrap();
    let guest = world.rig.guest().await;
    for forged in [
        pass(&stranger.key, &duty),
        pass(&world.node_key, &duty),
        "7.a.b.c".to_owned(),
    ] {
        comes_with(&guest, &forged, "demo")
            .await
            .refused(403, "forbidden");
    }
    let own = pass(&member.key, &duty);
    comes_with(&guest, &own, "brief")
        .await
        .refused(403, "forbidden");

    let made = comes_with(&guest, &own, "demo").await;
    let session = id(&made);
    assert_eq!(made.at("/node"), world.edge.node.id.to_string());
    let again = comes_with(&guest, &own, "demo").await;
    assert_eq!(id(&again), session, "asked again, it is the same");
    let second = world.rig.guest().await;
    comes_with(&second, &own, "demo")
        .await
        .refused(403, "forbidden");
    // Nobody sees of it what would tell the node.
    let round = round_of(&duty);
    assert_eq!(world.told(round).await, Vec::<Value>::new());
    let member_id = member.id();
    let started = world.edge.start_next().await;
    assert_eq!(started.start.session.to_string(), session);
    let order = serde_json::to_string(&started.start).unwrap();
    let grant = serde_json::to_string(&started.grant).unwrap();
    for text in [order, grant] {
        assert!(
            !text.contains("probed") && !text.contains(&member_id),
            "{text}"
        );
    }
    // Without a pass it goes where it wants to.
    let ordinary = in_region(&guest, "demo", "there").await;
    assert_eq!(ordinary.at("/node"), world.elsewhere.node.id.to_string());
}

/// One checker at a time; and whoever gives up leaves no session behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_one_plays_no_other_one_does_and_who_gives_up_is_stood_in_for() {
    let world = Box::pin(World::begin(3)).await;
    let (member, duty) = world.due().await;
    let (round, member_id) = (round_of(&duty), member.id());
    let guest = world.rig.guest().await;
    let session = id(&comes_with(&guest, &pass(&member.key, &duty), "demo").await);
    let second = world.rig.guest().await;
    let (next, later) = world.due_after(round).await;
    let refused = comes_with(&second, &pass(&next.key, &later), "demo").await;
    refused.refused(429, "too-many-requests");

    // Its checker gives up: the session ends, and the other one stands in.
    let member = world
        .members
        .iter()
        .find(|of| of.id() == member_id)
        .unwrap();
    let why = json!({ "is": "missed", "why": "nothing was played" });
    assert_eq!(member.report(&duty, why).await.status, 204);
    let path = format!("/v1/sessions/{session}");
    let ended = guest.get(&path).await.json();
    assert!(["ending", "ended"].contains(&phase(&ended)), "{ended}");
    let stand_in = world
        .members
        .iter()
        .find(|of| of.id() != member_id)
        .unwrap();
    let told = world.told(round).await;
    assert_eq!(
        (told.len(), &told[0]["why"]),
        (1, &json!("nothing was played"))
    );
    let mine = stand_in.client.get("/v1/checkers/me").await.json();
    let stands_in =
        |row: &Value| row["round"] == round && row["duty"] == "stream" && row["state"] == "due";
    assert!(
        mine["assignments"]
            .as_array()
            .unwrap()
            .iter()
            .any(stands_in),
        "{mine}"
    );
}

/// Nobody makes room for a checker, and nobody else can do what it could not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_a_free_slot_makes_the_assignment_void_and_nobody_loses_a_slot() {
    let world = Box::pin(World::begin(1)).await;
    let (member, duty) = world.due().await;
    let guest = world.rig.guest().await;
    let refused = comes_with(&guest, &pass(&member.key, &duty), "demo").await;
    refused.refused(403, "forbidden");
    assert!(
        refused.at("/detail").contains("no free slot"),
        "{refused:?}"
    );
    let told = world.told(round_of(&duty)).await;
    assert_eq!(told.len(), 1, "nobody stands in: {told:?}");
    assert_eq!(
        (&told[0]["state"], &told[0]["why"]),
        (&json!("void"), &json!("no free slot"))
    );
    let why = json!({ "is": "missed", "why": "nothing was played" });
    assert_eq!(
        member.report(&duty, why).await.status,
        204,
        "it was told so"
    );
    assert_eq!(world.told(round_of(&duty)).await, told);
    let standing = member.client.get("/v1/checkers/me").await.json();
    let void = |row: &Value| row["state"] == "void" && row["why"] == "no free slot";
    assert!(
        standing["assignments"].as_array().unwrap().iter().any(void),
        "{standing}"
    );
    let (player, session) = &world.player;
    let theirs = player.get(&format!("/v1/sessions/{session}")).await.json();
    assert_eq!(phase(&theirs), "ready");
    let listed = guest.get("/v1/sessions").await.json();
    assert_eq!(
        listed["sessions"],
        json!([]),
        "there is no session that waits"
    );
}

/// Whoever does not say that it plays is assigned the rest, and is no stand-in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checker_without_a_decoder_gets_the_other_duties() {
    let mut world = Box::pin(World::begin(2)).await;
    let plain = member(&world.rig, 3, "c").await;
    let first = &world.members[0];
    // The second one stops to.
    let second = &world.members[1];
    let mut silent = second.client.clone();
    silent
        .headers
        .retain(|(name, _)| name != "nearlight-checker-plays");
    let path = "/v1/checkers/me/assignments?instance=copy-of-the-test-2";
    assert_eq!(silent.get(path).await.status, 200);
    let listed = world.rig.nobody().get("/v1/checkers").await.json();
    let plays = |of: &Member| {
        let mut all = listed["checkers"].as_array().unwrap().iter();
        all.find(|row| row["key_id"] == of.id()).unwrap()["plays_since_s"].is_u64()
    };
    assert_eq!(
        [plays(first), plays(second), plays(&plain)],
        [true, false, false]
    );
    // Two rounds from now on are all of this set.
    let (_, now) = due(std::slice::from_ref(first), "alive").await;
    let begun = round_of(&now);
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let (_, duty) = due(std::slice::from_ref(first), "stream").await;
        let why = json!({ "is": "missed", "why": "another time" });
        assert_eq!(first.report(&duty, why).await.status, 204);
        let told = world.told(round_of(&duty)).await;
        if round_of(&duty) > begun + 1 {
            assert_eq!(told.len(), 1, "nobody stands in: {told:?}");
            assert_eq!(told[0]["checker"], first.id());
            seen.push(round_of(&duty));
        }
    }
    let standing = plain.client.get("/v1/checkers/me").await.json();
    let streams = |row: &&Value| row["duty"] == "stream";
    let rows = standing["assignments"].as_array().unwrap();
    assert_eq!(rows.iter().filter(streams).count(), 0, "{standing}");
    world.members.push(plain);
    due(&world.members[2..], "alive").await;
}

fn quality() -> Quality {
    Quality {
        seconds: 15,
        frames: 900,
        fps_milli: 60_000,
        size: [1280, 720],
        ..Quality::default()
    }
}

impl World {
    /// A checker's session is over: the node and the player say what they measured, and it has a receipt.
    async fn over(&mut self, guest: &Client, started: &Started) -> Value {
        let session = started.start.session.to_string();
        let signed = PlayerSample::signed(quality(), &SecretKey::from_seed(&[77; 32]));
        let said = json!({
            "sample": signed.quality.text(), "key": signed.key, "signature": signed.signature, "last": true,
        });
        let path = format!("/v1/sessions/{session}/quality");
        assert_eq!(guest.post_json(&path, &said).await.status, 204);
        let path = format!("/v1/sessions/{session}");
        assert_eq!(guest.delete(&path).await.status, 202);
        let sample = quality().text();
        let now_s = nearlight_kit::clock::unix_ms() / 1000;
        let measured = Measured {
            session: started.start.session.clone(),
            key: hex(self.node_key.public().as_bytes()),
            started_at_s: U64(now_s - 15),
            stopped_at_s: U64(now_s),
            segments: segments(std::slice::from_ref(&sample)).to_string(),
            sample,
            last: true,
        };
        self.edge.send(FromEdge::Measured(measured)).await;
        self.edge.stop_next(started).await;
        let ToEdge::Countersign { session, statement } = self.edge.next().await else {
            panic!("no statement to sign");
        };
        let message = pae(IN_TOTO, statement.as_bytes());
        let signature = hex(&self.node_key.sign(&message));
        let answer = Countersigned::Signed { signature };
        self.edge
            .send(FromEdge::Countersigned { session, answer })
            .await;
        let path = format!("/v1/sessions/{}/receipt", started.start.session);
        eventually("the session's receipt", || async {
            guest.get(&path).await.status == 200
        })
        .await;
        guest.get(&path).await.json()
    }

    /// A checker's receipt of a session, in the log; its leaf.
    async fn write(&self, by: &Member, session: &str, receipt: &Value) -> String {
        let played = Played {
            session: session.to_owned(),
            node: self.edge.node.id.to_string(),
            app: "demo".to_owned(),
            input: KeyId([1; 32]),
            presses: None,
            signs: None,
            quality: quality(),
            faults: Vec::new(),
            receipt: receipt["index"].as_u64().unwrap(),
            salt: KeyId::from_hex(receipt["salt"].as_str().unwrap()).unwrap(),
            bytes: 0,
        };
        let now_s = nearlight_kit::clock::unix_ms() / 1000;
        let node = self.node_key.public().id();
        let said = statement(&played, node, by.key.public().id(), now_s);
        let mut envelope = said.envelope().unwrap();
        envelope.sign(&by.key);
        let text = String::from_utf8(envelope.to_bytes()).unwrap();
        let send = async || {
            by.client
                .request("POST", "/v1/receipts", &[ENVELOPE], &text)
                .await
        };
        eventually("the log to take it", || async {
            send().await.status / 100 == 2
        })
        .await;
        send().await.at("/leaf")
    }
}

/// What settles a stream is the receipt of the very session that was made for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_settled_by_the_receipt_of_its_own_session() {
    let mut world = Box::pin(World::begin(3)).await;
    let (member, duty) = world.due().await;
    let (by, own) = (member.id(), pass(&member.key, &duty));
    let guest = world.rig.guest().await;
    let session = id(&comes_with(&guest, &own, "demo").await);
    let started = world.edge.start_next().await;
    assert_eq!(started.start.session.to_string(), session);
    // The same checker plays another one on its own, where it happens to come.
    let elsewhere = world.rig.guest().await;
    let other = id(&in_region(&elsewhere, "demo", "here").await);
    let of_other = world.edge.start_next().await;
    let of_other = world.over(&elsewhere, &of_other).await;
    let receipt = world.over(&guest, &started).await;
    let member = world.members.iter().find(|of| of.id() == by).unwrap();
    let is = |leaf: &str| json!({ "is": "receipt", "leaf": leaf });
    let wrong = world.write(member, &other, &of_other).await;
    let refused = member.report(&duty, is(&wrong)).await;
    refused.refused(400, "bad-request");
    assert!(
        refused.at("/detail").contains("not of the session"),
        "{refused:?}"
    );
    let right = world.write(member, &session, &receipt).await;
    eventually("the log to show it", || async {
        member.report(&duty, is(&right)).await.status == 204
    })
    .await;
    let told = world.told(round_of(&duty)).await;
    assert_eq!(told.len(), 1);
    assert_eq!(
        (&told[0]["state"], &told[0]["leaf"]),
        (&json!("done"), &json!(right))
    );
    let shown = world
        .rig
        .nobody()
        .get(&format!("/v1/receipts?leaf={right}"))
        .await;
    assert_eq!(shown.at("/receipts/0/kind"), "porw/v1");
    assert!(!told[0].to_string().contains(&session), "{told:?}");
}
