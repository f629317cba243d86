//! Whether a node is there: a question that it signs. Nothing is written of an answer but that it came; that none came
//! is a receipt, at most one an hour of a node, so that the log does not fill with a node that is away.
//!
//! **Invariants.** A receipt says that a node is silent only if the broker that holds it, or that finds it with nobody, says so
//! twice. A broker that is away, busy or broken is no silence of the node's: the assignment is missed, and another checker asks.

use super::{Runner, lock, missed};
use crate::broker::Refused;
use crate::failure::Failure;
use crate::probe::unreachable;
use nearlight_kit::clock::unix_ms;
use nearlight_proof::encoding::{array_from_hex, hex};
use nearlight_proof::key::{KeyId, PublicKey};
use nearlight_proof::porc::alive::{Challenge, message};
use nearlight_protocol::checker::{AskAlive, Duty, Outcome};
use nearlight_protocol::problem::ProblemType;
use std::time::{Duration, Instant};

/// Between two receipts of one node that does not answer.
const RECEIPT_EVERY: Duration = Duration::from_secs(3600);
/// Until a node that does not answer is asked once more.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

impl Runner {
    pub(super) fn alive(&self, duties: &[Duty], class: &str) {
        for duty in duties {
            let outcome = self.ask(duty, class).unwrap_or_else(|why| missed(&why));
            self.report(duty, outcome);
        }
    }

    fn ask(&self, duty: &Duty, class: &str) -> Result<Outcome, String> {
        if let Some(why) = lock(&self.traffic).is_over(unix_ms() / 1000) {
            return Err(why);
        }
        let of = &duty.assignment;
        let (beacon, key) = self.checked(duty)?;
        let nonce: [u8; 32] = rand::random();
        let challenge = Challenge {
            round: of.round,
            beacon,
            node: key.id(),
            checker: self.key.public().id(),
            nonce,
        };
        let asked = AskAlive {
            round: of.round,
            value: duty.value.clone(),
            checker: challenge.checker.to_string(),
            nonce: hex(&nonce),
        };
        let mut answer = self.broker.alive(&of.node, &asked);
        if matches!(answer, Err(Refused::Said(ProblemType::NodeUnreachable, _)))
            && !self.is_late(duty)
        {
            // A broker that stops, or a node that changes brokers, is there again in a moment.
            self.pause(AGAIN_AFTER);
            answer = self.broker.alive(&of.node, &asked);
        }
        let why = match answer {
            Ok(answer) => {
                let signature: Option<[u8; 64]> = array_from_hex(&answer.signature);
                if signature.is_some_and(|of| key.verifies(&message(&challenge), &of)) {
                    return Ok(Outcome::Alive {
                        nonce: asked.nonce,
                        signature: answer.signature,
                    });
                }
                "its answer is not signed with its key".to_owned()
            }
            Err(Refused::Said(ProblemType::NodeUnreachable, why)) => why,
            // Nothing of the node.
            Err(Refused::Away(why) | Refused::Said(_, why)) => {
                return Err(format!("the broker: {why}"));
            }
        };
        let why = format!("the node does not answer whether it is there: {why}");
        if !self.may_write(&of.node_key_id) {
            return Err(why);
        }
        let written = self.write(duty, class, &key, &why);
        written.map_err(|error| format!("{why}; and there is no receipt of it: {error}"))
    }

    /// A receipt that says that nothing can be said.
    fn write(
        &self,
        duty: &Duty,
        class: &str,
        key: &PublicKey,
        why: &str,
    ) -> Result<Outcome, Failure> {
        let asked = self.wanted(duty, class)?;
        let receipt = unreachable(
            (&self.key, *key),
            &asked,
            duty.assignment.node.as_str(),
            why,
        )?;
        let leaf = self
            .broker
            .place(&receipt.to_bytes())
            .map_err(Failure::Broker)?;
        lock(&self.unreachable).insert(duty.assignment.node_key_id.clone(), Instant::now());
        Ok(Outcome::Receipt { leaf })
    }

    fn may_write(&self, node_key: &str) -> bool {
        let mut written = lock(&self.unreachable);
        written.retain(|_, at| at.elapsed() < RECEIPT_EVERY);
        !written.contains_key(node_key)
    }

    /// The round's value and the node's key, if they are what they should be.
    pub(super) fn checked(&self, duty: &Duty) -> Result<([u8; 32], PublicKey), String> {
        let of = &duty.assignment;
        let value: Option<[u8; 32]> = array_from_hex(&duty.value);
        let value = value.ok_or("the broker gives the round no value")?;
        let mut rounds = lock(&self.rounds);
        rounds.check(of.round, &value, duty.signature.as_deref())?;
        drop(rounds);
        let key = PublicKey::from_hex(&duty.node_key);
        let key = key.filter(|key| KeyId::from_hex(&of.node_key_id) == Some(key.id()));
        Ok((
            value,
            key.ok_or("the node's key is not the one that is assigned")?,
        ))
    }
}
