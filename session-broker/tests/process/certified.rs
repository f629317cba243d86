//! Checkers by their certificates: what they open and what not, how they are renewed, and who is out.

use crate::checkers::{Member, admit, asks_with, certified, keep, member, rig};
use crate::http::{Answer, Client, PATIENCE};
use crate::isolation::bearer;
use crate::rig::{Rig, eventually};
use nearlight_kit::clock::WallClock;
use nearlight_kit::enrol::{EnrolError, broker_name, renew_late};
use nearlight_kit::pki::{Ca, Credentials, Identity, PendingKey, checker_of};
use nearlight_proof::encoding::hex;
use nearlight_proof::key::SecretKey;
use nearlight_proof::membership::Delegation;
use nearlight_protocol::problem::ProblemType;
use nearlight_protocol::tunnel::ALPN;
use rustls::ClientConfig;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const ME: &str = "/v1/checkers/me";
const CERTIFICATE: &str = "/v1/checkers/me/certificate";
const DAY_S: i64 = 24 * 3600;

/// What checkers alone are answered: each with a body that would do.
fn of_checkers(member: &Member) -> Vec<(&'static str, String, Value)> {
    let node = nearlight_kit::ids::node();
    let digits = "ab".repeat(32);
    let alive = json!({ "round": 1, "value": digits, "checker": member.id(), "nonce": digits });
    let report = json!({
        "round": 1, "duty": "alive", "node_key_id": "x", "outcome": { "is": "missed", "why": "" },
    });
    let request = PendingKey::generate().unwrap().request().unwrap();
    let instance = &member.instance;
    vec![
        ("GET", ME.to_owned(), Value::Null),
        ("GET", format!("{ME}/account"), Value::Null),
        (
            "GET",
            format!("{ME}/assignments?instance={instance}"),
            Value::Null,
        ),
        ("POST", format!("{ME}/reports?instance={instance}"), report),
        (
            "DELETE",
            format!("{ME}/instance?instance={instance}"),
            Value::Null,
        ),
        (
            "POST",
            CERTIFICATE.to_owned(),
            json!({ "request": request }),
        ),
        ("POST", format!("/v1/nodes/{node}/alive"), alive),
    ]
}

/// What an operator's key opens, too, for its own account.
fn of_probes(member: &Member) -> Vec<(&'static str, String, Value)> {
    let (node, probe) = (nearlight_kit::ids::node(), nearlight_kit::ids::session());
    let one = format!("/v1/probes/{probe}");
    let wanted = json!({ "node": node });
    let mut all = of_checkers(member);
    all.extend([
        ("POST", format!("/v1/probes?node={node}"), wanted),
        ("POST", format!("{one}/begin?node={node}"), json!({})),
        ("DELETE", format!("{one}?node={node}"), Value::Null),
    ]);
    all
}

async fn ask(client: &Client, (method, path, body): &(&str, String, Value)) -> Answer {
    match body {
        Value::Null => client.request(method, path, &[], "").await,
        body => client.post_json(path, body).await,
    }
}

fn shown(member: &Member) -> Credentials {
    Credentials::load(member.pki.path(), "checker").unwrap()
}

/// The member as it would be with what is kept of it now.
fn again(rig: &Rig, member: &Member) -> Client {
    certified(
        member.pki.path(),
        "checker",
        rig.broker.node_listen,
        &rig.wall,
    )
}

#[tokio::test]
async fn a_checkers_certificate_opens_what_checkers_do_and_nothing_else() {
    let rig = rig(60, 900).await;
    let member = member(&rig, 1, "west").await;
    for asked in of_probes(&member) {
        let answer = ask(&member.client, &asked).await;
        // The node and the assignment are made up.
        let is_let_in = matches!(answer.status, 200 | 204) || answer.at("/name") == "not-found";
        assert!(is_let_in, "{asked:?}: {answer:?}");
    }
    for path in [
        "/healthz",
        "/v1/directory",
        "/v1/receipts",
        "/log/checkpoint",
    ] {
        let answer = member.client.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    }
    for path in [
        "/",
        "/v1/nodes",
        "/v1/keys",
        "/v1/sessions",
        "/v1/whoami",
        "/metrics",
        "/v1/checkers",
    ] {
        member.client.get(path).await.refused(404, "not-found");
    }
    for path in [
        "/v1/checker-tokens",
        "/v1/join-tokens",
        "/v1/sessions",
        "/v1/enroll",
    ] {
        let refused = member.client.post_json(path, &json!({})).await;
        refused.refused(404, "not-found");
    }
    // Its word is its own: whoever it says it is besides, it is the checker of its certificate.
    let admin = rig.admin().headers[0].1.clone();
    let both = member.client.with("authorization", &admin);
    assert_eq!(both.get(ME).await.at("/checker/key_id"), member.id());
    let stranger = SecretKey::from_seed(&[9; 32]).public().id();
    let (method, path, mut alive) = of_checkers(&member).pop().unwrap();
    alive["checker"] = json!(stranger);
    let asked = (method, path, alive);
    ask(&member.client, &asked).await.refused(403, "forbidden");
}

/// A checker was known by an API key on the public listener, which whoever read it could show.
#[tokio::test]
async fn no_bearer_key_opens_what_checkers_do() {
    let rig = rig(60, 900).await;
    let member = member(&rig, 1, "west").await;
    let wanted = json!({ "name": "x", "role": "operator", "scopes": ["nodes:probe"] });
    let made = rig.admin().post_json("/v1/keys", &wanted).await;
    assert_eq!(made.status, 201, "{made:?}");
    // Nor is the account behind the certificate given one, and the certificate is as good as before.
    let account = checker_of(&shown(&member).spiffe).unwrap().account;
    let path = format!("/v1/keys/{account}/rotate");
    let wanted = json!({ "overlap_s": 0 });
    let rotated = rig.admin().post_json(&path, &wanted).await;
    rotated.refused(403, "forbidden");
    assert_eq!(member.client.get(ME).await.status, 200);
    let keys = [bearer(&rig, &made.at("/secret")), rig.admin()];
    for client in keys {
        for asked in of_checkers(&member) {
            ask(&client, &asked).await.refused(403, "forbidden");
        }
        // Nor at the listener that takes certificates.
        let tls = shown(&member).anonymous_config(&rig.wall).unwrap();
        let without = Client {
            at: rig.broker.node_listen,
            tls: Some(tls),
            ..client
        };
        without.get(ME).await.refused(404, "not-found");
    }
}

#[tokio::test]
async fn a_nodes_certificate_opens_nothing_of_checkers_and_a_checkers_nothing_of_nodes() {
    let rig = rig(60, 900).await;
    let member = member(&rig, 1, "west").await;
    let node = rig.node(1);
    let at = rig.broker.node_listen;
    let of_node = certified(&rig.pki(), node.id.as_str(), at, &rig.wall);
    for asked in of_probes(&member) {
        let answer = ask(&of_node, &asked).await;
        assert_eq!((answer.status, answer.body.as_str()), (0, ""), "{asked:?}");
    }
    // As a node, by a control stream and by a tunnel.
    let as_node = member.pki.path().join(format!("{}.pem", node.id));
    std::fs::copy(member.pki.path().join("checker.pem"), as_node).unwrap();
    let dialled = node.try_dial(member.pki.path(), at, &node.id).await;
    assert!(dialled.is_err());
    let tls = shown(&member).client_config(&rig.wall).unwrap();
    let mut tunnel = ClientConfig::clone(&tls);
    tunnel.alpn_protocols = vec![ALPN.to_vec()];
    let by_tunnel = Client::certified(at, Arc::new(tunnel));
    assert_eq!(by_tunnel.get(ME).await.status, 0);
    // Both are as good as before.
    assert_eq!(member.client.get(ME).await.status, 200);
    let _edge = rig.attach(&node, Vec::new()).await;
    rig.online(&node).await;
}

/// A connection that a checker keeps open.
struct Kept(tokio_rustls::client::TlsStream<TcpStream>);

impl Kept {
    async fn open(rig: &Rig, member: &Member) -> Self {
        let tls = shown(member).client_config(&rig.wall).unwrap();
        let tcp = TcpStream::connect(rig.broker.node_listen).await.unwrap();
        let connected = TlsConnector::from(tls).connect(broker_name(), tcp).await;
        Self(connected.unwrap())
    }

    async fn status(&mut self) -> u16 {
        self.ask().await.unwrap()
    }

    /// The status; `None` once the connection is closed.
    async fn ask(&mut self) -> Option<u16> {
        let head = format!("GET {ME} HTTP/1.1\r\nhost: x\r\n\r\n");
        self.0.write_all(head.as_bytes()).await.ok()?;
        let mut heard = Vec::new();
        loop {
            let mut some = [0; 4096];
            let read = self.0.read(&mut some).await.unwrap_or(0);
            if read == 0 {
                return None;
            }
            heard.extend_from_slice(&some[..read]);
            let text = String::from_utf8_lossy(&heard);
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.unwrap().parse().unwrap() {
                return head.split(' ').nth(1).unwrap().parse().ok();
            }
        }
    }
}

/// Has its certificate renewed at the door, and keeps what it gets.
async fn renew_at_the_door(rig: &Rig, member: &Member) -> Result<(), EnrolError> {
    let (at, key) = (rig.broker.node_listen.to_string(), PendingKey::generate()?);
    let shown = shown(member);
    let issued = renew_late(&at, &broker_name(), &shown, &key, &rig.wall).await?;
    Ok(issued.save(member.pki.path(), "checker")?)
}

/// A member that acts for a licence of which this is the id.
async fn licensed(rig: &Rig, n: u8) -> (Member, String) {
    let (owner, key) = (
        SecretKey::from_seed(&[n + 100; 32]),
        SecretKey::from_seed(&[n; 32]),
    );
    let wanted = json!({ "key": hex(owner.public().as_bytes()), "owner": "foundation" });
    let licence = rig
        .admin()
        .post_json("/v1/licences", &wanted)
        .await
        .at("/id");
    let token = admit(&rig.admin(), "south", Some(&licence)).await;
    let (mut asked, pending) = asks_with(&token, &key);
    let until_s = nearlight_kit::clock::unix_ms() / 1000 + 1000;
    asked["delegation"] = json!(Delegation::sign(&owner, &key.public(), until_s).to_string());
    let joined = rig.nobody().post_json("/v1/checkers", &asked).await;
    assert_eq!(joined.status, 201, "{joined:?}");
    let pki = Arc::new(tempfile::tempdir().unwrap());
    keep(pki.path(), &joined.json()["certificate"], &pending);
    let client = certified(pki.path(), "checker", rig.broker.node_listen, &rig.wall);
    let instance = format!("copy-of-the-test-{n}");
    (
        Member {
            key,
            client,
            instance,
            pki,
        },
        licence,
    )
}

#[tokio::test]
async fn whoever_was_shut_out_is_out_however_good_the_certificate() {
    let rig = rig(60, 900).await;
    let west = member(&rig, 1, "west").await;
    let (south, licence) = licensed(&rig, 2).await;
    let ends = [
        (&west, format!("/v1/checkers/{}", west.id())),
        (&south, format!("/v1/licences/{licence}")),
    ];
    for (member, path) in ends {
        let mut kept = Kept::open(&rig, member).await;
        assert_eq!(kept.status().await, 200);
        assert_eq!(rig.admin().delete(&path).await.status, 204);
        // On the connection that it had already, and on every other.
        assert_eq!(kept.status().await, 401);
        assert_eq!(kept.ask().await, None, "it is closed");
        for asked in of_probes(member) {
            ask(&member.client, &asked)
                .await
                .refused(401, "unauthenticated");
        }
        // What anybody may read is read elsewhere.
        let refused = member.client.get("/v1/directory").await;
        refused.refused(401, "unauthenticated");
        let late = renew_at_the_door(&rig, member).await.unwrap_err();
        assert_eq!(late.problem(), Some(ProblemType::Forbidden), "{late}");
    }
}

/// A certificate was looked at in the handshake alone, and a connection that stayed open outlived it.
#[tokio::test]
async fn a_connection_ends_with_its_certificate() {
    let rig = rig(60, 900).await;
    let member = member(&rig, 1, "west").await;
    let mut kept = Kept::open(&rig, &member).await;
    assert_eq!(kept.status().await, 200);
    rig.wall.set_ahead(DAY_S + 3600);
    let closed = async { while kept.ask().await.is_some() {} };
    let closed = tokio::time::timeout(PATIENCE, closed).await;
    closed.expect("the connection is closed");
}

/// Checkers behind one address shared its rate for what they read, however high their own was.
#[tokio::test]
async fn what_a_checker_reads_is_not_rated_by_its_address() {
    let rig = Rig::start_with(|config| {
        config.checks.round_s = 60;
        config.limits.requests_per_s = 1;
        config.limits.requests_burst = 20;
    })
    .await;
    let member = member(&rig, 1, "west").await;
    for _ in 0..30 {
        assert_eq!(member.client.get("/v1/directory").await.status, 200);
    }
    let mut last = 200;
    for _ in 0..60 {
        last = rig.nobody().get("/v1/directory").await.status;
    }
    assert_eq!(last, 429, "that of others is");
}

#[tokio::test]
async fn a_certificate_is_renewed_by_itself_and_the_next_one_is_the_same_checkers() {
    let rig = rig(60, 900).await;
    let member = member(&rig, 1, "west").await;
    let before = shown(&member).spiffe;
    rig.wall.set_ahead(DAY_S / 2);
    let pending = PendingKey::generate().unwrap();
    let asked = json!({ "request": pending.request().unwrap() });
    let renewed = again(&rig, &member).post_json(CERTIFICATE, &asked).await;
    assert_eq!(renewed.status, 200, "{renewed:?}");
    assert_eq!(
        renewed.json()["addresses"],
        json!([rig.broker.node_listen.to_string()])
    );
    let text = |name: &str| renewed.at(&format!("/{name}"));
    let issued = pending
        .accept(&text("certificate"), &text("ca"), &rig.wall)
        .unwrap();
    assert_eq!(issued.spiffe, before);
    issued.save(member.pki.path(), "checker").unwrap();
    // The former one is over by now.
    rig.wall.set_ahead(DAY_S + 3600);
    assert_eq!(
        again(&rig, &member).get(ME).await.at("/checker/key_id"),
        member.id()
    );
    let broken = json!({ "request": "x" });
    let refused = again(&rig, &member).post_json(CERTIFICATE, &broken).await;
    refused.refused(400, "bad-request");
}

#[tokio::test]
async fn a_checker_that_was_off_for_weeks_is_back_by_its_key_and_without_a_token() {
    let rig = rig(60, 900).await;
    let member = member(&rig, 1, "west").await;
    let before = shown(&member).spiffe;
    rig.wall.set_ahead(30 * DAY_S);
    assert_eq!(again(&rig, &member).get(ME).await.status, 0, "it is over");
    // Who has the certificate and not its key has nothing.
    let thief = tempfile::tempdir().unwrap();
    let pem = std::fs::read_to_string(member.pki.path().join("checker.pem")).unwrap();
    let own = thief.path().join("own.pem");
    PendingKey::ensure(&own).unwrap();
    let own = std::fs::read_to_string(own).unwrap();
    let (certificate, _key) = pem.split_once("-----BEGIN PRIVATE KEY-----").unwrap();
    std::fs::write(
        thief.path().join("checker.pem"),
        format!("{certificate}{own}"),
    )
    .unwrap();
    std::fs::copy(
        member.pki.path().join("ca.pem"),
        thief.path().join("ca.pem"),
    )
    .unwrap();
    let stolen = Member {
        key: SecretKey::from_seed(&[7; 32]),
        client: member.client.clone(),
        instance: member.instance.clone(),
        pki: Arc::new(thief),
    };
    let refused = renew_at_the_door(&rig, &stolen).await.unwrap_err();
    assert_eq!(
        refused.problem(),
        Some(ProblemType::BadRequest),
        "{refused}"
    );

    renew_at_the_door(&rig, &member).await.unwrap();
    assert_eq!(shown(&member).spiffe, before);
    assert_eq!(
        again(&rig, &member).get(ME).await.at("/checker/key_id"),
        member.id()
    );
    // Not for ever.
    rig.wall.set_ahead((30 + 92) * DAY_S);
    let late = renew_at_the_door(&rig, &member).await.unwrap_err();
    assert_eq!(late.problem(), Some(ProblemType::BadRequest), "{late}");
    assert!(late.to_string().contains("join again"), "{late}");
}

#[tokio::test]
async fn a_certificate_of_another_ca_is_refused() {
    let rig = rig(60, 900).await;
    let member = member(&rig, 1, "west").await;
    let name = checker_of(&shown(&member).spiffe).unwrap();
    let foreign = tempfile::tempdir().unwrap();
    let ca = Ca::ensure(foreign.path(), WallClock::system()).unwrap();
    ca.issue(foreign.path(), "checker", Identity::checker(&name))
        .unwrap();
    let believes = |pki: &Path| {
        std::fs::copy(rig.pki().join("ca.pem"), pki.join("ca.pem")).unwrap();
        certified(pki, "checker", rig.broker.node_listen, &rig.wall)
    };
    assert_eq!(believes(foreign.path()).get(ME).await.status, 0);
    // The same of the broker's own CA is who it says.
    let own = tempfile::tempdir().unwrap();
    let ca = Ca::ensure(&rig.pki(), WallClock::system()).unwrap();
    ca.issue(own.path(), "checker", Identity::checker(&name))
        .unwrap();
    assert_eq!(believes(own.path()).get(ME).await.status, 200);
}

#[tokio::test]
async fn who_comes_in_again_has_another_certificate_and_the_former_one_is_void() {
    let rig = rig(60, 900).await;
    let member = member(&rig, 1, "west").await;
    assert_eq!(member.client.get(ME).await.status, 200);
    let token = admit(&rig.admin(), "west", None).await;
    let (asked, pending) = asks_with(&token, &member.key);
    // The request is part of what the checker signs: nobody has another key certified on the way.
    let mut swapped = asked.clone();
    swapped["request"] = json!(PendingKey::generate().unwrap().request().unwrap());
    let refused = rig.nobody().post_json("/v1/checkers", &swapped).await;
    refused.refused(400, "bad-request");
    let joined = rig.nobody().post_json("/v1/checkers", &asked).await;
    assert_eq!(joined.status, 201, "{joined:?}");
    eventually("the former certificate to be void", || async {
        member.client.get(ME).await.status == 401
    })
    .await;
    keep(member.pki.path(), &joined.json()["certificate"], &pending);
    let shown = again(&rig, &member).get(ME).await;
    assert_eq!(shown.at("/checker/key_id"), member.id());
}
