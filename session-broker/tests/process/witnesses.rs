//! Witnesses as strangers run them: one that is asked (c2sp.org/tlog-witness), one that asks.

use crate::http::Client;
use crate::receipts::{self, Trust};
use crate::rig::{Rig, eventually};
use nearlight_proof::encoding::array_from_base64;
use nearlight_proof::key::SecretKey;
use nearlight_proof::log::checkpoint::Checkpoint;
use nearlight_proof::log::cosignature;
use nearlight_proof::log::note::{Algorithm, Note, VerifierKey};
use nearlight_proof::log::tree::{Hash, LogHasher, extends};
use nearlight_proof::receipt::report::Outcome;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What a witness knows of one log.
struct Witness {
    name: String,
    secret: SecretKey,
    seen: (u64, Hash),
}

impl Witness {
    fn new(name: &str, seed: u8) -> Self {
        Self {
            name: name.to_owned(),
            secret: SecretKey::from_seed(&[seed; 32]),
            seen: (0, nearlight_proof::encoding::sha256(&[])),
        }
    }

    fn key(&self) -> VerifierKey {
        let key = self.secret.public();
        VerifierKey::new(&self.name, Algorithm::CosignatureV1, key).unwrap()
    }

    /// The status and the body of its answer to an add-checkpoint request.
    fn add_checkpoint(&mut self, body: &str) -> (u16, String) {
        let (head, note) = body.split_once("\n\n").unwrap();
        let mut lines = head.lines();
        let old = lines.next().unwrap().strip_prefix("old ").unwrap();
        let proof: Vec<Hash> = lines.map(|line| array_from_base64(line).unwrap()).collect();
        if old.parse::<u64>().unwrap() != self.seen.0 {
            return (409, format!("{}\n", self.seen.0));
        }
        let note = Note::parse(note.as_bytes()).unwrap();
        let new = Checkpoint::parse(note.text()).unwrap();
        let before = (self.seen.0, &self.seen.1);
        if !extends::<LogHasher>(before, (new.size, &new.root), &proof) {
            return (422, String::new());
        }
        self.seen = (new.size, new.root);
        let now_s = nearlight_kit::clock::unix_ms() / 1000;
        let line = cosignature::sign(note.text(), &self.name, &self.secret, now_s);
        (200, line.unwrap().to_string())
    }
}

/// Serves one witness, until the test ends.
async fn serve(witness: Arc<Mutex<Witness>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    nearlight_kit::shutdown::Shutdown::new().spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let _ = answer(tcp, &witness).await;
        }
    });
    at
}

async fn answer(mut tcp: TcpStream, witness: &Mutex<Witness>) -> std::io::Result<()> {
    let mut text = String::new();
    let body = loop {
        let mut piece = [0; 4096];
        let n = tcp.read(&mut piece).await?;
        text.push_str(&String::from_utf8_lossy(&piece[..n]));
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        assert!(head.starts_with("POST /log/add-checkpoint "), "{head}");
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.parse::<usize>())
        });
        if n == 0 || body.len() >= length.unwrap().unwrap() {
            break body;
        }
    };
    let (status, said) = witness.lock().unwrap().add_checkpoint(body);
    let length = said.len();
    let head =
        format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    tcp.write_all((head + &said).as_bytes()).await
}

/// The witness that asks: it fetches what it is to cosign, and posts its line.
async fn dial(client: &Client, witness: &mut Witness) -> u16 {
    let path = format!("/v1/log/candidate?old={}", witness.seen.0);
    let candidate = client.get(&path).await;
    if candidate.status != 200 {
        return candidate.status;
    }
    let (status, line) = witness.add_checkpoint(&candidate.body);
    assert_eq!(status, 200, "{candidate:?}");
    let text = [("content-type", "text/plain")];
    let posted = client
        .request("POST", "/v1/log/cosignatures", &text, &line)
        .await;
    posted.status
}

#[tokio::test]
async fn what_a_quorum_of_witnesses_saw_is_shown_with_their_lines() {
    let asked = Arc::new(Mutex::new(Witness::new("asked.example", 41)));
    let mut asking = Witness::new("asking.example", 42);
    let at = serve(asked.clone()).await;
    let keys = [asked.lock().unwrap().key(), asking.key()];
    let lines = vec![format!("{} http://{at}/log/", keys[0]), keys[1].to_string()];
    let rig = Rig::start_with(|config| {
        config.log.witnesses = lines;
        config.log.quorum = 2;
    })
    .await;
    let client = rig.nobody();
    Trust::ask(&client).await;
    receipts::let_in(&rig.admin()).await;
    let place = receipts::index(&client, &receipts::receipt("seen", &[])).await;
    let trust = Trust::ask(&client).await.with_witnesses(&keys, 2);
    let path = format!("/v1/receipts/{place}");
    let asking = tokio::sync::Mutex::new(&mut asking);
    eventually("two witnesses to have seen it", || async {
        dial(&client, *asking.lock().await).await;
        let shown = client.get(&path).await;
        shown.status == 200 && shown.at("/proof").contains("asked.example")
    })
    .await;
    let shown = client.get(&path).await.json();
    assert_eq!(trust.outcome(&shown), Outcome::Valid, "{shown}");
    let checkpoint = client.get("/log/checkpoint").await;
    let note = Note::parse(checkpoint.body.as_bytes()).unwrap();
    for key in &keys {
        assert!(cosignature::verify(&note, key).is_ok(), "{}", key.name());
    }
    let stranger = Witness::new("asked.example", 43);
    let line = cosignature::sign(note.text(), "asked.example", &stranger.secret, 1).unwrap();
    let text = [("content-type", "text/plain")];
    let line = line.to_string();
    let refused = client.request("POST", "/v1/log/cosignatures", &text, &line);
    refused.await.refused(400, "bad-request");
}
