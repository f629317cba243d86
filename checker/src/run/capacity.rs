//! What a node can do: the probe of `run --once`, for each of its GPUs that is assigned, at once; and for several nodes, each
//! of which another checker may have, in one moment.

use super::meetings::drawn;
use super::{Runner, Work, backoff, lock, missed};
use crate::beacon::Beacon;
use crate::broker::Refused;
use crate::failure::Failure;
use crate::probe::few::Few;
use crate::probe::together::{Place, Together};
use crate::probe::{OPENINGS_MAX, Wanted, examine_as};
use nearlight_kit::clock::unix_ms;
use nearlight_proof::key::KeyId;
use nearlight_proof::porc::exchange::exam::TALK_US;
use nearlight_proof::porc::schedule::CPU;
use nearlight_proof::receipt::predicate::Finding;
use nearlight_protocol::checker::{Duty, Outcome};
use nearlight_protocol::problem::ProblemType;
use nearlight_protocol::prove::{CreateProbe, NewProbe};
use rand::Rng;
use std::time::Duration;

/// How long a node may be busy without a session before its refusal goes on record, milliseconds.
const BUSY_FOR_MS: u64 = 60_000;
/// Nodes that are probed in one moment. Others of it come after.
const AT_ONCE: usize = 64;

/// What a probe waits for between its beginning and its nonce.
struct Start<'a> {
    /// The other GPUs of its node.
    place: Place<'a>,
    /// Of those that are probed with it: who lets theirs drip keeps nobody of another moment waiting.
    openings: &'a Few,
    /// The moment, Unix milliseconds.
    moment_ms: Option<u64>,
}

impl Start<'_> {
    /// Until when a node may be busy without a session. For a moment that is to come it has to have begun in time, or is on record
    /// as one that refused: others do not wait for it.
    fn patient_until_ms(&self, now_ms: u64) -> u64 {
        let begins_ms = |moment_ms: u64| moment_ms.saturating_sub(TALK_US / 1000);
        let in_time_ms = self.moment_ms.map(begins_ms);
        in_time_ms
            .filter(|until_ms| *until_ms > now_ms)
            .unwrap_or_else(|| now_ms.saturating_add(BUSY_FOR_MS))
    }
}

impl Runner {
    /// All GPUs of a node in the same moment: each is told its nonce when all have begun, so that no card of it answers for
    /// another.
    pub(super) fn capacity(&self, duties: &[Duty], class: &str) {
        self.probe_all(&[(duties.to_vec(), class.to_owned())], None);
    }

    /// Nodes that may be one machine: each is told its nonce when all of its GPUs have begun, and not before the moment.
    pub(super) fn meet(&self, moment_ms: u64, met: Vec<Work>) {
        tracing::debug!(moment_ms, nodes = met.len(), "nodes meet");
        for at_once in drawn(met).chunks(AT_ONCE) {
            self.probe_all(at_once, Some(moment_ms));
        }
    }

    fn probe_all(&self, nodes: &[Work], moment_ms: Option<u64>) {
        let gates: Vec<Together> = nodes.iter().map(|of| Together::of(of.0.len())).collect();
        let openings = &Few::of(OPENINGS_MAX);
        std::thread::scope(|scope| {
            for ((duties, class), together) in nodes.iter().zip(&gates) {
                for duty in duties {
                    let place = together.place();
                    let start = Start {
                        place,
                        openings,
                        moment_ms,
                    };
                    scope.spawn(move || {
                        let class = duty.class.as_deref().unwrap_or(class);
                        let outcome = self.probe(duty, class, start);
                        let outcome = outcome.unwrap_or_else(|why| missed(&why));
                        self.report(duty, outcome);
                    });
                }
            }
        });
    }

    fn probe(&self, duty: &Duty, class: &str, start: Start<'_>) -> Result<Outcome, String> {
        self.checked(duty)?;
        if let Some(why) = lock(&self.traffic).is_over(unix_ms() / 1000) {
            return Err(why);
        }
        let wanted = self
            .wanted(duty, class)
            .map_err(|error| error.to_string())?;
        let probe = self.opened(duty, wanted.gpu, start.patient_until_ms(unix_ms()))?;
        if probe.offer.receipt_key != duty.node_key {
            self.broker.end(&probe);
            return Err("the node shows another key than the one that is assigned".to_owned());
        }
        let meet = || {
            start.place.wait();
            let moment_ms = start.moment_ms.unwrap_or(0);
            self.pause(Duration::from_millis(moment_ms.saturating_sub(unix_ms())));
        };
        let found = examine_as(
            &self.broker,
            &probe,
            &self.key,
            (&wanted, start.openings, meet),
        );
        self.broker.end(&probe);
        let found = found.map_err(|error| error.to_string())?;
        tracing::info!(node = %duty.assignment.node, round = duty.assignment.round, found = found.findings().join("; "), "probed");
        let (receipt, fails) = (
            found.receipt.to_bytes(),
            found.porc.finding == Finding::Fail,
        );
        // A word that has nothing to rest on is not given.
        let kept = self.evidence.keep(&receipt, &found.evidence, fails);
        kept.map_err(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            let cause = cause.unwrap_or_default();
            format!("what was found cannot be kept: {error}: {cause}")
        })?;
        drop(found);
        let leaf = self.placed(duty, &receipt)?;
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
    fn opened(&self, duty: &Duty, gpu: &str, patient_until_ms: u64) -> Result<NewProbe, String> {
        let wanted = CreateProbe {
            node: duty.assignment.node.clone(),
            // Brokers of before know no GPUs.
            gpu: (gpu != CPU).then(|| gpu.to_owned()),
        };
        loop {
            match self.broker.begin(&wanted) {
                // The node is giving up the probe before. With sessions, that it refuses goes on record.
                Ok(probe)
                    if probe.offer.busy && !probe.has_sessions && unix_ms() < patient_until_ms =>
                {
                    self.broker.end(&probe);
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

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_node_is_waited_for_until_it_would_begin_too_late_for_its_moment() {
        let (together, openings) = (Together::of(3), Few::of(1));
        let until = |moment_ms| {
            let place = together.place();
            let start = Start {
                place,
                openings: &openings,
                moment_ms,
            };
            start.patient_until_ms(1_000_000)
        };
        assert_eq!(until(Some(1_030_000)), 1_015_000);
        assert_eq!(until(Some(990_000)), 1_060_000, "it is over");
        assert_eq!(until(None), 1_060_000);
    }
}
