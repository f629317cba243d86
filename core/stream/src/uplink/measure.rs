//! What an uplink is measured to carry, from what is sent over it and who sees a queue.
//!
//! Packets that wait in one queue wait equally long, so when several sessions see the same queue again and again, it
//! is that of the uplink, and what they send together is what the uplink carries. Queues on lines of their own differ.
//! (A queue that several controllers share comes and goes every other second, for they back off together.)
//!
//! ```text
//!  unknown ──one queue is seen often: as much as is sent──> found ──seen again: less──┐
//!     ^                                                      │ ^                      │
//!     └── nobody uses it, or nobody is left to share it ─────┘ └──────────────────────┘
//! ```
//!
//! What was found grows as long as it is used: slowly, and faster once nobody has seen a queue for a while.
//!
//! **Others may fill it.** The house behind an uplink has downloads and calls of its own, and a queue that they keep
//! stays however little is sent here. So what players found is not lowered a third time while the queue is no shorter
//! for it, and never under what was lately sent without a queue. Then it is no limit for long, and every session's own
//! congestion control holds its ground against the others.
//!
//! **Others may make it up.** Feedback is each viewer's word, so two of three could tell of a shrinking queue for as long
//! as they like. Whoever sees none keeps what it is sent, up to its part of the most that was ever found: a third of it
//! in that case, and not the next to nothing that they could wear it down to.
//!
//! **Who measures.** Several players that see one queue agree on an uplink: it limits all, and the node may be told. A
//! player that is alone and a watcher that sees the same queue agree on one, too, but at the watchers' expense: they make
//! room for all that the player could use, and once that was in vain for some more than it takes, for its line is its
//! own. If all watchers hide their queues, the uplink stays unknown, and everybody's congestion control is left to share
//! it.
//!
//! Does not know: shares, and what an uplink is configured to carry.

use super::Demand;
use std::collections::VecDeque;

/// Upwards probing, share per second; and while nobody has seen a queue for so many looks and it limits players.
const PROBE: f64 = 0.02;
const PROBE_QUIET: f64 = 0.10;
const QUIET_LOOKS: u32 = 8;
/// A measured uplink of which less than this share is wanted for so long is forgotten.
const IDLE_SHARE: f64 = 0.7;
const FORGET_AFTER_US: u64 = 30_000_000;
/// One of which watchers would use more, had they pictures that are whole, is forgotten after so long all the same: the
/// line may have become wider. If it has not, the queue says so within some seconds.
const RETRY_AFTER_US: u64 = 120_000_000;
/// Players that must see the same queue for it to be the uplink's: as many, this share of those that
/// are sent something, at so many of the last looks.
const FULL_MIN: usize = 2;
const FULL_SHARE: f64 = 0.6;
pub(super) const FULL_LOOKS: usize = 8;
pub(super) const LOOKS: usize = 20;
/// The least share of what was found that remains when it is found again.
const CUT_LEAST: f64 = 0.8;
/// Found again this often in a row with no shorter queue, it is not lowered any more where players found it; where a
/// lone one and a watcher did, its queue is its own line's.
const VAIN_MAX: u32 = 2;
const VAIN_MAX_ONE: u32 = 4;
/// A queue of this share of the one before is no shorter.
const SHORTER_SHARE: f64 = 0.75;
/// What was sent with no queue at so many looks was carried, which counts for less by this share per second.
const CLEAR_LOOKS: u32 = 4;
const CLEAR_FADES: f64 = 0.02;
/// So many times more than it is sent is left to a lone player whose queue is no shorter though watchers made room.
const ROOM: f64 = 1.25;
/// Over how long what is sent is averaged, seconds.
const SENT_SECONDS: f64 = 2.5;
/// A queue that says something, and how far two views of one may be apart: by so much, or by this
/// share of the longer.
pub(super) const QUEUE_US_MIN: u32 = 8_000;
const QUEUE_APART_US: u32 = 5_000;
const QUEUE_APART_SHARE: u32 = 4;

/// Who sees a queue that may be the uplink's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Witness {
    /// The only player and a watcher.
    OnePlayer,
    /// Several, who see the same one.
    Players,
}

/// What is known of an uplink. See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Measuring {
    found: Option<Found>,
    looked_us: u64,
    sights: Sights,
    /// What all are sent, on average over some seconds, kbit/s; `None` before the first look.
    sent: Option<f64>,
    /// The most of it lately while nobody saw a queue.
    clear: f64,
    /// The most that players ever found it to carry.
    best: f64,
    /// Since when what was found has been no limit.
    idle_since_us: Option<u64>,
}

/// What it was found to carry.
#[derive(Clone, Copy, Debug)]
struct Found {
    kbps: f64,
    by: Witness,
    /// The queue that was seen before it was lowered in vain, or now.
    queue_us: f64,
    /// How often in a row it was found again with a queue no shorter.
    vain: u32,
}

/// The last looks.
#[derive(Clone, Debug, Default)]
struct Sights {
    /// Whose they are: looks of one kind say nothing of another.
    by: Option<Witness>,
    /// The queue at each look, microseconds, 0 for none; the newest last.
    queues: VecDeque<u32>,
    /// How many looks ago the last queue was seen.
    quiet: u32,
}

impl Sights {
    /// Notes a look. One at which nobody saw a queue is among those of either kind.
    fn add(&mut self, sight: Option<(Witness, u32)>) {
        self.quiet = self.quiet.saturating_add(1);
        if let Some((by, _)) = sight {
            self.quiet = 0;
            if self.by != Some(by) {
                self.by = Some(by);
                self.queues.clear();
            }
        }
        if self.queues.len() == LOOKS {
            self.queues.pop_front();
        }
        self.queues.push_back(sight.map_or(0, |(_, queue)| queue));
    }

    fn count(&self) -> usize {
        self.queues.iter().filter(|queue| **queue > 0).count()
    }

    /// The queue at those looks at which there was one, on average.
    fn queue_us(&self) -> f64 {
        let all: f64 = self.queues.iter().map(|queue| f64::from(*queue)).sum();
        all / self.count().max(1) as f64
    }
}

impl Measuring {
    /// What it carries by the word of those, kbit/s.
    pub(super) fn kbps(&self, by: Witness) -> Option<u32> {
        let found = self.found.filter(|found| found.by == by);
        found.map(|found| found.kbps as u32)
    }

    /// What a player that sees no queue itself keeps of what it is sent, whatever others say, kbit/s: its part of the
    /// most that was ever found. One that shared their bottleneck would see their queue.
    pub(super) fn kept(&self, player: &Demand, players: usize) -> u32 {
        let part = self.best * super::USABLE / players.max(1) as f64;
        match player.queue_us < QUEUE_US_MIN {
            true => player.kbps_sent.min(part as u32),
            false => 0,
        }
    }

    /// What watchers are to leave to a lone player, kbit/s: all that it wants, or, once that was in vain, some more than
    /// it is sent.
    pub(super) fn left_to_player(&self, kbps_wanted: u32, kbps_sent: u32) -> u32 {
        let in_vain = self.found.is_some_and(|found| found.vain >= VAIN_MAX_ONE);
        let takes = f64::from(kbps_sent) * ROOM;
        if in_vain {
            kbps_wanted.min(takes as u32)
        } else {
            kbps_wanted
        }
    }

    /// Looks at all who are sent something.
    pub(super) fn look(&mut self, demands: &[Demand], now_us: u64) {
        let elapsed = now_us.saturating_sub(self.looked_us) as f64 / 1e6;
        self.looked_us = now_us;
        let unseen = self.sights.count() == 0;
        self.sights.add(sight(demands));
        let now: f64 = demands.iter().map(|d| f64::from(d.kbps_sent)).sum();
        let before = self.sent.unwrap_or(now);
        let mut sent = before - (now - before) * (-elapsed / SENT_SECONDS).exp_m1();
        if unseen && self.sights.count() > 0 {
            // The first to see a queue: the time before, when less was sent, says nothing of what fits.
            sent = sent.max(now);
        }
        self.sent = Some(sent);
        let seconds = elapsed.min(1.0);
        self.clear *= 1.0 - CLEAR_FADES * seconds;
        let is_clear = demands.iter().all(|d| d.queue_us < QUEUE_US_MIN);
        if is_clear && self.sights.quiet >= CLEAR_LOOKS {
            self.clear = self.clear.max(sent.min(now));
        }
        match self.sights.by {
            Some(by) if self.sights.count() >= FULL_LOOKS => self.find(by, sent),
            _ => self.review(demands, sent, seconds, now_us),
        }
    }

    /// A queue was seen often enough: as much as is sent is what fits.
    fn find(&mut self, by: Witness, sent: f64) {
        let queue_us = self.sights.queue_us();
        let mut found = Found {
            kbps: sent,
            by,
            queue_us,
            vain: 0,
        };
        if let Some(before) = self.found {
            let shorter = queue_us < before.queue_us * SHORTER_SHARE;
            if before.by == by && !shorter {
                found.vain = before.vain.saturating_add(1);
                found.queue_us = before.queue_us;
            }
            // They may be backing off already, so what they send is likely too little.
            let least = (before.kbps * CUT_LEAST).max(self.clear);
            if by == Witness::OnePlayer || found.vain < VAIN_MAX {
                found.kbps = sent.max(least).min(before.kbps);
            } else {
                found.kbps = before.kbps;
            }
        }
        if by == Witness::Players {
            self.best = self.best.max(found.kbps);
        }
        self.found = Some(found);
        self.idle_since_us = None;
        // What they see next is of the shares that follow.
        self.sights.queues.clear();
    }

    /// Nothing new was found: what was is probed, or forgotten.
    fn review(&mut self, demands: &[Demand], sent: f64, seconds: f64, now_us: u64) {
        let Some(found) = &mut self.found else {
            return;
        };
        let quiet = self.sights.quiet >= QUIET_LOOKS;
        if quiet {
            // It was theirs, and is gone.
            found.vain = 0;
            found.kbps = found.kbps.max(self.clear);
        }
        let idle = found.kbps * IDLE_SHARE;
        if demands.len() < FULL_MIN {
            // Nobody is left to share it with.
            (self.found, self.idle_since_us) = (None, None);
        } else if sent > idle {
            found.kbps *= match found.by {
                Witness::Players if quiet => 1.0 + PROBE_QUIET * seconds,
                Witness::Players | Witness::OnePlayer => 1.0 + PROBE * seconds,
            };
            self.idle_since_us = None;
        } else {
            // What is not used is not known to be there, so it does not grow either.
            let after_us = match used(demands) > idle {
                true => RETRY_AFTER_US,
                false => FORGET_AFTER_US,
            };
            let since_us = *self.idle_since_us.get_or_insert(now_us);
            if now_us.saturating_sub(since_us) > after_us {
                (self.found, self.idle_since_us) = (None, None);
            }
        }
    }
}

/// What all would use now, kbit/s: a watcher is sent what a player is, were there room, and lacks most of it while its
/// picture is broken.
fn used(demands: &[Demand]) -> f64 {
    let players = demands.iter().filter(|d| !d.is_watcher);
    let picture = players.map(|d| d.kbps_sent).max().unwrap_or(0);
    let used = |d: &Demand| match d.is_watcher {
        true => d.kbps_sent.max(picture.min(d.kbps_wanted)),
        false => d.kbps_sent,
    };
    demands.iter().map(|d| f64::from(used(d))).sum()
}

/// The queue that a lone player sees and a watcher, too, or enough of several players.
fn sight(demands: &[Demand]) -> Option<(Witness, u32)> {
    let sent = demands.iter().filter(|d| d.kbps_sent > 0);
    let players = sent.clone().filter(|d| !d.is_watcher);
    let queues = || {
        let queues = players.clone().map(|d| d.queue_us);
        queues.filter(|queue| *queue >= QUEUE_US_MIN)
    };
    let (count, all) = (queues().count(), players.clone().count());
    let (longest, shortest) = (queues().max()?, queues().min()?);
    if all == 1 {
        // No queue agrees with a short one: a watcher's jitter is no word.
        let mut watchers = sent.filter(|d| d.is_watcher && d.queue_us >= QUEUE_US_MIN);
        let agrees = watchers.any(|d| is_one(longest.max(d.queue_us), longest.min(d.queue_us)));
        return agrees.then_some((Witness::OnePlayer, longest));
    }
    let enough = count >= FULL_MIN && (count as f64) >= all as f64 * FULL_SHARE;
    (enough && is_one(longest, shortest)).then_some((Witness::Players, shortest))
}

/// Whether two queues may be two views of one.
fn is_one(longest: u32, shortest: u32) -> bool {
    longest - shortest <= QUEUE_APART_US.max(longest / QUEUE_APART_SHARE)
}
