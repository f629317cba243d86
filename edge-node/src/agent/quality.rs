//! What this node measured of sessions that were played: told to the broker each minute and at the end, and
//! signed when the broker asks.
//!
//! ```text
//!  attached --> measured --each minute--> told --session over--> ended --Countersign--> signed
//!                                                                  `-- ten minutes --> forgotten
//! ```
//!
//! **Invariants.** Nothing is signed but what was measured here, under the node's own key. A session that nobody
//! played is in no table. Bounded: as many live ones as there are slots, and [`ENDED_MAX`] that ended.
//!
//! **What it does not know:** what the player's side says, and whether it is right.

use super::Agent;
use crate::prover::ReceiptKey;
use nearlight_proof::encoding::hex;
use nearlight_proof::key::KeyId;
use nearlight_proof::receipt::envelope::{Envelope, IN_TOTO, pae};
use nearlight_proof::receipt::predicate::Predicate;
use nearlight_proof::receipt::quality::Quality;
use nearlight_proof::receipt::session::{EdgeSide, SUBJECT, segments};
use nearlight_proof::receipt::statement::{Countersign, Statement};
use nearlight_protocol::control::FromEdge;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::quality::{Countersigned, Measured};
use nearlight_protocol::unit::U64;
use nearlight_transport::Played;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// How often a session that is played is told.
pub(super) const TOLD_EVERY: Duration = Duration::from_secs(60);
/// How long one that ended can be signed.
const KEPT: Duration = Duration::from_secs(600);
/// Sessions that ended and can still be signed.
const ENDED_MAX: usize = 256;
/// Texts of one session: those of two days, then none is added.
const TEXTS_MAX: usize = 2880;

/// What was measured.
#[derive(Debug, Default)]
pub(super) struct Samples(BTreeMap<SessionId, Sample>);

#[derive(Debug)]
struct Sample {
    started_at_s: u64,
    /// What was told by each minute.
    texts: Vec<String>,
    /// What is signed, once it is over, and since when that is.
    ended: Option<(EdgeSide, Instant)>,
}

impl Samples {
    /// Somebody plays.
    fn attached(&mut self, session: &SessionId, now_s: u64) {
        self.0.entry(session.clone()).or_insert_with(|| Sample {
            started_at_s: now_s,
            texts: Vec::new(),
            ended: None,
        });
    }

    /// What there is to tell of a session; nothing of one that nobody played.
    fn measured(
        &mut self,
        session: &SessionId,
        (played, key): (&Played, &ReceiptKey),
        (last, now_s, now): (bool, u64, Instant),
    ) -> Option<Measured> {
        let sample = self.0.get_mut(session)?;
        if sample.ended.is_some() {
            return None;
        }
        if played.seconds == 0 || played.frames == 0 {
            if last {
                self.0.remove(session);
            }
            return None;
        }
        let quality = quality_of(played);
        let text = quality.text();
        if sample.texts.len() < TEXTS_MAX {
            sample.texts.push(text.clone());
        }
        let side = EdgeSide {
            node: key.public().id(),
            started_at_s: sample.started_at_s,
            stopped_at_s: now_s.max(sample.started_at_s),
            segments: segments(&sample.texts),
            quality,
        };
        let told = told(session, key, (&side, text), last);
        if last {
            sample.ended = Some((side, now));
            self.bound(now);
        }
        Some(told)
    }

    /// Signs a statement, if it says what was measured.
    fn countersign(
        &self,
        session: &SessionId,
        statement: String,
        key: &ReceiptKey,
    ) -> Countersigned {
        let ended = self.0.get(session).and_then(|of| of.ended.as_ref());
        let signed = match ended {
            None => Err("the node knows of no such session that ended"),
            Some((side, _)) => checked(statement, side),
        };
        match signed {
            Ok(payload) => Countersigned::Signed {
                signature: hex(&key.secret().sign(&pae(IN_TOTO, &payload))),
            },
            Err(reason) => Countersigned::Refused {
                reason: reason.to_owned(),
            },
        }
    }

    /// Those that ended, for a broker that may not have heard of it.
    fn ended(&self, key: &ReceiptKey) -> Vec<Measured> {
        let of = |(session, sample): (&SessionId, &Sample)| {
            let (side, _) = sample.ended.as_ref()?;
            Some(told(session, key, (side, side.quality.text()), true))
        };
        self.0.iter().filter_map(of).collect()
    }

    fn bound(&mut self, now: Instant) {
        self.0.retain(|_, sample| {
            let ended = sample.ended.as_ref();
            ended.is_none_or(|(_, at)| now.saturating_duration_since(*at) < KEPT)
        });
        let mut ended: Vec<(Instant, SessionId)> = self
            .0
            .iter()
            .filter_map(|(session, sample)| Some((sample.ended.as_ref()?.1, session.clone())))
            .collect();
        ended.sort();
        let too_many = ended.len().saturating_sub(ENDED_MAX);
        for (_, session) in ended.into_iter().take(too_many) {
            self.0.remove(&session);
        }
    }
}

/// The bytes to sign.
fn checked(statement: String, own: &EdgeSide) -> Result<Vec<u8>, &'static str> {
    let envelope = Envelope::new(IN_TOTO, statement.into_bytes());
    let read = Statement::parse(&envelope)
        .map_err(|_| "the node does not understand the statement; update it")?;
    let Predicate::Session(session) = &read.predicate else {
        return Err("the statement is of no session");
    };
    let id: &KeyId = &own.node;
    let is_ours = read.subject.name == SUBJECT
        && session.edge_side() == *own
        && read.head.countersign == Countersign::Node(*id);
    match is_ours {
        true => Ok(envelope.payload),
        false => Err("the statement says something else than the node measured"),
    }
}

fn told(
    session: &SessionId,
    key: &ReceiptKey,
    (side, sample): (&EdgeSide, String),
    last: bool,
) -> Measured {
    Measured {
        session: session.clone(),
        key: hex(key.public().as_bytes()),
        started_at_s: U64(side.started_at_s),
        stopped_at_s: U64(side.stopped_at_s),
        segments: side.segments.to_string(),
        sample,
        last,
    }
}

fn quality_of(played: &Played) -> Quality {
    Quality {
        seconds: played.seconds,
        frames: played.frames,
        fps_milli: match played.fps_milli {
            // Nothing of a second yet.
            0 => Quality::rate_milli(played.frames, played.seconds),
            exact => exact,
        },
        pace_us: played.pace_us,
        freezes: played.freezes,
        size: played.size,
        encode_us: played.encode_us,
        // What a player sees of an input, no node knows.
        input_us: [0, 0],
        rtt_us: played.rtt_us,
        encoder: played.encoder.clone(),
    }
}

impl Agent {
    /// Somebody plays a session from now on.
    pub(super) fn sample_attached(&mut self, session: &SessionId) {
        let now_s = nearlight_kit::clock::unix_ms() / 1000;
        self.samples.attached(session, now_s);
    }

    /// Tells what was measured of every session that is played.
    pub(super) fn tell_samples(&mut self) {
        let sessions: Vec<SessionId> = self.sessions.keys().cloned().collect();
        for session in sessions {
            self.tell_sample(&session, false);
        }
    }

    /// Tells what was measured of a session.
    pub(super) fn tell_sample(&mut self, session: &SessionId, last: bool) {
        let played = self.counters.of(session).transport.played;
        let key = self.host.prover.receipt_key().clone();
        let when = (last, nearlight_kit::clock::unix_ms() / 1000, Instant::now());
        if let Some(measured) = self.samples.measured(session, (&played, &key), when) {
            self.say(FromEdge::Measured(measured));
        }
    }

    /// On a fresh stream: what ended and may not have been heard.
    pub(super) fn tell_ended_samples(&mut self) {
        let key = self.host.prover.receipt_key().clone();
        for measured in self.samples.ended(&key) {
            self.say(FromEdge::Measured(measured));
        }
    }

    /// The broker wants a session's statement signed.
    pub(super) fn countersign(&mut self, session: SessionId, statement: String) {
        let key = self.host.prover.receipt_key();
        let answer = self.samples.countersign(&session, statement, key);
        if let Countersigned::Refused { reason } = &answer {
            tracing::warn!(session_id = %session, reason, "a session's receipt is not signed");
        }
        self.say(FromEdge::Countersigned { session, answer });
    }
}

#[cfg(test)]
#[path = "quality/test.rs"]
mod test;
