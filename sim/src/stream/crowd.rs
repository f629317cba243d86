//! Several viewers behind one uplink, as the sessions of a node are: players with an encoder each, and
//! watchers of the first of them, who see its pictures.
//!
//! ```text
//! player  ─> pacer ─┐                     ┌─> a line of its own ─> browser
//!    └─ watchers ─> ├─> uplink (one Path) ┤
//! player  ─> pacer ─┤                     └─> browsers
//! Cubic flow ───────┘
//! ```
//!
//! Owns the loop; everybody's [`Outcome`] comes out, players first. Invariants: those of [`super`]. A
//! watcher makes no picture: what its share does not carry is dropped for it alone. Does not know: how
//! the node finds out who is there.

use super::browser::Browser;
use super::sender::{Picture, Sender};
use super::{Outcome, Scenario, TICK_US};
use crate::cubic::Cubic;
use crate::path::{Fate, Path};
use nearlight_stream::uplink::Uplink;

/// Between two divisions of the uplink.
const SHARE_US: u64 = 250_000;

/// Who is there, and what they share.
#[derive(Clone, Debug)]
pub struct Crowd {
    /// The uplink, a Cubic flow beside them on it, and everything that is the same for all: scene, rates, feedback,
    /// length.
    pub uplink: Scenario,
    /// What the node was told that the uplink carries, kbit/s.
    pub configured: Option<u32>,
    /// Players.
    pub players: usize,
    /// Watchers of the first player.
    pub watchers: usize,
    /// A line of the first player's own behind the uplink.
    pub line: Option<Scenario>,
    /// What the line of each watcher is like: its own, so that its jitter is.
    pub watcher_line: Option<Scenario>,
}

/// What a run measured.
#[derive(Debug)]
pub struct Crowded {
    /// Of each viewer, players first; the Cubic flow is in the first one's.
    pub viewers: Vec<Outcome>,
    /// What the uplink was said to carry, kbit/s, and since when, microseconds.
    pub told: Vec<(u64, Option<u32>)>,
}

struct Viewer {
    sender: Sender,
    /// Behind the uplink.
    line: Option<Path>,
    browser: Browser,
    outcome: Outcome,
}

impl Crowd {
    /// Runs it.
    pub fn run(&self, seed: u64) -> Crowded {
        let scenario = &self.uplink;
        let mut path = Path::new(scenario.steps[0].1, seed);
        let mut viewers: Vec<Viewer> = (0..self.players + self.watchers)
            .map(|number| self.viewer(number, seed + number as u64))
            .collect();
        let mut cubic: Option<Cubic> = None;
        let mut uplink = Uplink::new(self.configured);
        let mut told = vec![(0, uplink.kbps())];
        for now_us in (0..scenario.length_us).step_by(TICK_US as usize) {
            if now_us % SHARE_US == 0 {
                self.share(&mut uplink, &mut viewers, now_us);
                if told.last().is_none_or(|(_, kbps)| *kbps != uplink.kbps()) {
                    told.push((now_us, uplink.kbps()));
                }
            }
            self.encode(&mut viewers, now_us);
            // Whoever is asked first is another one each time: none has the uplink to itself.
            let first = (now_us / TICK_US) as usize % viewers.len();
            for turn in 0..viewers.len() {
                let number = (first + turn) % viewers.len();
                viewers[number].send(&mut path, now_us);
            }
            let is_beside = |(from, to): (u64, u64)| (from..to).contains(&now_us);
            if scenario.cubic_us.is_some_and(is_beside) {
                let cubic = cubic.get_or_insert_with(|| Cubic::new(now_us));
                let before = cubic.delivered_bytes();
                cubic.step(now_us, &mut path, scenario.back_us);
                let bytes = cubic.delivered_bytes() - before;
                viewers[0].outcome.cubic(now_us, bytes);
            }
        }
        let viewers = viewers.into_iter().map(|viewer| viewer.outcome).collect();
        Crowded { viewers, told }
    }

    fn viewer(&self, number: usize, seed: u64) -> Viewer {
        let line = match number {
            0 => self.line.as_ref(),
            _ if number >= self.players => self.watcher_line.as_ref(),
            _ => None,
        };
        Viewer {
            sender: Sender::new(&self.uplink, seed),
            line: line.map(|line| Path::new(line.steps[0].1, seed)),
            browser: Browser::new(self.uplink.feedback_us, Vec::new()),
            outcome: Outcome::default(),
        }
    }

    fn share(&self, uplink: &mut Uplink, viewers: &mut [Viewer], now_us: u64) {
        let demand = |(number, viewer): (usize, &mut Viewer)| {
            let is_watcher = number >= self.players;
            let most = self.uplink.kbps_max;
            viewer.sender.demand(is_watcher, most, now_us)
        };
        let demands: Vec<_> = viewers.iter_mut().enumerate().map(demand).collect();
        let mut shares = Vec::new();
        uplink.share(&demands, now_us, &mut shares);
        for (number, (viewer, share)) in viewers.iter_mut().zip(shares).enumerate() {
            viewer.sender.set_uplink(share, number >= self.players);
        }
    }

    /// Everybody's reports, then the pictures: the first player's is shown to the watchers, too.
    fn encode(&self, viewers: &mut [Viewer], now_us: u64) {
        let mut shown: Option<Picture> = None;
        let mut wished = false;
        for (number, viewer) in viewers.iter_mut().enumerate() {
            for report in viewer.browser.reports(now_us, self.uplink.back_us) {
                viewer.sender.on_report(&report, now_us);
            }
            if number < self.players {
                let made = viewer.sender.encode(now_us, &mut viewer.outcome);
                shown = if number == 0 { made } else { shown };
            } else {
                wished |= viewer.sender.watch(shown, now_us, &mut viewer.outcome);
            }
        }
        if wished && let Some(player) = viewers.first_mut() {
            player.sender.want_key_frame(now_us);
        }
    }
}

impl Viewer {
    fn send(&mut self, path: &mut Path, now_us: u64) {
        let (browser, outcome) = (&mut self.browser, &mut self.outcome);
        let mut line = self.line.as_mut();
        self.sender.release(now_us, |packet, encoded_us| {
            outcome.paced(now_us, encoded_us);
            let mut fate = path.offer(now_us, packet.wire_bytes);
            if let (Fate::Deliver { at_us, queued_us }, Some(line)) = (fate, line.as_deref_mut()) {
                fate = match line.offer(at_us, packet.wire_bytes) {
                    Fate::Deliver {
                        at_us,
                        queued_us: also,
                    } => Fate::Deliver {
                        at_us,
                        queued_us: queued_us + also,
                    },
                    lost @ Fate::Lost(_) => lost,
                };
            }
            if let Fate::Deliver { at_us, queued_us } = fate {
                outcome.waited(now_us, queued_us);
                browser.arrives(packet, at_us);
            }
        });
        self.browser.watch(now_us, &mut self.outcome);
    }
}
