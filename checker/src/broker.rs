//! The broker's API as far as a checker needs it: probes and their steps, receipts.

use crate::failure::Failure;
use nearlight_proof::encoding::{hex, sha256};
use nearlight_proof::porc::exchange::Step;
use nearlight_proof::porc::exchange::exam::Miss;
use nearlight_protocol::problem::{Problem, ProblemType};
use nearlight_protocol::prove::{CreateProbe, NewProbe};
use nearlight_protocol::receipt::{Placed, Receipt};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use ureq::http::Response;
use ureq::{Agent, Body};

mod duties;

pub use duties::Refused;

const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How often a piece of evidence is sent again, and after how long.
const EVIDENCE_TRIES: usize = 3;
const EVIDENCE_PAUSE: Duration = Duration::from_secs(1);
/// Largest answer that is no opening.
const ANSWER_BYTES_MAX: u64 = 128 * 1024;
const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";

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
        let answer = self.post("/v1/probes", "application/json", ANSWER_WITHIN, &body);
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
    /// Why there is none.
    pub fn step(
        &self,
        probe: &str,
        (step, message): (Step, &[u8]),
        (within, bytes_max): (Duration, usize),
    ) -> Result<Vec<u8>, Miss> {
        let path = format!("/v1/probes/{probe}/{}", step.name());
        let miss = |error: ureq::Error| match error {
            ureq::Error::Timeout(_) => Miss::Late,
            error => Miss::Unreachable(error.to_string()),
        };
        let answer = self.post(&path, "application/octet-stream", within, message);
        let mut answer = answer.map_err(miss)?;
        let is_answer = answer.status().as_u16() == 200;
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
        let (name, why) = refusal(&read);
        match name {
            Some(ProblemType::BadRequest | ProblemType::TooManyRequests) => Err(Miss::Refused(why)),
            _ => Err(Miss::Unreachable(why)),
        }
    }

    /// Ends a probe. One that is not ended is forgotten by itself.
    pub fn end(&self, probe: &str) {
        let request = self.agent.delete(format!("{}/v1/probes/{probe}", self.url));
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

    /// Puts evidence beside the log, once the receipt that names it stands there. What is not taken is said, and
    /// nothing else: the receipt is what counts.
    pub fn keep(&self, evidence: &[Vec<u8>], leaf: &str) {
        for piece in evidence {
            let mut put = self.put_evidence(piece, Some(leaf));
            // An opening of full size has more pieces than a broker takes at once.
            for _ in 0..EVIDENCE_TRIES {
                if put.is_ok() {
                    break;
                }
                std::thread::sleep(EVIDENCE_PAUSE);
                put = self.put_evidence(piece, Some(leaf));
            }
            if let Err(error) = put {
                tracing::warn!(error, "a piece of evidence was not taken");
            }
        }
    }

    /// Puts a piece of evidence beside the log, once its receipt, which has this leaf, stands there.
    ///
    /// # Errors
    /// Why not, as a sentence.
    pub fn put_evidence(&self, piece: &[u8], leaf: Option<&str>) -> Result<(), String> {
        let sha256 = hex(&sha256(&[piece]));
        self.count(piece.len());
        // Brokers of before know by the hash alone which receipt names it.
        let named_by = leaf.map_or_else(String::new, |leaf| format!("?receipt={leaf}"));
        let request = self
            .agent
            .put(format!("{}/v1/evidence/{sha256}{named_by}", self.url));
        let request = request.config().timeout_global(Some(ANSWER_WITHIN)).build();
        let request = request.header("Content-Type", "application/octet-stream");
        let mut answer = request.send(piece).map_err(|error| error.to_string())?;
        match answer.status().as_u16() {
            204 => Ok(()),
            _ => {
                let read =
                    read(&mut answer, ANSWER_BYTES_MAX).map_err(|error| error.to_string())?;
                Err(format!("its evidence is not taken: {}", refusal(&read).1))
            }
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

/// What a problem says.
fn refusal(body: &[u8]) -> (Option<ProblemType>, String) {
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => (Some(problem.name), problem.detail),
        Err(_) => (
            None,
            "it answers with something else than Nearlight's broker does".to_owned(),
        ),
    }
}
