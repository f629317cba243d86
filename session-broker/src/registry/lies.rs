//! Registries that lie: each is a real listener that says what it should not. What comes of it is a refusal with a
//! reason, after few bytes, and nobody else is dialled.

use super::*;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};

/// Far more than any answer is read for, with what lies in sockets' buffers.
const SENT_MAX: u64 = 64 * 1024 * 1024;
/// Where clouds tell machines their credentials.
const METADATA: &str = "http://169.254.169.254/latest/meta-data/";

/// A registry that answers every request with these words, and then, if it is `endless`, with whatever
/// the other side takes.
struct Liar {
    at: SocketAddr,
    sent: Arc<AtomicU64>,
    asked: Arc<AtomicU64>,
}

impl Liar {
    fn says(answer: impl Into<String>, endless: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let (sent, asked) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (answer, counts) = (answer.into(), (sent.clone(), asked.clone()));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counts.1.fetch_add(1, Ordering::Relaxed);
                answer_one(stream, &answer, endless, &counts.0);
            }
        });
        Self { at, sent, asked }
    }

    /// What comes of asking it for the image's digest.
    async fn asked_for(&self, reference: &str) -> Result<String, RegistryError> {
        let image: ImageRef = format!("{}/team/server{reference}", self.at)
            .parse()
            .unwrap();
        let owner = OwnerId::of(None, &nearlight_kit::ids::user());
        let registries = Registries::new(&[self.at.to_string()]);
        registries.digest(&owner, &image, None).await
    }
}

fn answer_one(mut stream: TcpStream, answer: &str, endless: bool, sent: &AtomicU64) {
    let mut request = [0; 2048];
    // A request of ours is one piece; whatever is wrong with it shows in the answer.
    let _ = stream.read(&mut request);
    let _ = stream.write_all(answer.as_bytes());
    let more = [b' '; 64 * 1024];
    while endless && stream.write_all(&more).is_ok() {
        let all = sent.fetch_add(more.len() as u64, Ordering::Relaxed);
        assert!(all < SENT_MAX, "it is read without an end");
    }
}

fn ok(length: Option<usize>, body: &str) -> String {
    let length = length.map_or(String::new(), |bytes| {
        format!("Content-Length: {bytes}\r\n")
    });
    format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{length}\r\n{body}")
}

/// A listener whose address nobody may dial, and whether somebody has.
fn untouched() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let at = listener.local_addr().unwrap();
    (listener, at)
}

#[tokio::test]
async fn another_manifest_than_the_digest_names_is_refused() {
    let body = "{\"schemaVersion\":2}";
    let liar = Liar::says(ok(Some(body.len()), body), false);
    let named = format!("@sha256:{}", "0a".repeat(32));
    assert_eq!(liar.asked_for(&named).await, Err(RegistryError::Other));
    // Of a tag the digest is that of the bytes, whatever a header says.
    let own = digest_of(body.as_bytes());
    assert_eq!(liar.asked_for(":1").await, Ok(own.clone()));
    assert_eq!(liar.asked_for(&format!("@{own}")).await, Ok(own));
}

#[tokio::test]
async fn a_manifest_that_breaks_off_is_none() {
    let liar = Liar::says(ok(Some(1000), "{\"schemaVersion\""), false);
    let refused = liar.asked_for(":1").await.unwrap_err();
    assert!(matches!(refused, RegistryError::Silent(_)), "{refused}");
}

#[tokio::test]
async fn a_manifest_without_an_end_is_given_up() {
    let liar = Liar::says(ok(None, "{"), true);
    let refused = liar.asked_for(":1").await.unwrap_err();
    assert_eq!(refused, silent("its answer is too long"));
    assert!(liar.sent.load(Ordering::Relaxed) < SENT_MAX);
    let promised = Liar::says(ok(Some(1 << 40), "{"), true);
    let refused = promised.asked_for(":1").await.unwrap_err();
    assert_eq!(refused, silent("its answer is too long"));
}

#[tokio::test]
async fn nobody_is_sent_elsewhere() {
    let (listener, inside) = untouched();
    for to in [METADATA.to_owned(), format!("http://{inside}/")] {
        let answer = format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
        let liar = Liar::says(answer, false);
        let refused = liar.asked_for(":1").await;
        assert_eq!(refused, Err(RegistryError::Refused(302)), "{to}");
        assert_eq!(liar.asked.load(Ordering::Relaxed), 1);
    }
    assert!(listener.accept().is_err(), "nobody dialled");
}

#[tokio::test]
async fn a_token_is_asked_for_at_no_private_address() {
    let (listener, inside) = untouched();
    for realm in [METADATA.to_owned(), format!("http://{inside}/token")] {
        let answer = format!(
            "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"{realm}\"\r\nContent-Length: 0\r\n\r\n"
        );
        let refused = Liar::says(answer, false).asked_for(":1").await.unwrap_err();
        assert!(
            matches!(refused, RegistryError::Silent(_)),
            "{realm}: {refused}"
        );
    }
    assert!(listener.accept().is_err(), "nobody dialled");
}
