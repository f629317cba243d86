//! What a node can do: the probe of `run --once`, for each of its GPUs that is assigned, at once.

use super::{Runner, backoff, lock, missed};
use crate::beacon::Beacon;
use crate::broker::Refused;
use crate::failure::Failure;
use crate::probe::together::{Place, Together};
use crate::probe::{Wanted, examine_as};
use nearlight_proof::key::KeyId;
use nearlight_proof::porc::schedule::CPU;
use nearlight_protocol::checker::{Duty, Outcome};
use nearlight_protocol::problem::ProblemType;
use nearlight_protocol::prove::{CreateProbe, NewProbe};
use rand::Rng;
use std::time::{Duration, Instant};

/// How long a node may be busy without a session before its refusal goes on record.
const BUSY_FOR: Duration = Duration::from_secs(60);

impl Runner {
    /// All GPUs of a node in the same moment: each is told its nonce when all have begun, so that no card of it answers for
    /// another.
    pub(super) fn capacity(&self, duties: &[Duty], class: &str) {
        let together = Together::of(duties.len());
        std::thread::scope(|scope| {
            for duty in duties {
                let place = together.place();
                scope.spawn(move || {
                    let class = duty.class.as_deref().unwrap_or(class);
                    let outcome = self.probe(duty, class, place);
                    let outcome = outcome.unwrap_or_else(|why| missed(&why));
                    self.report(duty, outcome);
                });
            }
        });
    }

    fn probe(&self, duty: &Duty, class: &str, together: Place<'_>) -> Result<Outcome, String> {
        self.checked(duty)?;
        let now_s = nearlight_kit::clock::unix_ms() / 1000;
        if let Some(why) = lock(&self.traffic).is_over(now_s) {
            return Err(why);
        }
        let wanted = self
            .wanted(duty, class)
            .map_err(|error| error.to_string())?;
        let probe = self.opened(duty, wanted.gpu)?;
        if probe.offer.receipt_key != duty.node_key {
            self.broker.end(&probe.id);
            return Err("the node shows another key than the one that is assigned".to_owned());
        }
        let found = examine_as(&self.broker, &probe, &self.key, (&wanted, together));
        self.broker.end(&probe.id);
        let found = found.map_err(|error| error.to_string())?;
        tracing::info!(node = %duty.assignment.node, round = duty.assignment.round, found = found.findings().join("; "), "probed");
        let leaf = self.placed(duty, &found.receipt.to_bytes())?;
        self.broker.keep(&found.evidence);
        Ok(Outcome::Receipt { leaf })
    }

    /// Hands a receipt in until the log has it, or the duty is late.
    pub(super) fn placed(&self, duty: &Duty, receipt: &[u8]) -> Result<String, String> {
        let mut failed = 0;
        loop {
            match self.broker.place(receipt) {
                Ok(leaf) => return Ok(leaf),
                Err(why) if self.is_late(duty) => {
                    return Err(format!("the receipt was not taken: {why}"));
                }
                Err(error) => {
                    tracing::warn!(error, "the receipt is not in the log yet");
                    failed += 1;
                    self.pause(backoff(failed, rand::rng().random()));
                }
            }
        }
    }

    /// A probe of the node, once the others of the committee are through with it.
    fn opened(&self, duty: &Duty, gpu: &str) -> Result<NewProbe, String> {
        let wanted = CreateProbe {
            node: duty.assignment.node.clone(),
            // Brokers of before know no GPUs.
            gpu: (gpu != CPU).then(|| gpu.to_owned()),
        };
        let patient_until = Instant::now() + BUSY_FOR;
        loop {
            match self.broker.begin(&wanted) {
                // The node is giving up the probe before. With sessions, that it refuses goes on record.
                Ok(probe)
                    if probe.offer.busy
                        && !probe.has_sessions
                        && Instant::now() < patient_until =>
                {
                    self.broker.end(&probe.id);
                    self.pause(backoff(0, rand::rng().random()));
                }
                Ok(probe) => return Ok(probe),
                Err(error) if self.is_late(duty) => {
                    return Err(format!("the probe could not begin in time: {error}"));
                }
                Err(Refused::Away(_) | Refused::Said(ProblemType::TooManyRequests, _)) => {
                    self.pause(backoff(0, rand::rng().random()));
                }
                Err(error) => return Err(format!("the probe could not begin: {error}")),
            }
        }
    }

    /// What the receipt of a duty has to say.
    pub(super) fn wanted<'a>(&'a self, duty: &'a Duty, class: &str) -> Result<Wanted<'a>, Failure> {
        let found = self.table.class(class);
        let found = found.ok_or_else(|| Failure::Class(class.to_owned()))?;
        let broken = || Failure::Broker("the assignment is garbled".to_owned());
        // What is asked of no GPU is asked of the host's CPU.
        let gpu = duty.assignment.duty.split_once('/');
        Ok(Wanted {
            gpu: gpu.map_or(CPU, |(_, gpu)| gpu),
            class: found,
            table: self.table.id,
            beacon: Beacon {
                round: duty.assignment.round,
                value: nearlight_proof::encoding::array_from_hex(&duty.value).ok_or_else(broken)?,
            },
            checkers: KeyId::from_hex(&duty.checkers).ok_or_else(broken)?,
        })
    }
}
