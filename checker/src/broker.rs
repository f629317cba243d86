//! The broker's API as far as a checker needs it: probes and their steps, receipts.
//!
//! A member of a network shows its certificate at the broker's listener for nodes and checkers ([`shown`]), for all that it
//! does; what anybody may ask, and what an API key is for, is asked of the public listener.

use crate::failure::Failure;
use nearlight_proof::encoding::{hex, sha256};
use nearlight_protocol::problem::{Problem, ProblemType};
use nearlight_protocol::prove::{CreateProbe, NewProbe};
use nearlight_protocol::receipt::{Placed, Receipt};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;
use ureq::http::Response;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, RequestBuilder};

mod duties;
mod log;
mod shown;
mod steps;

pub use duties::Refused;
pub use steps::NoAnswer;

const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Largest answer that is no opening.
const ANSWER_BYTES_MAX: u64 = 128 * 1024;
const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";

/// A broker, and what it is shown.
#[derive(Debug)]
pub struct Broker {
    /// Held to be copied or replaced, never across a request.
    agent: RwLock<Agent>,
    url: String,
    /// An API key, if it is shown one.
    bearer: Option<String>,
    /// Bodies that were sent and received, and not counted yet.
    bytes: AtomicU64,
}

impl Broker {
    /// The broker at `url`, with an API key that has the scope `nodes:probe`; with an empty one, as anybody.
    #[must_use]
    pub fn new(url: &str, token: &str) -> Self {
        Self::believing(RootCerts::WebPki, (url, token))
    }

    /// The same, whose certificate is of one of these authorities, PEM, in place of the public ones.
    ///
    /// # Errors
    /// [`Failure::Authorities`].
    pub fn of_authorities(pem: &str, url: &str, token: &str) -> Result<Self, Failure> {
        let mut certificates = Vec::new();
        for item in parse_pem(pem.as_bytes()) {
            match item.map_err(|_| Failure::Authorities)? {
                PemItem::Certificate(certificate) => certificates.push(certificate),
                _ => return Err(Failure::Authorities),
            }
        }
        match certificates.is_empty() {
            true => Err(Failure::Authorities),
            false => Ok(Self::believing(certificates.into(), (url, token))),
        }
    }

    fn believing(roots: RootCerts, (url, token): (&str, &str)) -> Self {
        let tls = TlsConfig::builder().root_certs(roots).build();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .tls_config(tls);
        let token = token.trim();
        Self {
            agent: RwLock::new(config.build().into()),
            url: url.trim_end_matches('/').to_owned(),
            bearer: (!token.is_empty()).then(|| format!("Bearer {token}")),
            bytes: AtomicU64::new(0),
        }
    }

    /// The way to the broker. A copy shares its connections.
    fn agent(&self) -> Agent {
        self.agent
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// A request with the API key, if there is one to show.
    fn known<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.bearer {
            Some(bearer) => request.header("Authorization", bearer),
            None => request,
        }
    }

    /// Opens a probe of a node.
    ///
    /// # Errors
    /// [`Failure::Broker`].
    pub fn open(&self, wanted: &CreateProbe) -> Result<NewProbe, Failure> {
        let body =
            serde_json::to_vec(wanted).map_err(|error| Failure::Broker(error.to_string()))?;
        let path = format!("/v1/probes?node={}", wanted.node);
        let answer = self.post(&path, "application/json", ANSWER_WITHIN, &body);
        let mut answer = answer.map_err(|error| Failure::Broker(error.to_string()))?;
        let read = read(&mut answer, ANSWER_BYTES_MAX)?;
        if answer.status().as_u16() != 201 {
            return Err(Failure::Broker(refusal(&read).1));
        }
        serde_json::from_slice(&read).map_err(|_| {
            Failure::Broker(
                "it answers with no probe; it may be older than this checker".to_owned(),
            )
        })
    }

    /// Ends a probe. One that is not ended is forgotten by itself.
    pub fn end(&self, probe: &NewProbe) {
        let (id, node) = (&probe.id, &probe.node);
        let url = format!("{}/v1/probes/{id}?node={node}", self.url);
        let request = self.agent().delete(url);
        let request = request.config().timeout_global(Some(ANSWER_WITHIN)).build();
        let _ = self.known(request).call();
    }

    /// Hands a receipt in; what the log said, or why it did not take it.
    ///
    /// # Errors
    /// Why not, as a sentence. The receipt is as good as before.
    pub fn hand_in(&self, receipt: &[u8]) -> Result<String, String> {
        let answer = self.post("/v1/receipts", ENVELOPE, ANSWER_WITHIN, receipt);
        let mut answer = answer.map_err(|error| error.to_string())?;
        let read = read(&mut answer, ANSWER_BYTES_MAX).map_err(|error| error.to_string())?;
        match answer.status().as_u16() {
            200 | 201 => Ok(String::from_utf8_lossy(&read).into_owned()),
            404 | 405 => Err("the broker keeps no log of receipts".to_owned()),
            _ => Err(refusal(&read).1),
        }
    }

    /// Hands a receipt in; its leaf.
    ///
    /// # Errors
    /// Why the log did not take it.
    pub fn place(&self, receipt: &[u8]) -> Result<String, String> {
        let said = self.hand_in(receipt)?;
        let placed: Placed = serde_json::from_str(&said).map_err(|_| {
            "the broker says no place; it may be older than this checker".to_owned()
        })?;
        Ok(placed.leaf)
    }

    /// The receipt at a place of the log.
    ///
    /// # Errors
    /// Why it cannot be read, as a sentence.
    pub fn logged(&self, index: u64) -> Result<String, String> {
        let request = self
            .agent()
            .get(format!("{}/v1/receipts/{index}", self.url));
        let request = request.config().timeout_global(Some(ANSWER_WITHIN)).build();
        let mut answer = request.call().map_err(|error| error.to_string())?;
        let read = read(&mut answer, ANSWER_BYTES_MAX).map_err(|error| error.to_string())?;
        self.count(read.len());
        if !answer.status().is_success() {
            return Err(refusal(&read).1);
        }
        let receipt: Receipt = serde_json::from_slice(&read)
            .map_err(|_| "the broker answers with something else than a receipt".to_owned())?;
        Ok(receipt.envelope)
    }

    /// Puts a piece of evidence beside the log, once its receipt, which has this leaf, stands there.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn put_evidence(&self, piece: &[u8], leaf: Option<&str>) -> Result<(), Refused> {
        let sha256 = hex(&sha256(&[piece]));
        self.count(piece.len());
        // Brokers of before know by the hash alone which receipt names it.
        let named_by = leaf.map_or_else(String::new, |leaf| format!("?receipt={leaf}"));
        let request = self
            .agent()
            .put(format!("{}/v1/evidence/{sha256}{named_by}", self.url));
        let request = request.config().timeout_global(Some(ANSWER_WITHIN)).build();
        let request = request.header("Content-Type", "application/octet-stream");
        let answer = request.send(piece);
        let mut answer = answer.map_err(|error| Refused::Away(error.to_string()))?;
        let read = read(&mut answer, ANSWER_BYTES_MAX)
            .map_err(|error| Refused::Away(error.to_string()))?;
        match answer.status().as_u16() {
            204 => Ok(()),
            _ => Err(refused(&read)),
        }
    }

    /// Bytes of bodies since the last time.
    pub fn take_bytes(&self) -> u64 {
        self.bytes.swap(0, Ordering::Relaxed)
    }

    pub(crate) fn count(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The broker's date, as an answer's header has it.
    ///
    /// # Errors
    /// Why it cannot be told.
    pub fn date(&self) -> Result<String, String> {
        let request = self.agent().get(format!("{}/healthz", self.url));
        let request = request.config().timeout_global(Some(ANSWER_WITHIN)).build();
        let answer = request.call().map_err(|error| error.to_string())?;
        let date = answer.headers().get("date").and_then(|of| of.to_str().ok());
        date.map(str::to_owned)
            .ok_or_else(|| "it sends no date".to_owned())
    }

    fn post(
        &self,
        path: &str,
        kind: &str,
        within: Duration,
        body: &[u8],
    ) -> Result<Response<Body>, ureq::Error> {
        self.count(body.len());
        let request = self.agent().post(format!("{}{path}", self.url));
        let request = request.config().timeout_global(Some(within)).build();
        let request = self.known(request);
        request.header("Content-Type", kind).send(body)
    }
}

fn read(answer: &mut Response<Body>, most: u64) -> Result<Vec<u8>, Failure> {
    let body = answer.body_mut().with_config();
    let read = body.limit(most).read_to_vec();
    read.map_err(|error| Failure::Broker(error.to_string()))
}

/// What an answer that is none says.
fn refused(body: &[u8]) -> Refused {
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => Refused::Said(problem.name, problem.detail),
        Err(_) => {
            Refused::Away("it answers with something else than Nearlight's broker does".to_owned())
        }
    }
}

/// What a problem says.
fn refusal(body: &[u8]) -> (Option<ProblemType>, String) {
    match refused(body) {
        Refused::Said(name, detail) => (Some(name), detail),
        Refused::Away(why) => (None, why),
    }
}
