//! What players get of a node: this checker plays there as one of them, in a session that its pass steers.
//!
//! **Invariants.** The program that plays is given the pass, and neither key nor certificate. What is signed is about the node
//! that was assigned, by the session's own receipt, or is not signed. It begins at some moment of the time that it has, so
//! that a node cannot count on the beginning of a round.
//!
//! **What it does not know:** whether a slot is free: the broker says so, and then nobody is at fault.

use super::{Runner, lock, missed};
use crate::play::{Game, played, signed};
use nearlight_proof::porw::pass::Pass;
use nearlight_protocol::checker::{Duty, Outcome};
use rand::Rng;
use std::time::Duration;

/// For how long it plays: presses enough for the rule, and a slot for no longer than that takes.
const PLAYS_S: u32 = 15;
/// What starting, attaching and the session's receipt take beside, as a rule.
const AROUND_MS: u64 = 20_000;
/// The part of the time that it has in which it begins.
const BEGINS_IN: u64 = 4;

impl Runner {
    pub(super) fn stream(&self, duties: &[Duty], _class: &str) {
        for duty in duties {
            let outcome = self.play(duty).unwrap_or_else(|why| missed(&why));
            // Whoever stops it says so.
            if !self.stop.is_cancelled() {
                self.report(duty, outcome);
            }
        }
    }

    fn play(&self, duty: &Duty) -> Result<Outcome, String> {
        let of = &duty.assignment;
        let (value, node) = self.checked(duty)?;
        let bind = self.plays_at.ok_or("this checker plays no streams")?;
        let app = duty
            .app
            .clone()
            .ok_or("the broker does not say what to play")?;
        let now_ms = nearlight_kit::clock::unix_ms();
        if let Some(why) = lock(&self.traffic).is_over(now_ms / 1000) {
            return Err(why);
        }
        let left_ms = of.until_unix_ms.saturating_sub(now_ms);
        let takes_ms = u64::from(PLAYS_S) * 1000 + AROUND_MS;
        if left_ms < takes_ms {
            return Err("there was no time left to play".to_owned());
        }
        let within_ms = (left_ms - takes_ms).min(left_ms / BEGINS_IN);
        self.pause(Duration::from_millis(
            rand::rng().random_range(0..=within_ms),
        ));
        let pass = Pass::sign(&self.key, (of.round, &value), node.id());
        let game = Game {
            url: self.url.clone(),
            token: None,
            pass: Some(pass.to_string()),
            app,
            seconds: PLAYS_S,
            input: None,
            bind,
        };
        let stops = || self.is_late(duty);
        let played = {
            let _plays = lock(&self.playing);
            played(&game, &stops)
        };
        let played = played.map_err(|error| error.to_string())?;
        self.broker
            .count(usize::try_from(played.bytes).unwrap_or(usize::MAX));
        let found = signed(&self.broker, &played, &self.key);
        let found = found.map_err(|error| error.to_string())?;
        if found.node_key != node.id() {
            return Err(
                "the session was served by another node than the one that is assigned".to_owned(),
            );
        }
        tracing::info!(node = %of.node, round = of.round, finding = ?found.porw.finding, "played");
        let leaf = self.placed(duty, &found.bytes)?;
        Ok(Outcome::Receipt { leaf })
    }
}
