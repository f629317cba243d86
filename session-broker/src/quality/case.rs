//! One session on its way to a receipt: what either side has said, and what is to be done next. Pure: time
//! is handed in.
//!
//! ```text
//!  played --over--> awaiting --player's last, or 10 s--> asked --node's answer, or 30 s--> decided --> logged
//!     |                |                                                                     |
//!     `---- the node said nothing ----> nothing comes of it <---- no place within 10 min ----'
//! ```
//!
//! **Invariants.** Each side changes its own column alone. Once the node was asked, nothing changes any more.
//! Bounded: so many keys and samples, each of a bounded size.

use nearlight_proof::encoding::array_from_hex;
use nearlight_proof::key::{KeyId, PublicKey};
use nearlight_proof::receipt::quality::{PlayerSample, Quality, SAMPLES_MAX};
use nearlight_proof::receipt::session::{EdgeSide, Session};
use nearlight_protocol::id::NodeId;
use nearlight_protocol::quality::{Countersigned, Measured, PlayerSaid};
use nearlight_protocol::unit::MonoTime;

/// How long the player's last sample is waited for.
const PLAYER_WITHIN_MS: u64 = 10_000;
/// How often the node is asked, and for how long.
const ASK_EVERY_MS: u64 = 5000;
const NODE_WITHIN_MS: u64 = 30_000;
/// How long a place in the log is tried for.
const PLACED_WITHIN_MS: u64 = 600_000;
/// What we keep of a node's reason.
const REASON_CHARS_MAX: usize = 200;

/// Why a sample is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotTaken {
    /// It is no sample.
    #[error(
        "the sample is not in its one text, or says what no stream can be: see docs/receipts.md"
    )]
    Form,
    /// Its signature does not fit.
    #[error("the signature is not this key's over the sample")]
    Signature,
    /// The key did not come with an attach.
    #[error("the key did not come with a request for a ticket of this session")]
    UnknownKey,
    /// As many pages as are counted have played it.
    #[error("the session has as many samples as it can have")]
    Full,
    /// The receipt is on its way.
    #[error("the session's receipt is being made, and takes no more samples")]
    Late,
}

/// What the node said.
#[derive(Clone, Debug)]
pub(super) struct Edge {
    pub(super) key: PublicKey,
    pub(super) side: EdgeSide,
}

/// What the node was asked to sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) salt: [u8; 32],
    pub(super) issued_at_s: u64,
    pub(super) statement: String,
}

/// The node's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Signed([u8; 64]),
    Refused(String),
}

#[derive(Debug)]
enum Stage {
    Played,
    Awaiting {
        until: MonoTime,
    },
    Asked {
        asked: Asked,
        next: MonoTime,
        until: MonoTime,
    },
    Decided {
        asked: Asked,
        decision: Decision,
        until: MonoTime,
    },
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Nothing yet.
    Wait,
    /// Write the statement, and say it with [`Case::asks`].
    Write,
    /// Ask the node to sign this.
    Ask(String),
    /// Put it into the log.
    Log(Asked, Decision),
    /// Forget it, and why.
    Drop(&'static str),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) node: NodeId,
    edge: Option<Edge>,
    keys: Vec<String>,
    player: Vec<PlayerSample>,
    player_is_done: bool,
    stage: Stage,
}

impl Case {
    pub(super) const fn new(node: NodeId) -> Self {
        Self {
            node,
            edge: None,
            keys: Vec::new(),
            player: Vec::new(),
            player_is_done: false,
            stage: Stage::Played,
        }
    }

    /// A page that is about to attach signs with this key.
    pub(super) fn key_came(&mut self, key: &str) {
        let is_new = !self.keys.iter().any(|known| known == key);
        if is_new && self.keys.len() < SAMPLES_MAX && PublicKey::from_hex(key).is_some() {
            self.keys.push(key.to_owned());
            self.player_is_done = false;
        }
    }

    /// The player's side says something; the last of a key counts.
    pub(super) fn player_said(&mut self, said: PlayerSaid) -> Result<(), NotTaken> {
        if !matches!(self.stage, Stage::Played | Stage::Awaiting { .. }) {
            return Err(NotTaken::Late);
        }
        let sample = PlayerSample {
            quality: Quality::read(&said.sample).ok_or(NotTaken::Form)?,
            key: said.key,
            signature: said.signature,
        };
        if !sample.holds() {
            return Err(NotTaken::Signature);
        }
        // A broker that came later than the attach knows of none.
        let is_known = self.keys.is_empty() || self.keys.contains(&sample.key);
        if sample.is_signed() && !is_known {
            return Err(NotTaken::UnknownKey);
        }
        let known = self.player.iter().position(|of| of.key == sample.key);
        match known {
            Some(known) => self.player[known] = sample,
            None if self.player.len() < SAMPLES_MAX => self.player.push(sample),
            None => return Err(NotTaken::Full),
        }
        self.player_is_done = said.last;
        Ok(())
    }

    /// The node says something. `false` for what no node that measures says.
    pub(super) fn edge_said(&mut self, said: &Measured, now: MonoTime) -> bool {
        if !matches!(self.stage, Stage::Played | Stage::Awaiting { .. }) {
            return true;
        }
        let parts = PublicKey::from_hex(&said.key)
            .zip(KeyId::from_hex(&said.segments))
            .zip(Quality::read(&said.sample));
        let Some(((key, segments), quality)) = parts else {
            return false;
        };
        if said.started_at_s > said.stopped_at_s {
            return false;
        }
        let side = EdgeSide {
            node: key.id(),
            started_at_s: said.started_at_s.0,
            stopped_at_s: said.stopped_at_s.0,
            segments,
            quality,
        };
        self.edge = Some(Edge { key, side });
        if said.last {
            self.is_over(now);
        }
        true
    }

    /// The session is over.
    pub(super) fn is_over(&mut self, now: MonoTime) {
        if matches!(self.stage, Stage::Played) {
            self.stage = Stage::Awaiting {
                until: now.plus_millis(PLAYER_WITHIN_MS),
            };
        }
    }

    /// Both columns, and the node's key.
    pub(super) fn columns(&self) -> Option<(PublicKey, Session)> {
        let edge = self.edge.as_ref()?;
        let session = Session::new(edge.side.clone(), self.player.clone());
        Some((edge.key, session))
    }

    /// The statement is written.
    pub(super) fn asks(&mut self, asked: Asked, now: MonoTime) {
        if matches!(self.stage, Stage::Awaiting { .. }) {
            self.stage = Stage::Asked {
                asked,
                next: now,
                until: now.plus_millis(NODE_WITHIN_MS),
            };
        }
    }

    /// The node's answer.
    pub(super) fn answered(&mut self, answer: Countersigned, now: MonoTime) {
        let decision = match answer {
            Countersigned::Signed { signature } => match array_from_hex::<64>(&signature) {
                Some(signature) => Decision::Signed(signature),
                None => Decision::Refused("the node's answer is no signature".to_owned()),
            },
            Countersigned::Refused { reason } => {
                Decision::Refused(reason.chars().take(REASON_CHARS_MAX).collect())
            }
        };
        self.decide(decision, now);
    }

    /// What is decided, if the node was asked: once.
    pub(super) fn decide(&mut self, decision: Decision, now: MonoTime) {
        if let Stage::Asked { asked, .. } = &self.stage {
            self.stage = Stage::Decided {
                asked: asked.clone(),
                decision,
                until: now.plus_millis(PLACED_WITHIN_MS),
            };
        }
    }

    /// The node's signature is of no use after all.
    pub(super) fn refuse(&mut self, why: &str) {
        if let Stage::Decided { decision, .. } = &mut self.stage {
            *decision = Decision::Refused(why.to_owned());
        }
    }

    /// What is to be done now.
    pub(super) fn due(&mut self, now: MonoTime) -> Act {
        match &mut self.stage {
            Stage::Played => Act::Wait,
            Stage::Awaiting { until } => match (self.player_is_done || now >= *until, &self.edge) {
                (true, Some(_)) => Act::Write,
                (_, None) if now >= *until => Act::Drop("nobody played it, as the node has it"),
                _ => Act::Wait,
            },
            Stage::Asked { next, until, asked } => {
                if now >= *until {
                    self.decide(Decision::Refused("the node did not answer".to_owned()), now);
                    return self.due(now);
                }
                if now < *next {
                    return Act::Wait;
                }
                *next = now.plus_millis(ASK_EVERY_MS);
                Act::Ask(asked.statement.clone())
            }
            Stage::Decided {
                asked,
                decision,
                until,
            } => match now < *until {
                true => Act::Log(asked.clone(), decision.clone()),
                false => Act::Drop("the log has not taken it for ten minutes"),
            },
        }
    }
}

#[cfg(test)]
#[path = "case/test.rs"]
mod test;
