//! Receipts of sessions that were played: a scripted node and a player's program each say what they measured.

use crate::edge::{Edge, Started};
use crate::http::{Answer, Client};
use crate::receipts::Trust;
use crate::rig::{Rig, eventually, id};
use nearlight_proof::encoding::{array_from_hex, hex};
use nearlight_proof::key::SecretKey;
use nearlight_proof::receipt::envelope::{Envelope, IN_TOTO, pae};
use nearlight_proof::receipt::predicate::Predicate;
use nearlight_proof::receipt::quality::{PlayerSample, Quality};
use nearlight_proof::receipt::report::Outcome;
use nearlight_proof::receipt::session::{Agreement, Difference, Session, commitment, segments};
use nearlight_proof::receipt::statement::{Countersign, Statement};
use nearlight_protocol::control::{FromEdge, QUALITY_FEATURE, ToEdge};
use nearlight_protocol::quality::{Countersigned, Measured};
use nearlight_protocol::unit::U64;
use serde_json::{Value, json};

fn node_key() -> SecretKey {
    SecretKey::from_seed(&[21; 32])
}

fn page_key() -> SecretKey {
    SecretKey::from_seed(&[22; 32])
}

fn quality(seconds: u32, frames: u64) -> Quality {
    Quality {
        seconds,
        frames,
        fps_milli: Quality::rate_milli(frames, seconds),
        size: [1280, 720],
        rtt_us: [2000, 3000],
        encoder: "x264enc".to_owned(),
        ..Quality::default()
    }
}

fn measured(of: &Started, quality: &Quality) -> Measured {
    let sample = quality.text();
    let now_s = nearlight_kit::clock::unix_ms() / 1000;
    Measured {
        session: of.start.session.clone(),
        key: hex(node_key().public().as_bytes()),
        started_at_s: U64(now_s - u64::from(quality.seconds)),
        stopped_at_s: U64(now_s),
        segments: segments(std::slice::from_ref(&sample)).to_string(),
        sample,
        last: true,
    }
}

/// What the page says: signed, the last.
fn said(quality: Quality) -> Value {
    let signed = PlayerSample::signed(quality, &page_key());
    json!({ "sample": signed.quality.text(), "key": signed.key, "signature": signed.signature, "last": true })
}

/// A broker with a node whose key is in the directory, and a session that is ready.
struct Played {
    rig: Rig,
    edge: Edge,
    player: Client,
    session: String,
    started: Started,
}

impl Played {
    async fn begin() -> Self {
        let rig = Rig::start().await;
        let key = hex(node_key().public().as_bytes());
        let window = json!({
            "role": "node", "operator": "north", "licence": null,
            "from_s": 0, "until_s": 4_000_000_000_u64,
        });
        let json = [("content-type", "application/json")];
        let path = format!("/v1/directory/keys/{key}");
        let put = rig.admin();
        let put = put.request("PUT", &path, &json, &window.to_string()).await;
        assert_eq!(put.status, 204, "{put:?}");
        let mut edge = rig.edge(1).await;
        let features = edge.welcome.as_ref().map(|welcome| &welcome.features);
        assert!(features.unwrap().iter().any(|f| f == QUALITY_FEATURE));
        let player = rig.guest().await;
        let session = id(&player.create("demo").await);
        let started = edge.start_next().await;
        let played = Self {
            rig,
            edge,
            player,
            session,
            started,
        };
        eventually("ready", || async {
            played.player.get(&played.path("")).await.at("/state/phase") == "ready"
        })
        .await;
        played
    }

    fn path(&self, what: &str) -> String {
        format!("/v1/sessions/{}{what}", self.session)
    }

    /// A ticket, asked for with the page's key.
    async fn attach(&self) {
        let key = hex(page_key().public().as_bytes());
        let headers = [
            ("content-type", "application/json"),
            ("nearlight-sample-key", key.as_str()),
        ];
        let path = self.path("/tickets");
        let ticket = self.player.request("POST", &path, &headers, "{}").await;
        assert_eq!(ticket.status, 201, "{ticket:?}");
    }

    async fn says(&self, sample: &Value) -> Answer {
        self.player.post_json(&self.path("/quality"), sample).await
    }

    /// The session ends, and the node says what it measured.
    async fn over(&mut self, quality: &Quality) {
        let ended = self.player.delete(&self.path("")).await;
        assert_eq!(ended.status, 202, "{ended:?}");
        let measured = measured(&self.started, quality);
        self.edge.send(FromEdge::Measured(measured)).await;
        self.edge.stop_next(&self.started).await;
    }

    /// The statement that the node is asked to sign.
    async fn asked(&mut self) -> String {
        match self.edge.next().await {
            ToEdge::Countersign { session, statement } => {
                assert_eq!(session, self.started.start.session);
                statement
            }
            other => panic!("no statement but {other:?}"),
        }
    }

    async fn answers(&mut self, answer: Countersigned) {
        let session = self.started.start.session.clone();
        self.edge
            .send(FromEdge::Countersigned { session, answer })
            .await;
    }

    /// Where the receipt is, and the receipt as a stranger is shown it.
    async fn receipt(&self) -> (Value, Value) {
        let path = self.path("/receipt");
        eventually("a receipt", || async {
            self.player.get(&path).await.status == 200
        })
        .await;
        let place = self.player.get(&path).await.json();
        let path = format!("/v1/receipts/{}", place["index"]);
        (place, self.rig.nobody().get(&path).await.json())
    }
}

fn signs(statement: &str) -> Countersigned {
    let message = pae(IN_TOTO, statement.as_bytes());
    Countersigned::Signed {
        signature: hex(&node_key().sign(&message)),
    }
}

fn read(shown: &Value) -> (Statement, Session) {
    let envelope = Envelope::parse(shown["envelope"].as_str().unwrap().as_bytes()).unwrap();
    let statement = Statement::parse(&envelope).unwrap();
    let Predicate::Session(session) = statement.predicate.clone() else {
        panic!("no session's receipt");
    };
    (statement, *session)
}

/// Both agree, the node signs, and a stranger calls it VALID; the owner alone can say whose it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_played_session_has_a_receipt_that_a_stranger_verifies() {
    let mut played = Box::pin(Played::begin()).await;
    let not_yet = played.player.get(&played.path("/receipt")).await;
    not_yet.refused(404, "not-found");
    assert!(not_yet.body.contains("no receipt yet"), "{not_yet:?}");
    played.attach().await;
    assert_eq!(played.says(&said(quality(60, 3600))).await.status, 204);
    played.over(&quality(63, 3790)).await;
    let statement = played.asked().await;
    played.answers(signs(&statement)).await;
    let (place, shown) = played.receipt().await;
    assert_eq!(place["agreement"], "agree");
    assert_eq!(
        place["node_rank"],
        json!({ "gate": "unchecked", "rank_permille": 0 })
    );
    let (statement, session) = read(&shown);
    assert_eq!(session.agreement, Agreement::Agree);
    assert_eq!(session.player.len(), 1);
    assert!(session.player[0].is_signed());
    let salt = array_from_hex(place["salt"].as_str().unwrap()).unwrap();
    assert_eq!(statement.subject.sha256, commitment(&salt, &played.session));
    assert!(!shown.to_string().contains(&played.session));
    let trust = Trust::ask(&played.rig.nobody()).await;
    assert_eq!(trust.outcome(&shown), Outcome::Valid);
    let other = played.rig.guest().await;
    let path = played.path("/receipt");
    assert_eq!(other.get(&path).await.status, 404);
    let usage = played.rig.admin().get("/v1/usage").await.json();
    assert_eq!(usage["entries"][0]["receipt"], place["index"]);
}

/// A player that lies changes its own column: the receipt says that they differ, and in what.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sides_that_differ_both_stand_in_the_receipt() {
    let mut played = Box::pin(Played::begin()).await;
    played.attach().await;
    assert_eq!(played.says(&said(quality(60, 600))).await.status, 204);
    let mut forged = said(quality(60, 3600));
    forged["sample"] = json!(quality(60, 3601).text());
    assert_eq!(played.says(&forged).await.status, 400);
    let mut foreign = said(quality(60, 3600));
    let signed = PlayerSample::signed(quality(60, 3600), &node_key());
    (foreign["key"], foreign["signature"]) = (json!(signed.key), json!(signed.signature));
    assert_eq!(
        played.says(&foreign).await.status,
        400,
        "another page's key"
    );
    played.over(&quality(63, 3790)).await;
    let statement = played.asked().await;
    assert_eq!(
        played.says(&said(quality(60, 3600))).await.status,
        400,
        "too late"
    );
    played.answers(signs(&statement)).await;
    let (place, shown) = played.receipt().await;
    assert_eq!(place["agreement"], "disagree");
    let (_, session) = read(&shown);
    assert_eq!(session.differs, [Difference::FrameRate]);
    assert_eq!(session.edge, quality(63, 3790));
}

/// A node that does not sign, or signs something else, has that on record.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_to_sign_is_on_record() {
    let mut played = Box::pin(Played::begin()).await;
    assert_eq!(played.says(&said(quality(60, 3600))).await.status, 204);
    played.over(&quality(63, 3790)).await;
    let _ = played.asked().await;
    played.answers(signs("{}")).await;
    let (_, shown) = played.receipt().await;
    let (statement, _) = read(&shown);
    assert!(matches!(
        statement.head.countersign,
        Countersign::Refused(_)
    ));
    let trust = Trust::ask(&played.rig.nobody()).await;
    assert_eq!(trust.outcome(&shown), Outcome::Valid);
}
