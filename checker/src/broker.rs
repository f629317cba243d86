//! The broker's API as far as a checker needs it: probes and their steps, receipts.

use crate::failure::Failure;
use nearlight_proof::encoding::{hex, sha256};
use nearlight_proof::porc::exchange::Step;
use nearlight_proof::porc::exchange::exam::Miss;
use nearlight_protocol::problem::{Problem, ProblemType};
use nearlight_protocol::prove::{CreateProbe, NewProbe, SAID_BY, SAID_BY_NODE};
use nearlight_protocol::receipt::{Placed, Receipt};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use ureq::http::Response;
use ureq::{Agent, Body};

mod duties;
mod log;

pub use duties::Refused;

const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Largest answer that is no opening.
const ANSWER_BYTES_MAX: u64 = 128 * 1024;
const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";

/// Why there is no answer to a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// It is the node's doing.
    Node(Miss),
    /// It is not, or nobody can tell: nothing of it is the node's.
    Broker(String),
}

/// A broker, and a key for it.
#[derive(Debug)]
pub struct Broker {
    agent: Agent,
    url: String,
    bearer: String,
    /// Bodies that were sent and received, and not counted yet.
    bytes: AtomicU64,
}

impl Broker {
    /// The broker at `url`, with an API key that has the scope `nodes:probe`.
    #[must_use]
    pub fn new(url: &str, token: &str) -> Self {
        let config = Agent::config_builder().http_status_as_error(false).build();
        Self {
            agent: config.into(),
            url: url.trim_end_matches('/').to_owned(),
            bearer: format!("Bearer {}", token.trim()),
            bytes: AtomicU64::new(0),
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

    /// The node's answer to a step, at most so many bytes and within so long.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub fn step(
        &self,
        probe: &NewProbe,
        (step, message): (Step, &[u8]),
        (within, bytes_max): (Duration, usize),
    ) -> Result<Vec<u8>, NoAnswer> {
        let (id, node) = (&probe.id, &probe.node);
        let path = format!("/v1/probes/{id}/{}?node={node}", step.name());
        let miss = |error: ureq::Error| match error {
            ureq::Error::Timeout(_) => NoAnswer::Node(Miss::Late),
            error => NoAnswer::Broker(error.to_string()),
        };
        let answer = self.post(&path, "application/octet-stream", within, message);
        let mut answer = answer.map_err(miss)?;
        let is_answer = answer.status().as_u16() == 200;
        let said_by = answer.headers().get(SAID_BY);
        let is_nodes = said_by.is_some_and(|by| by == SAID_BY_NODE);
        let limit = if is_answer {
            bytes_max as u64
        } else {
            ANSWER_BYTES_MAX
        };
        let body = answer.body_mut().with_config();
        // One byte more, so that a longer one is seen to be.
        let read = body.limit(limit + 1).read_to_vec().map_err(miss)?;
        self.count(read.len());
        if is_answer {
            return Ok(read);
        }
        Err(match refusal(&read) {
            (_, why) if is_nodes => NoAnswer::Node(Miss::Refused(why)),
            (Some(ProblemType::NodeUnreachable), why) => NoAnswer::Node(Miss::Unreachable(why)),
            (_, why) => NoAnswer::Broker(why),
        })
    }

    /// Ends a probe. One that is not ended is forgotten by itself.
    pub fn end(&self, probe: &NewProbe) {
        let (id, node) = (&probe.id, &probe.node);
        let url = format!("{}/v1/probes/{id}?node={node}", self.url);
        let request = self.agent.delete(url);
        let request = request.config().timeout_global(Some(ANSWER_WITHIN)).build();
        let _ = request.header("Authorization", &self.bearer).call();
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
        let request = self.agent.get(format!("{}/v1/receipts/{index}", self.url));
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
            .agent
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
        let request = self.agent.get(format!("{}/healthz", self.url));
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
        let request = self.agent.post(format!("{}{path}", self.url));
        let request = request.config().timeout_global(Some(within)).build();
        let request = request.header("Authorization", &self.bearer);
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
