//! Proofs of what this node can do, for whoever its broker lets ask (docs/proof.md).
//!
//! ```text
//!   tunnel of a probe --begin--> seated --fill--> legs run, on threads of the lowest priority
//!        |                          |--matrix, frames, reads, open, sign--> answers, each signed
//!        `-- closes, or a session comes --> cancelled: threads stop within a unit of work, memory goes
//! ```
//!
//! - [`seat`]: one probe, step by step; [`legs`]: what it computes; [`key`]: the key that this node signs with.
//!
//! **Invariants.** One probe at a time, and none while a session is here: players and tenants come first, and a probe
//! beside them would measure them. A session that starts cancels it. Memory and work are bounded before anything
//! is begun.
//!
//! **What it does not know:** who may ask, what a receipt is worth.

mod evidence;
mod key;
mod legs;
mod seat;

use crate::config::{ConfigError, Host};
use crate::tunnel::{Asked, Entrance, Inside, Service};
use axum::body::{Body, Bytes};
use axum::http::{Method, Request, Response};
use axum::response::IntoResponse;
use evidence::Kept;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
pub(crate) use key::ReceiptKey;
use nearlight_kit::problem::ProblemResponse;
use nearlight_proof::porc::alive::{ALIVE, CHALLENGE_BYTES, Challenge, message};
use nearlight_proof::porc::exchange::begin::Bounds;
use nearlight_proof::porc::exchange::sitting::Sitting;
use nearlight_proof::porc::exchange::{ASK_BYTES_MAX, Step};
use nearlight_protocol::control::ReceiptKeyClaim;
use nearlight_protocol::id::{NodeId, SessionId};
use nearlight_protocol::problem::ProblemType;
use nearlight_protocol::prove::{OFFER, ProverOffer};
use nearlight_protocol::unit::U64;
use seat::Seat;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// For a step's body.
const BODY_WITHIN: Duration = Duration::from_secs(10);
/// Seconds after which a node that is busy may be asked again.
const BUSY_RETRY_S: u32 = 60;
/// What a thread does in its time at most: a thousand million multiplications or so a second, for ten minutes.
const WORK_PER_THREAD: u64 = 600_000_000_000;
const THREADS_MAX: u32 = 256;
const MEM_MIB_MIN: u32 = 64;
const MEM_MIB_MAX: u32 = 1_048_576;
/// The id of the one thing that this prover proves: the host's own CPU.
pub(crate) const CPU: &str = "cpu";

/// What the operator gives to proofs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Limits {
    /// Whether this node proves at all.
    pub(crate) take: bool,
    /// Threads; in the file 0 for one a core.
    pub(crate) threads: u32,
    /// Memory, MiB; in the file 0 for an eighth of the host's.
    pub(crate) mem_mib: u32,
}

impl Limits {
    /// With what the operator left to us.
    pub(crate) fn filled(self, host: &Host) -> Self {
        let or = |given: u32, derived: u32| if given == 0 { derived } else { given };
        Self {
            take: self.take,
            threads: or(self.threads, host.cores.clamp(1, THREADS_MAX)),
            mem_mib: or(
                self.mem_mib,
                (host.mem_mib / 8).clamp(MEM_MIB_MIN, MEM_MIB_MAX),
            ),
        }
    }

    /// Whether each is in its range.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let refused = |key, value: u32, range| {
            let value = value.into();
            Err(ConfigError::Range { key, value, range })
        };
        if !(1..=THREADS_MAX).contains(&self.threads) {
            return refused("prover.threads", self.threads, "0 to 256");
        }
        if !(MEM_MIB_MIN..=MEM_MIB_MAX).contains(&self.mem_mib) {
            return refused("prover.mem_mib", self.mem_mib, "0, or 64 to 1048576");
        }
        Ok(())
    }
}

/// The prover of this node.
#[derive(Debug)]
pub(crate) struct Prover {
    key: Arc<ReceiptKey>,
    limits: Limits,
    gpus: Vec<String>,
    /// What is kept for disputes; `None` for nothing.
    kept: Option<Kept>,
    stop: CancellationToken,
    /// Held for a look-up, never across an await.
    room: Mutex<Room>,
}

/// Whether there is room, and who has it.
#[derive(Debug, Default)]
struct Room {
    sessions: usize,
    seat: Option<Arc<Seat>>,
}

impl Prover {
    /// Proves until `stop`.
    pub(crate) fn new(key: ReceiptKey, limits: Limits, stop: CancellationToken) -> Self {
        Self {
            key: Arc::new(key),
            limits,
            gpus: vec![CPU.to_owned()],
            kept: None,
            stop,
            room: Mutex::default(),
        }
    }

    /// The same, which keeps its last probes in a data directory, for disputes.
    pub(crate) fn keeping_in(self, data: &Path) -> Self {
        Self {
            kept: Some(Kept::in_data(data)),
            ..self
        }
    }

    /// What this node tells its broker of its receipt key.
    pub(crate) fn claim(&self, node: &NodeId) -> ReceiptKeyClaim {
        self.key.claim(node)
    }

    /// The key that this node signs with.
    pub(crate) const fn receipt_key(&self) -> &Arc<ReceiptKey> {
        &self.key
    }

    /// So many sessions are here: with one, what is being proved is given up.
    pub(crate) fn sessions(&self, count: usize) {
        let mut room = self.room();
        room.sessions = count;
        if count > 0
            && let Some(seat) = room.seat.take()
        {
            seat.cancel.cancel();
        }
    }

    const fn bounds(&self) -> Bounds {
        Bounds {
            mem_mib: self.limits.mem_mib as u64,
            work: WORK_PER_THREAD * self.limits.threads as u64,
        }
    }

    fn offer(&self) -> ProverOffer {
        let bounds = self.bounds();
        ProverOffer {
            receipt_key: nearlight_proof::encoding::hex(self.key.public().as_bytes()),
            gpus: self.gpus.clone(),
            mem_mib: U64(bounds.mem_mib),
            work: U64(bounds.work),
            busy: self.refusal(&self.room()).is_some(),
        }
    }

    /// That this node is there: its signature over a question, whatever else it does at the moment.
    fn alive(&self, asked: &[u8]) -> Result<Vec<u8>, ProblemResponse> {
        let challenge = Challenge::from_bytes(asked, self.key.public().id());
        let challenge = challenge.ok_or_else(|| {
            ProblemResponse::new(
                ProblemType::BadRequest,
                "This is no question whether a node is there.",
            )
        })?;
        Ok(self.key.secret().sign(&message(&challenge)).to_vec())
    }

    /// Why there is no room for a probe.
    fn refusal(&self, room: &Room) -> Option<&'static str> {
        let is_taken = room
            .seat
            .as_ref()
            .is_some_and(|of| !of.cancel.is_cancelled());
        match () {
            () if !self.limits.take => Some("This node proves nothing: `prover.take` is false."),
            () if room.sessions > 0 => Some("A session runs on the node, and comes first."),
            () if is_taken => Some("The node proves something else at the moment."),
            () => None,
        }
    }

    fn begin(&self, probe: &SessionId, message: &[u8]) -> Result<Vec<u8>, ProblemResponse> {
        let mut room = self.room();
        if let Some(why) = self.refusal(&room) {
            let busy = ProblemResponse::new(ProblemType::TooManyRequests, why);
            return Err(busy.retry_after_s(BUSY_RETRY_S));
        }
        let node = self.key.public().id();
        let sitting = Sitting::begin(message, (&node, &self.gpus), &self.bounds());
        let mut sitting = sitting.map_err(|error| refused(&error))?;
        let answer = sitting.accept(self.key.secret()).ok_or_else(out_of_order)?;
        tracing::info!(%probe, class = %sitting.asked().class, "a probe begins");
        let threads = self.limits.threads;
        let stop = self.stop.child_token();
        let seat = Seat::new(probe.clone(), sitting, (threads, self.kept.clone()), stop);
        room.seat = Some(Arc::new(seat));
        Ok(answer)
    }

    fn seat_of(&self, probe: &SessionId) -> Option<Arc<Seat>> {
        let room = self.room();
        room.seat
            .as_ref()
            .filter(|seat| seat.probe == *probe)
            .cloned()
    }

    fn leave(&self, probe: &SessionId) {
        if let Some(seat) = self.seat_of(probe) {
            seat.cancel.cancel();
        }
    }

    fn room(&self) -> std::sync::MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A message, whole.
async fn body_of(request: Request<Incoming>, bytes_max: usize) -> Result<Bytes, ProblemResponse> {
    let body = Limited::new(request.into_body(), bytes_max).collect();
    let body = tokio::time::timeout(BODY_WITHIN, body).await;
    let whole = body.ok().and_then(Result::ok).ok_or_else(|| {
        ProblemResponse::new(ProblemType::BadRequest, "The step's message broke off.")
    })?;
    Ok(whole.to_bytes())
}

impl Entrance for Arc<Prover> {
    fn enter(&self, probe: &SessionId) -> Arc<dyn Inside> {
        Arc::new(Probed {
            probe: probe.clone(),
            prover: self.clone(),
        })
    }
}

/// What a probe's tunnel leads to. With the last tunnel the probe is over.
#[derive(Debug)]
struct Probed {
    probe: SessionId,
    prover: Arc<Prover>,
}

impl Drop for Probed {
    fn drop(&mut self) {
        self.prover.leave(&self.probe);
    }
}

impl Inside for Probed {
    fn answer(
        self: Arc<Self>,
        asked: Asked,
    ) -> BoxFuture<'static, Result<Response<Body>, ProblemResponse>> {
        async move {
            let Service::Prove = asked.service else {
                let detail = "This is a probe's tunnel, and leads to no container.";
                return Err(ProblemResponse::new(ProblemType::BadRequest, detail));
            };
            let name = asked
                .request
                .uri()
                .path()
                .trim_start_matches('/')
                .to_owned();
            if asked.request.method() == Method::GET && name == OFFER {
                return Ok(axum::Json(self.prover.offer()).into_response());
            }
            if asked.request.method() == Method::POST && name == ALIVE {
                let body = body_of(asked.request, CHALLENGE_BYTES).await?;
                return self.prover.alive(&body).map(IntoResponse::into_response);
            }
            let step = Step::of_name(&name).ok_or_else(|| {
                ProblemResponse::new(ProblemType::NotFound, "There is no such step of a probe.")
            })?;
            let message = body_of(asked.request, ASK_BYTES_MAX).await?;
            if step == Step::Begin {
                return Ok(self.prover.begin(&self.probe, &message)?.into_response());
            }
            let seat = self.prover.seat_of(&self.probe).ok_or_else(given_up)?;
            let answer = seat.step(step, &message, &self.prover.key).await?;
            Ok(answer.into_response())
        }
        .boxed()
    }
}

fn refused(error: &dyn std::error::Error) -> ProblemResponse {
    ProblemResponse::new(
        ProblemType::BadRequest,
        format!("The node refuses: {error}."),
    )
}

fn out_of_order() -> ProblemResponse {
    refused(&nearlight_proof::porc::exchange::sitting::Refusal::Order)
}

/// A session came, the probe's tunnel broke, or the node stops.
fn given_up() -> ProblemResponse {
    let detail = "The probe was given up: a session came, or its connection broke. Begin another.";
    ProblemResponse::new(ProblemType::TooManyRequests, detail).retry_after_s(BUSY_RETRY_S)
}

#[cfg(test)]
mod test {
    use super::*;

    fn prover() -> Prover {
        let limits = Limits {
            take: true,
            threads: 1,
            mem_mib: 64,
        };
        let key = ReceiptKey::of_seed(&[1; 32]);
        Prover::new(key, limits, CancellationToken::new())
    }

    #[test]
    fn a_session_comes_first() {
        let prover = prover();
        assert!(!prover.offer().busy);
        prover.sessions(1);
        assert!(prover.offer().busy);
        prover.sessions(0);
        assert!(!prover.offer().busy);
    }

    #[test]
    fn what_is_no_beginning_takes_no_seat() {
        let prover = prover();
        let probe = nearlight_kit::ids::session();
        assert!(prover.begin(&probe, b"{}").is_err());
        assert!(prover.seat_of(&probe).is_none());
    }
}
