//! Packets between socket and socket: offered to the model, held until the model lets them arrive.
//! Pure: times come in as microseconds since the relay's start.

use super::limits::{FLIGHT_BYTES_MAX, SPARE_MAX};
use super::tally::Tally;
use nearlight_sim::path::{Change, Conditions, Fate, Path, Profile};
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// Node to client.
    Down,
    /// Client to node.
    Up,
}

/// A packet on its way.
#[derive(Debug)]
pub(super) struct Flying {
    at_us: u64,
    /// In the order of their offers: what arrives at one time leaves in that order.
    number: u64,
    pub(super) direction: Direction,
    pub(super) client: u64,
    pub(super) payload: Vec<u8>,
}

/// One direction's model and what it did.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) path: Path,
    pub(super) tally: Tally,
}

impl Lane {
    fn new(conditions: Conditions, seed: u64) -> Self {
        Self {
            path: Path::new(conditions, seed),
            tally: Tally::new(),
        }
    }
}

/// Both directions and everything that is under way.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) down: Lane,
    pub(super) up: Lane,
    waiting: BinaryHeap<Reverse<Flying>>,
    waiting_bytes: usize,
    spare: Vec<Vec<u8>>,
    offered: u64,
}

impl Flight {
    pub(super) fn new(profile: &Profile) -> Self {
        Self {
            down: Lane::new(profile.down, profile.seed),
            // Another stream than the way down has, from the same seed.
            up: Lane::new(profile.up, !profile.seed),
            waiting: BinaryHeap::new(),
            waiting_bytes: 0,
            spare: Vec::new(),
            offered: 0,
        }
    }

    /// A packet came; `headers_bytes` is what the wire adds to it.
    pub(super) fn offer(
        &mut self,
        direction: Direction,
        client: u64,
        payload: &[u8],
        headers_bytes: u32,
        now_us: u64,
    ) {
        let lane = match direction {
            Direction::Down => &mut self.down,
            Direction::Up => &mut self.up,
        };
        if self.waiting_bytes + payload.len() > FLIGHT_BYTES_MAX {
            lane.tally.overflowed += 1;
            return;
        }
        let bytes = u32::try_from(payload.len()).unwrap_or(u32::MAX - headers_bytes);
        let Fate::Deliver { at_us, queued_us } = lane.path.offer(now_us, bytes + headers_bytes)
        else {
            return;
        };
        lane.tally.queued(queued_us);
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.extend_from_slice(payload);
        self.waiting_bytes += buffer.len();
        self.offered += 1;
        self.waiting.push(Reverse(Flying {
            at_us,
            number: self.offered,
            direction,
            client,
            payload: buffer,
        }));
    }

    /// The next packet that arrives by `now_us`.
    pub(super) fn take_due(&mut self, now_us: u64) -> Option<Flying> {
        if self.next_us()? > now_us {
            return None;
        }
        let Reverse(flying) = self.waiting.pop()?;
        self.waiting_bytes -= flying.payload.len();
        let lane = match flying.direction {
            Direction::Down => &mut self.down,
            Direction::Up => &mut self.up,
        };
        lane.tally.left(now_us - flying.at_us);
        Some(flying)
    }

    /// Takes back a delivered packet's buffer.
    pub(super) fn recycle(&mut self, mut buffer: Vec<u8>) {
        if self.spare.len() < SPARE_MAX {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    pub(super) fn change(&mut self, down: &Change, up: &Change) {
        let changed = down.applied(self.down.path.conditions());
        self.down.path.set(changed);
        let changed = up.applied(self.up.path.conditions());
        self.up.path.set(changed);
    }

    /// When the next packet arrives.
    pub(super) fn next_us(&self) -> Option<u64> {
        self.waiting.peek().map(|Reverse(flying)| flying.at_us)
    }
}

impl Ord for Flying {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at_us, self.number).cmp(&(other.at_us, other.number))
    }
}

impl PartialOrd for Flying {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Flying {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Flying {}
