//! Rounds that take their values from drand, by relays of the test: what is assigned, what is told, and what there is when
//! relays lie or say nothing.

use crate::checkers::{alive, due, member, node, rig};
use crate::http::Answer;
use crate::receipts::Trust;
use crate::rig::Rig;
use nearlight_proof::beacon::anchor::Anchor;
use nearlight_proof::beacon::drand::Network;
use nearlight_proof::beacon::drand::fixture::Signer;
use nearlight_proof::beacon::used::{Beacon, Timetable, Used};
use nearlight_proof::encoding::{array_from_hex, hex, sha256};
use nearlight_proof::key::PublicKey;
use serde_json::{Value, json};
use session_broker::config::Parsed;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Seconds of a round: half of it is waited for a value, which is due within one.
const ROUND_S: u32 = 4;
const SIGNER: u64 = 11;

fn network() -> Network {
    Signer::new(SIGNER).network(1_700_000_000, 1)
}

/// What a relay says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    /// The round.
    Right,
    /// The round with another member's signature.
    Forged,
    /// The round before.
    Other,
    /// The round before, called the one that is asked for.
    Renamed,
    /// A page.
    Garbage,
    /// Nothing.
    Nothing,
}

/// A relay.
struct Relay {
    says: Arc<Mutex<Says>>,
    url: String,
}

impl Relay {
    fn start(says: Says) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // As public ones have it, behind the chain's hash.
        let url = format!("http://{}/0123", listener.local_addr().unwrap());
        let says = Arc::new(Mutex::new(says));
        let serving = says.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(&stream.unwrap(), *serving.lock().unwrap());
            }
        });
        Self { says, url }
    }

    fn says(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }
}

fn answer(stream: &TcpStream, says: Says) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let asked = first.strip_prefix("GET /0123/public/").unwrap();
    let round: u64 = asked.split(' ').next().unwrap().parse().unwrap();
    lines.take_while(|line| !line.is_empty()).for_each(drop);
    let told = |round: u64, signature: [u8; 48]| {
        let randomness = hex(&sha256(&[&signature]));
        json!({ "round": round, "randomness": randomness, "signature": hex(&signature) })
            .to_string()
    };
    let signer = Signer::new(SIGNER);
    let text = match says {
        Says::Right => told(round, signer.sign(round)),
        Says::Forged => told(round, Signer::new(SIGNER + 1).sign(round)),
        Says::Other => told(round - 1, signer.sign(round - 1)),
        Says::Renamed => told(round, signer.sign(round - 1)),
        Says::Garbage => "<html>log in to this network first</html>".to_owned(),
        Says::Nothing => return,
    };
    let mut stream = stream;
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json";
    // Whoever asked may be gone.
    let _ = write!(
        stream,
        "{head}\r\ncontent-length: {}\r\n\r\n{text}",
        text.len()
    );
}

fn by_drand(config: &mut Parsed, relays: &[&Relay]) {
    config.checks.beacon = Beacon::Drand(network());
    config.checks.beacon_relays = relays.iter().map(|of| of.url.clone()).collect();
}

async fn rig_of(relays: &[&Relay]) -> Rig {
    let rig = Rig::start_with(|config| {
        config.checks.round_s = ROUND_S;
        config.limits.requests_burst = 5000;
        config.limits.key_requests_burst = 5000;
        by_drand(config, relays);
    });
    rig.await
}

async fn told(rig: &Rig, round: u64) -> Answer {
    rig.nobody().get(&format!("/v1/beacon/{round}")).await
}

/// The first round from `round` on of which something is told that is so.
async fn until(rig: &Rig, mut round: u64, what: &str, is: impl Fn(&Value) -> bool) -> u64 {
    for _ in 0..6_000 {
        let answer = told(rig, round).await;
        match answer.status {
            200 if is(&answer.json()) => return round,
            200 => round += 1,
            _ => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    }
    panic!("no round is {what}");
}

/// When rounds begin, and which beacons they take their values from, as the log says once it has so many entries of that.
async fn table(rig: &Rig, uses: usize) -> Timetable {
    for _ in 0..3_000 {
        match logged(rig).await {
            Some(table) if table.uses().len() >= uses => return table,
            _ => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    }
    panic!("the log does not say {uses} times which beacon is used");
}

async fn logged(rig: &Rig) -> Option<Timetable> {
    let trust = Trust::ask(&rig.nobody()).await;
    let directory = rig.nobody().get("/v1/directory").await;
    let authority = PublicKey::from_hex(&directory.at("/directory_key")).unwrap();
    assert_eq!(trust.directory().pinned_by, authority.id());
    let listed = rig.nobody().get("/v1/receipts").await.json();
    let mut entries = Vec::new();
    for receipt in listed["receipts"].as_array().unwrap() {
        let kind = receipt["kind"].as_str().unwrap().to_owned();
        let path = format!("/v1/receipts/{}", receipt["index"]);
        let envelope = rig.nobody().get(&path).await.at("/envelope");
        entries.push((receipt["index"].as_u64().unwrap(), kind, envelope));
    }
    entries.sort();
    let of = |wanted: &str| {
        let kind = entries.iter().filter(move |(_, kind, _)| kind == wanted);
        kind.map(|(_, _, text)| text.clone()).collect::<Vec<_>>()
    };
    let chain = of("chain/v1");
    let anchor = Anchor::open(chain.first()?.as_bytes(), &authority).unwrap();
    let mut table = Timetable::new(anchor);
    let said = of("beacon/v1");
    let once: std::collections::BTreeSet<&String> = said.iter().collect();
    assert_eq!(once.len(), said.len(), "the log says nothing twice");
    for entry in said {
        let used = Used::open(entry.as_bytes(), &authority).unwrap();
        table.add(used).unwrap();
    }
    Some(table)
}

#[tokio::test]
async fn a_round_takes_its_value_from_drand_and_everybody_says_the_same() {
    let relay = Relay::start(Says::Right);
    let rig = rig_of(&[&relay]).await;
    let mut members = Vec::new();
    for (n, operator) in [(1, "a"), (2, "b"), (3, "c")] {
        members.push(member(&rig, n, operator).await);
    }
    let (_edge, node_key) = node(&rig, 50).await;
    let (who, duty) = due(&members, "alive").await;
    let round = duty["round"].as_u64().unwrap();
    let table = table(&rig, 1).await;
    assert_eq!(table.uses().len(), 1, "one entry of the log says it");
    assert_eq!(
        table.beacon(1),
        Beacon::Drand(network()),
        "from the first round on"
    );
    let signature: [u8; 48] = array_from_hex(duty["signature"].as_str().unwrap()).unwrap();
    let value = table.value(round, &signature).unwrap();
    assert_eq!(duty["value"], hex(&value));
    let done = who.report(&duty, alive(&duty, &node_key, &who.key)).await;
    assert_eq!(done.status, 204, "{done:?}");

    let shown = told(&rig, round).await.json();
    let (_, of) = table.drand(round).unwrap();
    assert_eq!(
        [
            &shown["value"],
            &shown["signature"],
            &shown["drand_round"],
            &shown["beacon"]
        ],
        [
            &duty["value"],
            &duty["signature"],
            &json!(of),
            &json!(network().to_string())
        ]
    );
    let rows = crate::checkers::rows(&rig, round).await;
    assert_eq!(rows["value"], duty["value"]);
    // Checkers are told what the log has of it.
    let later = until(&rig, round + 1, "drawn", |of| of["signature"].is_string()).await;
    let path = format!("/v1/beacon/{later}?before=1000000");
    let before = rig.nobody().get(&path).await.json()["before"].clone();
    let before = before.as_array().unwrap();
    assert_eq!(before.len() as u64, later - 1, "all before it");
    assert_eq!(before[(later - 1 - round) as usize], duty["signature"]);

    // What is known stays, whatever relays say after a restart; and the log says nothing twice.
    relay.says(Says::Forged);
    let rig = rig.restart().await;
    assert_eq!(told(&rig, round).await.json()["value"], duty["value"]);
    let void = until(&rig, later + 1, "void", |of| of["void"] == true).await;
    relay.says(Says::Right);
    until(&rig, void + 1, "drawn", |of| of["signature"].is_string()).await;
    assert_eq!(self::table(&rig, 1).await, table);
}

#[tokio::test]
async fn a_round_waits_for_a_value_that_is_its_own_and_is_void_without_one() {
    let wrong = [Says::Forged, Says::Other, Says::Renamed, Says::Garbage].map(Relay::start);
    let last = Relay::start(Says::Nothing);
    let relays: Vec<&Relay> = wrong.iter().chain([&last]).collect();
    let rig = rig_of(&relays).await;
    let mut members = Vec::new();
    for (n, operator) in [(1, "a"), (2, "b"), (3, "c")] {
        members.push(member(&rig, n, operator).await);
    }
    let (_edge, _) = node(&rig, 50).await;
    let void = until(&rig, 1, "void", |of| of["void"] == true).await;
    let shown = told(&rig, void).await.json();
    assert_eq!(
        (&shown["value"], &shown["signature"]),
        (&json!(""), &Value::Null)
    );
    let nobody = rig.nobody();
    let rows = nobody.get(&format!("/v1/assignments?round={void}")).await;
    rows.refused(404, "not-found");
    for of in &members {
        assert_eq!(of.duties().await, Vec::<Value>::new());
    }
    // One that has it is enough, however many lie before it is asked.
    last.says(Says::Right);
    let drawn = until(&rig, void + 1, "drawn", |of| of["signature"].is_string()).await;
    let (_, duty) = due(&members, "alive").await;
    assert!(duty["round"].as_u64().unwrap() >= drawn);
    let still = told(&rig, void).await.json();
    assert_eq!(still["void"], true, "what was void stays void");
}

#[tokio::test]
async fn another_beacon_is_an_entry_of_the_log_and_begins_with_a_round_to_come() {
    let rig = rig(ROUND_S, 900).await;
    let _member = member(&rig, 1, "a").await;
    let of_chain = until(&rig, 1, "the chain's", |of| of["beacon"] == "chain").await;
    let value = told(&rig, of_chain).await.json()["value"].clone();
    assert!(table(&rig, 0).await.uses().is_empty());
    let relay = Relay::start(Says::Right);
    let rig = rig.restart_with(|config| by_drand(config, &[&relay])).await;
    let drawn = until(&rig, of_chain, "drawn", |of| of["signature"].is_string()).await;
    assert_eq!(told(&rig, of_chain).await.json()["value"], value);
    let known = table(&rig, 1).await;
    let first = known.uses()[0].from_round;
    assert!(of_chain < first && first <= drawn);
    for round in of_chain..=first {
        let expected = if round < first {
            "chain".to_owned()
        } else {
            network().to_string()
        };
        let shown = told(&rig, round).await.json();
        assert_eq!(shown["beacon"], expected, "round {round}");
    }
    // And back.
    let back = |config: &mut Parsed| config.checks.beacon = Beacon::Chain;
    let rig = rig.restart_with(back).await;
    let again = until(&rig, first, "the chain's", |of| of["beacon"] == "chain").await;
    assert_eq!(table(&rig, 2).await.uses()[1].from_round, again);
}
