//! Proofs of what this node can do, for whoever its broker lets ask (docs/proof.md).
//!
//! ```text
//!   tunnel of a probe --begin--> seated --fill--> legs run, on threads of the lowest priority
//!        |                          |--matrix, frames, reads, open, sign--> answers, each signed
//!        `-- closes, or a session comes --> cancelled: threads stop within a unit of work, memory goes
//! ```
//!
//! - [`devices`]: what this node proves, its GPUs or its CPU; [`seat`]: one probe, step by step; [`key`]: the key that
//!   this node signs with.
//! - [`legs`]: what is computed, on this host's CPU; [`program`]: the same on a GPU, by a program of its own.
//!
//! **Invariants.** One probe of a device at a time, of all devices at once, and none of one that a session has: players
//! and tenants come first, and a probe beside them would measure them. A session that takes a device cancels its probe.
//! Beside sessions on other GPUs a probe has one thread of the lowest priority, and no more (docs/adr/0043). Memory and
//! work are bounded before anything is begun.
//!
//! **What it does not know:** who may ask, what a receipt is worth.

pub(crate) mod devices;
mod evidence;
mod key;
mod legs;
mod program;
mod seat;

use crate::config::{ConfigError, Host};
use crate::tunnel::{Asked, Entrance, Inside, Service};
use axum::body::{Body, Bytes};
use axum::http::{Method, Request, Response};
use axum::response::IntoResponse;
use devices::{Device, Uses};
use evidence::Kept;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
pub(crate) use key::ReceiptKey;
use nearlight_kit::problem::ProblemResponse;
use nearlight_proof::porc::alive::{ALIVE, CHALLENGE_BYTES, Challenge, message};
use nearlight_proof::porc::exchange::begin::{Begin, BeginError};
use nearlight_proof::porc::exchange::sitting::Sitting;
use nearlight_proof::porc::exchange::{ASK_BYTES_MAX, Step};
pub(crate) use nearlight_proof::porc::schedule::CPU;
use nearlight_protocol::control::Proves;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::problem::ProblemType;
use nearlight_protocol::prove::{OFFER, ProverOffer};
use nearlight_protocol::unit::U64;
use seat::Seat;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
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
/// The longest name of an adapter, bytes.
const ADAPTER_BYTES_MAX: usize = 64;

/// What the operator gives to proofs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Limits {
    /// Whether this node proves at all.
    pub(crate) take: bool,
    /// Threads; in the file 0 for one a core.
    pub(crate) threads: u32,
    /// Memory, MiB; in the file 0 for an eighth of the host's.
    pub(crate) mem_mib: u32,
    /// Which adapters of Vulkan and GL are proved, by a part of their names; empty for the host's GPUs.
    pub(crate) adapter: String,
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
            adapter: self.adapter,
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
        if self.adapter.len() > ADAPTER_BYTES_MAX {
            let bytes = u32::try_from(self.adapter.len()).unwrap_or(u32::MAX);
            return refused("prover.adapter", bytes, "a name of at most 64 bytes");
        }
        Ok(())
    }
}

/// The prover of this node.
#[derive(Debug)]
pub(crate) struct Prover {
    key: Arc<ReceiptKey>,
    /// Why it proves nothing, if it does not.
    is_able: Result<(), String>,
    devices: Vec<Device>,
    /// Their ids.
    gpus: Vec<String>,
    /// What is kept for disputes; `None` for nothing.
    kept: Option<Kept>,
    stop: CancellationToken,
    /// Held for a look-up, never across an await.
    room: Mutex<Room>,
}

/// Who has what, and which probes are under way, by the device.
#[derive(Debug, Default)]
struct Room {
    uses: Uses,
    seats: BTreeMap<String, Arc<Seat>>,
}

impl Prover {
    /// Proves what was found until `stop`.
    pub(crate) fn new(
        key: Arc<ReceiptKey>,
        (devices, is_able): (Vec<Device>, Result<(), String>),
        stop: CancellationToken,
    ) -> Self {
        Self {
            key,
            is_able,
            gpus: devices.iter().map(|device| device.id.clone()).collect(),
            devices,
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

    /// What this node tells its broker that it proves.
    pub(crate) fn proves(&self) -> Vec<Proves> {
        match self.is_able {
            Ok(()) => self.devices.iter().map(Device::told).collect(),
            Err(_) => Vec::new(),
        }
    }

    /// The key that this node signs with.
    pub(crate) const fn receipt_key(&self) -> &Arc<ReceiptKey> {
        &self.key
    }

    /// Sessions have these: what is being proved of them is given up.
    pub(crate) fn used(&self, uses: Uses) {
        let mut room = self.room();
        for device in self.devices.iter().filter(|of| of.is_used(&uses)) {
            if let Some(seat) = room.seats.remove(&device.id) {
                seat.cancel.cancel();
            }
        }
        room.uses = uses;
    }

    /// What can be proved of a device, or of the first if none is named; `None` if there is none of this name.
    fn offer(&self, gpu: Option<&str>) -> Option<ProverOffer> {
        let named = |device: &&Device| gpu.is_none_or(|gpu| device.id == gpu);
        let device = self.devices.iter().find(named)?;
        Some(ProverOffer {
            receipt_key: nearlight_proof::encoding::hex(self.key.public().as_bytes()),
            gpus: self.gpus.clone(),
            mem_mib: U64(device.bounds.mem_mib),
            work: U64(device.bounds.work),
            card_mib: device.card_mib,
            busy: self.refusal(device, &self.room()).is_some(),
        })
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

    /// Why there is no room for a probe of a device.
    fn refusal(&self, device: &Device, room: &Room) -> Option<String> {
        let seat = room.seats.get(&device.id);
        let why = match &self.is_able {
            Err(why) => return Some(format!("This node proves nothing: {why}.")),
            Ok(()) if device.is_used(&room.uses) => "A session has it, and comes first.",
            Ok(()) if seat.is_some_and(|of| !of.cancel.is_cancelled()) => {
                "The node proves it to somebody else at the moment."
            }
            Ok(()) => return None,
        };
        Some(why.to_owned())
    }

    async fn begin(&self, probe: &SessionId, message: &[u8]) -> Result<Vec<u8>, ProblemResponse> {
        let (seat, answer) = self.seat(probe, message)?;
        let taken = seat.take().await;
        if taken.is_err() {
            seat.cancel.cancel();
        }
        taken.map(|()| answer)
    }

    /// A seat for a probe, and what its checker is told of it.
    fn seat(
        &self,
        probe: &SessionId,
        message: &[u8],
    ) -> Result<(Arc<Seat>, Vec<u8>), ProblemResponse> {
        let gpu = Begin::open(message).map_err(|error| refused(&error))?.0.gpu;
        let device = self.devices.iter().find(|device| device.id == gpu);
        let device = device.ok_or_else(|| refused(&BeginError::Elsewhere))?;
        let mut room = self.room();
        if let Some(why) = self.refusal(device, &room) {
            let busy = ProblemResponse::new(ProblemType::TooManyRequests, why);
            return Err(busy.retry_after_s(BUSY_RETRY_S));
        }
        let node = self.key.public().id();
        let sitting = Sitting::begin(message, (&node, &self.gpus), &device.bounds);
        let mut sitting = sitting.map_err(|error| refused(&error))?;
        let answer = sitting.accept(self.key.secret()).ok_or_else(out_of_order)?;
        tracing::info!(%probe, gpu, class = %sitting.asked().class, "a probe begins");
        let stop = self.stop.child_token();
        let by = (device.by.clone(), self.kept.clone());
        let seat = Arc::new(Seat::new(probe.clone(), sitting, by, stop));
        room.seats.insert(gpu, seat.clone());
        Ok((seat, answer))
    }

    fn seat_of(&self, probe: &SessionId) -> Option<Arc<Seat>> {
        let room = self.room();
        room.seats
            .values()
            .find(|seat| seat.probe == *probe)
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
                let gpu = asked.request.uri().query();
                let gpu = gpu.and_then(|query| query.strip_prefix("gpu="));
                let offer = self.prover.offer(gpu).ok_or_else(no_such_gpu)?;
                return Ok(axum::Json(offer).into_response());
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
                let answer = self.prover.begin(&self.probe, &message).await?;
                return Ok(answer.into_response());
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

fn no_such_gpu() -> ProblemResponse {
    let detail = "The node proves no GPU of that id; its offer names those that it does.";
    ProblemResponse::new(ProblemType::NotFound, detail)
}

/// Whoever computes cannot go on.
fn unable(why: &str) -> ProblemResponse {
    let detail = format!("The node cannot prove this GPU: {why}. Its log has more.");
    ProblemResponse::new(ProblemType::TooManyRequests, detail).retry_after_s(BUSY_RETRY_S)
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
            adapter: String::new(),
        };
        let (key, cpu) = (ReceiptKey::of_seed(&[1; 32]), Device::cpu(&limits));
        Prover::new(Arc::new(key), (vec![cpu], Ok(())), CancellationToken::new())
    }

    fn sessions(count: usize) -> Uses {
        Uses {
            sessions: count,
            ..Uses::default()
        }
    }

    #[test]
    fn a_session_comes_first() {
        let prover = prover();
        let is_busy = || prover.offer(None).unwrap().busy;
        assert!(!is_busy());
        prover.used(sessions(1));
        assert!(is_busy());
        prover.used(sessions(0));
        assert!(!is_busy());
    }

    #[test]
    fn what_is_proved_is_told_by_its_id() {
        let prover = prover();
        assert_eq!(prover.offer(None), prover.offer(Some(CPU)));
        assert_eq!(prover.offer(Some("GPU-1")), None);
        assert_eq!(prover.proves()[0].gpu, CPU);
    }

    #[tokio::test]
    async fn what_is_no_beginning_takes_no_seat() {
        let prover = prover();
        let probe = nearlight_kit::ids::session();
        assert!(prover.begin(&probe, b"{}").await.is_err());
        assert!(prover.seat_of(&probe).is_none());
    }
}
