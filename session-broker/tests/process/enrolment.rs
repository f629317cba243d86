//! How nodes come in and stay: join tokens, the door, renewal, and absences.

use crate::edge::Node;
use crate::http::PATIENCE;
use crate::rig::{Rig, eventually};
use futures_util::future::join_all;
use nearlight_kit::clock::WallClock;
use nearlight_kit::enrol::{EnrolError, broker_name, enrol, renew_late};
use nearlight_kit::join::JoinToken;
use nearlight_kit::pki::{Ca, Credentials, Identity, PendingKey, ServerIdentity, pinned_config};
use nearlight_protocol::control::{FromEdge, ToEdge};
use nearlight_protocol::enrol::{ENROL_PATH, NONCE_PATH, RENEW_PATH};
use nearlight_protocol::id::NodeId;
use nearlight_protocol::limits::ENROL_BODY_BYTES_MAX;
use nearlight_protocol::problem::ProblemType;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

const HOUR_S: i64 = 3600;
const DAY_S: i64 = 24 * HOUR_S;

/// A join token, made by the administrator.
pub(crate) async fn token(rig: &Rig, wanted: &Value) -> JoinToken {
    let made = rig.admin().post_json("/v1/join-tokens", wanted).await;
    assert_eq!(made.status, 201, "{made:?}");
    made.at("/token").parse().unwrap()
}

async fn come_in(rig: &Rig, token: &JoinToken, key: &PendingKey) -> Result<NodeId, EnrolError> {
    let (enrolled, issued, _) = enrol(token, &broker_name(), key, &rig.wall).await?;
    issued.save(&rig.pki(), enrolled.node.as_str()).unwrap();
    Ok(enrolled.node)
}

/// A node that has come in with a token of its own.
pub(crate) async fn joined(rig: &Rig, slots: usize) -> Node {
    joined_with(rig, slots, &json!({})).await
}

/// A node that has come in with such a token.
pub(crate) async fn joined_with(rig: &Rig, slots: usize, wanted: &Value) -> Node {
    let token = token(rig, wanted).await;
    let key = PendingKey::generate().unwrap();
    let id = come_in(rig, &token, &key).await.unwrap();
    Node {
        wall: rig.wall.clone(),
        ..Node::known(id, slots)
    }
}

/// Has the certificate of a node renewed at the door.
pub(crate) async fn renew_at_the_door(rig: &Rig, node: &Node) -> Result<(), EnrolError> {
    let shown = Credentials::load(&rig.pki(), node.id.as_str()).unwrap();
    let (at, key) = (rig.broker.node_listen.to_string(), PendingKey::generate()?);
    let issued = renew_late(&at, &broker_name(), &shown, &key, &rig.wall).await?;
    Ok(issued.save(&rig.pki(), node.id.as_str())?)
}

fn refused(outcome: Result<impl std::fmt::Debug, EnrolError>, name: ProblemType) {
    let error = outcome.unwrap_err();
    assert_eq!(error.problem(), Some(name), "{error}");
}

#[tokio::test]
async fn a_node_joins_with_a_token_and_takes_sessions() {
    let rig = Rig::start().await;
    let wanted = json!({ "expires_s": 60, "name": "attic", "region": "north" });
    let token = token(&rig, &wanted).await;
    assert_eq!(token.addresses, [rig.broker.node_listen.to_string()]);
    let key = PendingKey::generate().unwrap();
    let (enrolled, issued, at) = enrol(&token, &broker_name(), &key, &rig.wall)
        .await
        .unwrap();
    assert_eq!(
        (enrolled.name.as_str(), enrolled.region.as_str()),
        ("attic", "north")
    );
    assert_eq!(at, token.addresses[0]);
    // In a directory of its own, with what the answer holds alone.
    let own = tempfile::tempdir().unwrap();
    issued.save(own.path(), enrolled.node.as_str()).unwrap();
    let node = Node::known(enrolled.node, 1);
    let mut edge = node
        .attach(own.path(), rig.broker.node_listen, Vec::new())
        .await;
    rig.online(&node).await;
    let guest = rig.guest().await;
    assert_eq!(guest.create("demo").await.status, 201);
    edge.start_next().await;
}

#[tokio::test]
async fn a_stolen_token_that_was_used_gets_nothing() {
    let rig = Rig::start().await;
    let token = token(&rig, &json!({})).await;
    let (owner, thief) = (
        PendingKey::generate().unwrap(),
        PendingKey::generate().unwrap(),
    );
    let node = come_in(&rig, &token, &owner).await.unwrap();
    refused(
        come_in(&rig, &token, &thief).await,
        ProblemType::JoinTokenInvalid,
    );
    // Its owner may have lost the answer.
    assert_eq!(come_in(&rig, &token, &owner).await.unwrap(), node);
    let mut guessed = token.clone();
    guessed.secret[0] ^= 1;
    refused(
        come_in(&rig, &guessed, &thief).await,
        ProblemType::JoinTokenInvalid,
    );
}

#[tokio::test]
async fn of_many_that_come_with_one_token_at_once_exactly_one_is_taken() {
    let rig = Rig::start().await;
    let token = token(&rig, &json!({})).await;
    let keys: Vec<PendingKey> = (0..12).map(|_| PendingKey::generate().unwrap()).collect();
    let came = join_all(keys.iter().map(|key| come_in(&rig, &token, key))).await;
    let (taken, turned_away): (Vec<_>, Vec<_>) = came.into_iter().partition(Result::is_ok);
    assert_eq!(taken.len(), 1);
    for outcome in turned_away {
        refused(outcome, ProblemType::JoinTokenInvalid);
    }
}

#[tokio::test]
async fn an_expired_token_gets_nothing() {
    let rig = Rig::start().await;
    let token = token(&rig, &json!({})).await;
    rig.wall.set_ahead(14 * 60);
    let key = PendingKey::generate().unwrap();
    come_in(&rig, &token, &key).await.unwrap();
    let late = token_of(&rig, 60).await;
    rig.wall.set_ahead(14 * 60 + 61);
    let other = PendingKey::generate().unwrap();
    refused(
        come_in(&rig, &late, &other).await,
        ProblemType::JoinTokenInvalid,
    );
    // For the same key, too, once the time is over.
    rig.wall.set_ahead(16 * 60);
    refused(
        come_in(&rig, &token, &key).await,
        ProblemType::JoinTokenInvalid,
    );
}

async fn token_of(rig: &Rig, expires_s: u32) -> JoinToken {
    token(rig, &json!({ "expires_s": expires_s })).await
}

#[tokio::test]
async fn a_server_of_another_ca_is_refused_before_the_secret_is_told() {
    let rig = Rig::start().await;
    let mut token = token(&rig, &json!({})).await;
    let foreign = tempfile::tempdir().unwrap();
    let ca = Arc::new(Ca::ensure(foreign.path(), WallClock::system()).unwrap());
    let broker = Identity {
        spiffe: "spiffe://nearlight/broker".to_owned(),
        dns: vec!["nearlight-broker".to_owned()],
        ips: Vec::new(),
    };
    let tls = Arc::new(ServerIdentity::new(ca, broker))
        .server_config()
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    token.addresses = vec![listener.local_addr().unwrap().to_string()];
    let in_the_middle = async {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut heard = Vec::new();
        // The client ends the handshake, or says something.
        if let Ok(mut tls) = TlsAcceptor::from(tls).accept(tcp).await {
            let _ = tls.read_to_end(&mut heard).await;
        }
        heard
    };
    let key = PendingKey::generate().unwrap();
    let joining = come_in(&rig, &token, &key);
    let (heard, outcome) = tokio::join!(in_the_middle, joining);
    assert_eq!(heard, b"");
    assert!(
        matches!(outcome, Err(EnrolError::NotTheBroker { .. })),
        "{outcome:?}"
    );
    // The secret is as good as before.
    token.addresses = vec![rig.broker.node_listen.to_string()];
    come_in(&rig, &token, &key).await.unwrap();
}

/// A connection to the node listener without a certificate.
async fn at_the_door(rig: &Rig, token: &JoinToken) -> TlsStream<TcpStream> {
    let tls = pinned_config(token.ca, &rig.wall).unwrap();
    let tcp = TcpStream::connect(rig.broker.node_listen).await.unwrap();
    let connected = TlsConnector::from(tls).connect(broker_name(), tcp).await;
    connected.unwrap()
}

async fn say(rig: &Rig, token: &JoinToken, text: &str) -> String {
    let mut tls = at_the_door(rig, token).await;
    let _ = tls.write_all(text.as_bytes()).await;
    let mut heard = Vec::new();
    let read = tokio::time::timeout(PATIENCE, tls.read_to_end(&mut heard));
    let _ = read.await.expect("the door closes");
    String::from_utf8_lossy(&heard).into_owned()
}

fn post(path: &str, kind: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {kind}\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn whoever_shows_no_certificate_can_only_enrol_and_renew() {
    let rig = Rig::start().await;
    let token = token(&rig, &json!({})).await;
    let mut edge = rig.edge(1).await;
    let json = "application/json";
    let request = PendingKey::generate().unwrap().request().unwrap();
    let hello = "GET /v1/edge HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                 sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let large = "x".repeat(ENROL_BODY_BYTES_MAX + 1);
    let enrol = |secret: &str, request: &str| {
        post(
            ENROL_PATH,
            json,
            &json!({ "secret": secret, "request": request }).to_string(),
        )
    };
    let secret = token.secret_text();
    let renew = json!({ "certificate": "x", "request": request, "signature": "eA" }).to_string();
    let cases = [
        (get("/"), "404"),
        (get("/v1/nodes"), "404"),
        (get("/metrics"), "404"),
        (post("/v1/sessions", json, "{}"), "404"),
        (get(ENROL_PATH), "405"),
        (post(ENROL_PATH, "text/plain", "{}"), "415"),
        (post(ENROL_PATH, json, ""), "400"),
        (post(ENROL_PATH, json, "{"), "400"),
        (
            post(ENROL_PATH, json, r#"{"secret":1,"request":"x"}"#),
            "400",
        ),
        (
            post(
                ENROL_PATH,
                json,
                r#"{"secret":"x","request":"x","node":"nod_x"}"#,
            ),
            "400",
        ),
        (post(ENROL_PATH, json, &large), "413"),
        (enrol(&secret, "garbage"), "400"),
        (enrol("", &request), "401"),
        (enrol("x", &request), "401"),
        (post(RENEW_PATH, json, &renew), "400"),
        (post(RENEW_PATH, json, "[]"), "400"),
        ("\u{0}garbage\r\n\r\n".to_owned(), "400"),
    ];
    for (text, status) in cases {
        let heard = say(&rig, &token, &text).await;
        assert!(
            heard.starts_with(&format!("HTTP/1.1 {status} ")),
            "{text}: {heard}"
        );
    }
    let upgraded = say(
        &rig,
        &token,
        &hello.replace("Upgrade\r\n", "close, Upgrade\r\n"),
    )
    .await;
    assert!(upgraded.starts_with("HTTP/1.1 404 "), "{upgraded}");
    // None of it harmed anybody, nor used the token up.
    come_in(&rig, &token, &PendingKey::generate().unwrap())
        .await
        .unwrap();
    assert_eq!(rig.guest().await.create("demo").await.status, 201);
    edge.start_next().await;
}

#[tokio::test]
async fn a_nonce_is_good_once_on_the_connection_that_asked_for_it() {
    let rig = Rig::start().await;
    let token = token(&rig, &json!({})).await;
    let renew = json!({ "certificate": "x", "request": "x", "signature": "eA" }).to_string();
    let keep = |text: String| text.replace("connection: close\r\n", "");
    let json = "application/json";
    let asked = keep(post(NONCE_PATH, json, "{}"));
    let twice =
        asked.clone() + &keep(post(RENEW_PATH, json, &renew)) + &post(RENEW_PATH, json, &renew);
    let heard = say(&rig, &token, &twice).await;
    // The first is looked at, and its certificate is none; the second has no nonce.
    assert!(heard.contains("the certificate cannot be read"), "{heard}");
    assert!(heard.contains("Ask for a nonce first"), "{heard}");
}

#[tokio::test]
async fn an_address_that_asks_too_much_is_told_when_to_come_back() {
    let rig = Rig::start().await;
    let token = token(&rig, &json!({})).await;
    let asked = post(NONCE_PATH, "application/json", "{}").replace("connection: close\r\n", "");
    let last = post(NONCE_PATH, "application/json", "{}");
    let heard = say(&rig, &token, &(asked.repeat(130) + &last)).await;
    assert!(
        heard.contains("HTTP/1.1 429 ") && heard.contains("retry-after: "),
        "{heard}"
    );
}

#[tokio::test]
async fn a_node_renews_over_its_stream_and_shows_the_new_one_at_the_next_dial() {
    let rig = Rig::start().await;
    let node = joined(&rig, 1).await;
    let mut edge = rig.attach(&node, Vec::new()).await;
    let features = edge.welcome.as_ref().unwrap().features.clone();
    assert!(features.contains(&"renew".to_owned()), "{features:?}");
    rig.wall.set_ahead(17 * HOUR_S);
    let key = PendingKey::generate().unwrap();
    edge.send(FromEdge::Renew {
        request: key.request().unwrap(),
    })
    .await;
    let ToEdge::Renewed(renewed) = edge.next().await else {
        panic!("no certificate");
    };
    let issued = key
        .accept(&renewed.certificate, &renewed.ca, &rig.wall)
        .unwrap();
    assert_eq!(
        issued.spiffe,
        format!("spiffe://nearlight/node/{}", node.id)
    );
    issued.save(&rig.pki(), node.id.as_str()).unwrap();
    // A stream gets one at a time, and garbage gets none.
    edge.send(FromEdge::Renew {
        request: key.request().unwrap(),
    })
    .await;
    assert!(matches!(edge.next().await, ToEdge::NotRenewed { .. }));
    // When the first one would be over, the second one is taken.
    rig.wall.set_ahead(30 * HOUR_S);
    let mut again = rig.attach(&node, Vec::new()).await;
    again
        .send(FromEdge::Renew {
            request: "garbage".to_owned(),
        })
        .await;
    assert!(matches!(again.next().await, ToEdge::NotRenewed { .. }));
    rig.online(&node).await;
}

#[tokio::test]
async fn a_node_off_for_three_days_returns_without_a_new_token() {
    let rig = Rig::start().await;
    let node = joined(&rig, 1).await;
    drop(rig.attach(&node, Vec::new()).await);
    rig.wall.set_ahead(3 * DAY_S);
    let at = rig.broker.node_listen;
    assert!(
        node.try_dial(&rig.pki(), at, &node.id).await.is_err(),
        "it is over"
    );
    renew_at_the_door(&rig, &node).await.unwrap();
    let _edge = rig.attach(&node, Vec::new()).await;
    rig.online(&node).await;
    // After three months it is a stranger.
    rig.wall.set_ahead(3 * DAY_S + 92 * DAY_S);
    refused(
        renew_at_the_door(&rig, &node).await,
        ProblemType::BadRequest,
    );
}

#[tokio::test]
async fn all_nodes_return_after_an_outage_of_thirty_hours() {
    let rig = Rig::start().await;
    let nodes = join_all((0..5).map(|_| joined(&rig, 1))).await;
    for node in &nodes {
        drop(rig.attach(node, Vec::new()).await);
    }
    let wall = rig.wall.clone();
    wall.set_ahead(30 * HOUR_S);
    let rig = rig.restart().await;
    let renewed = join_all(nodes.iter().map(|node| renew_at_the_door(&rig, node))).await;
    assert!(renewed.iter().all(Result::is_ok), "{renewed:?}");
    let mut edges = Vec::new();
    for node in &nodes {
        edges.push(rig.attach(node, Vec::new()).await);
        rig.online(node).await;
    }
}

#[tokio::test]
async fn handshakes_beyond_the_rate_are_turned_away_before_they_cost_anything() {
    let rig = Rig::start_with(|config| {
        (config.control.accepts_per_s, config.control.accepts_burst) = (1, 1);
    })
    .await;
    let at = rig.broker.node_listen;
    // They say nothing: whoever is let in is waited for, the others are closed on at once.
    let knocking = join_all((0..60).map(|_| TcpStream::connect(at))).await;
    assert!(knocking.iter().all(Result::is_ok));
    eventually("most to be turned away", || async {
        let metrics = rig.admin().get("/metrics").await.body;
        let line = metrics.lines().find(|line| line.contains("turned-away"));
        let count = line.and_then(|line| line.rsplit(' ').next()?.parse::<u32>().ok());
        count.is_some_and(|count| (30..60).contains(&count))
    })
    .await;
}

#[tokio::test]
async fn a_token_for_a_broker_that_nobody_can_reach_is_not_made() {
    let rig = Rig::start_with(|config| config.node_listen = "0.0.0.0:0".parse().unwrap()).await;
    let made = rig.admin().post_json("/v1/join-tokens", &json!({})).await;
    made.refused(400, "bad-request");
    assert!(made.at("/detail").contains("node_addresses"), "{made:?}");
    let rig = Rig::start_with(|config| {
        config.node_listen = "0.0.0.0:0".parse().unwrap();
        config.node_addresses = vec!["edge.example.org:8443".to_owned()];
    })
    .await;
    assert_eq!(
        token(&rig, &json!({})).await.addresses,
        ["edge.example.org:8443"]
    );
    for wrong in [
        json!({ "expires_s": 0 }),
        json!({ "expires_s": 3601 }),
        json!({ "name": "x".repeat(65) }),
        json!({ "region": "a\nb" }),
        json!({ "role": "admin" }),
    ] {
        let made = rig.admin().post_json("/v1/join-tokens", &wrong).await;
        made.refused(400, "bad-request");
    }
}
