//! How well a node suits a session, in points: 100 to the millisecond of round trip, fewest is best.
//! The crate's documentation has the table.

use crate::node::{NodeState, NodeView};
use crate::request::SessionRequest;
use std::collections::BTreeMap;

/// Points for a millisecond.
const RTT: u32 = 100;
/// A round trip longer than this counts as this, milliseconds.
const RTT_MS_MAX: u32 = 100_000;
/// Points for an image that has to be fetched: the longest wait by far.
pub(crate) const IMAGE: u32 = 4_000;
/// Points for a desktop that has to be started: half a second, once.
pub(crate) const DESKTOP: u32 = 300;
/// Points for a GPU that the session does not need.
pub(crate) const GPU: u32 = 2_000;
/// Points for no rank at all, and the rank that takes all of them away, thousandths.
const RECEIPTS: u32 = 500;
const RANK_MAX: u32 = 1_000;
/// Points where the node's operator has all of the tenant's sessions.
const SPREAD: u32 = 500;

/// Why a node was ranked where it was, in points. For the log and for whoever asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Why {
    /// The estimated round trip, milliseconds; `None` while nobody knows it.
    pub rtt_ms: Option<u32>,
    /// For the round trip, or for what an unknown one counts as.
    pub rtt: u32,
    /// For an image that has to be fetched first.
    pub image: u32,
    /// For a desktop that has to be started, where a ready one would do.
    pub desktop: u32,
    /// For a GPU that the session does not need and another one may.
    pub gpu: u32,
    /// For slots or CPU that are taken once the session is placed, whichever is more. The emptiest
    /// node comes first, for sessions on one node share caches and memory bandwidth.
    pub load: u32,
    /// For the uplink that is set aside once the session is placed.
    pub uplink: u32,
    /// For what is missing of a full rank by receipts.
    pub receipts: u32,
    /// For the price.
    pub price: u32,
    /// For the tenant's sessions that the node's operator has already.
    pub spread: u32,
}

impl Why {
    /// The score; fewest is best.
    pub const fn points(&self) -> u32 {
        self.without_load() + self.load + self.uplink
    }

    /// The score but for what changes with every session that comes and goes.
    pub(crate) const fn without_load(&self) -> u32 {
        self.rtt + self.image + self.desktop + self.gpu + self.receipts + self.price + self.spread
    }
}

/// Points for a round trip.
pub(crate) fn rtt_points(ms: u32) -> u32 {
    RTT * ms.min(RTT_MS_MAX)
}

/// Points for an operator that has `held` of a tenant's sessions.
fn spread_points(held: u32, all: &BTreeMap<String, u32>) -> u32 {
    let all: u64 = all.values().map(|held| u64::from(*held)).sum();
    let points = u64::from(SPREAD) * u64::from(held) / all.max(1);
    u32::try_from(points).unwrap_or(SPREAD)
}

/// Points for each operator that has sessions of the request's tenant.
pub(crate) fn spread(request: &SessionRequest) -> impl Iterator<Item = (&str, u32)> {
    let points = |held| spread_points(held, &request.held);
    let held = request.held.iter();
    held.map(move |(operator, held)| (operator.as_str(), points(*held)))
}

/// What is scored of a node, whatever it is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    slots_total: u32,
    slots_free: u32,
    cpu_total: u32,
    cpu_free: u32,
    cpu_encode: u32,
    /// The greatest number where it is not known.
    uplink_total: u32,
    uplink_free: u32,
    receipts: u32,
    /// The share of the card's prices, thousandths.
    price_permille: u32,
}

/// An uplink that nobody knows: it rules nothing out and weighs nothing.
pub(crate) const UNKNOWN: u32 = u32::MAX;

impl Standing {
    pub(crate) fn of(node: &NodeView) -> Self {
        let mut standing = Self {
            slots_total: node.slots_total,
            slots_free: 0,
            cpu_total: node.cpu_milli_total,
            cpu_free: 0,
            cpu_encode: node.encode_cpu_milli,
            uplink_total: node.uplink_kbps_total.unwrap_or(UNKNOWN),
            uplink_free: UNKNOWN,
            receipts: 0,
            price_permille: node.price_permille,
        };
        standing.set(&node.state);
        standing
    }

    /// Takes what has changed.
    pub(crate) fn set(&mut self, state: &NodeState) {
        let missing = state.rank.map_or(0, |rank| RANK_MAX - rank.min(RANK_MAX));
        self.slots_free = state.slots_free;
        self.cpu_free = state.cpu_milli_free;
        self.uplink_free = state.uplink_kbps_free.unwrap_or(UNKNOWN);
        self.receipts = RECEIPTS * missing / RANK_MAX;
    }

    /// The parts that the node alone decides; the others are zero.
    pub(crate) fn why(&self, cpu_milli: u32, kbps: u32) -> Why {
        Why {
            rtt_ms: None,
            rtt: 0,
            image: 0,
            desktop: 0,
            gpu: 0,
            load: self.load_milli(cpu_milli),
            uplink: self.uplink_milli(kbps) / 2,
            receipts: self.receipts,
            price: 0,
            spread: 0,
        }
    }

    /// No session scores less here, whatever it needs.
    pub(crate) fn floor(&self) -> u32 {
        self.why(0, 0).points()
    }

    /// CPU in all, whoever takes it.
    pub(crate) const fn cpu_total(&self) -> u32 {
        self.cpu_total
    }

    /// CPU that no claim holds.
    pub(crate) const fn cpu_free(&self) -> u32 {
        self.cpu_free
    }

    fn load_milli(&self, cpu_milli: u32) -> u32 {
        let taken = self.slots_total.saturating_sub(self.slots_free);
        let cpu_free = self.cpu_free.saturating_sub(cpu_milli);
        let cpu_free = cpu_free.saturating_sub(self.cpu_encode);
        let cpu_taken = self.cpu_total.saturating_sub(cpu_free);
        let slots = per_mille(taken.saturating_add(1), self.slots_total);
        slots.max(per_mille(cpu_taken, self.cpu_total))
    }

    fn uplink_milli(&self, kbps: u32) -> u32 {
        if self.uplink_total == UNKNOWN || self.uplink_free == UNKNOWN {
            return 0;
        }
        let left = self.uplink_free.saturating_sub(kbps);
        per_mille(self.uplink_total.saturating_sub(left), self.uplink_total)
    }

    /// CPU for apps in all, thousandths of a core.
    pub(crate) fn cpu_room_total(&self) -> u32 {
        self.cpu_total.saturating_sub(self.cpu_encode)
    }

    /// CPU for apps that is free, thousandths of a core.
    pub(crate) fn cpu_room_free(&self) -> u32 {
        self.cpu_free.saturating_sub(self.cpu_encode)
    }

    /// kbit/s; the greatest number where it is not known.
    pub(crate) fn uplink_total(&self) -> u32 {
        self.uplink_total
    }

    /// kbit/s; the greatest number where it is not known.
    pub(crate) fn uplink_free(&self) -> u32 {
        self.uplink_free
    }

    /// The share of the card's prices, thousandths.
    pub(crate) fn price_permille(&self) -> u32 {
        self.price_permille
    }

    /// CPU that a session takes here beside its app's, thousandths of a core.
    pub(crate) fn cpu_encode(&self) -> u32 {
        self.cpu_encode
    }
}

/// Thousandths; a node that lacks what it claims to have counts as full.
fn per_mille(part: u32, whole: u32) -> u32 {
    let milli = u64::from(part) * 1000 / u64::from(whole.max(1));
    u32::try_from(milli).unwrap_or(u32::MAX).min(1000)
}
