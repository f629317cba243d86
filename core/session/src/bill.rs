//! What a session costs: rates, intervals of usage, amounts, and when a budget is spent.
//!
//! **The rule.** Usage is counted in whole seconds from the acked start of a claim; a second that was
//! begun and not completed is not charged. Each second costs what the card says that holds at its
//! first instant. A claim's price a second is the sum over what it holds, as an exact fraction: rates
//! are whole micro-units per slot, core, GiB and GPU, while claims hold thousandths of a core and MiB.
//! A volume is counted the same way for as long as its node holds its size; its rate is per GiB and hour,
//! for a second of a GiB costs less than a micro-unit. An amount is rounded down once, at the end.
//!
//! **By performance.** A card may say that claims cost by what their node was measured to do ([`ByScore`]): a second then
//! costs the sum times min(score, cap) / 1000, the score being that of the node when the claim began. Volumes do not.
//!
//! **Invariants.**
//! - No floating point.
//! - The charges of ranges that follow each other without a gap add up to the charge of the whole, to
//!   the second and the micro-unit.
//! - A card that holds from some instant on changes no second that began before it.
//! - A score that changes changes no claim that has begun.
//!
//! **What it does not know:** how scores come to be, where cards are written, where intervals are kept, currencies.

mod budget;

pub use budget::{Held, Line, Month, spent, spent_at};

use nearlight_protocol::unit::UnixMillis;
use std::collections::BTreeMap;

/// The parts of a micro-unit in which prices are exact: thousandths of a core, MiB of a GiB, seconds of
/// an hour, and of the first two thousandths of a score: 2^14 * 3^2 * 5^6, the least that all of them divide.
const PARTS: u128 = 16_384 * 9 * 15_625;
const PERMILLE: u128 = 1000;
/// The highest rate, micro-units a second: a million units.
pub const RATE_MAX: u64 = 1_000_000_000_000;

/// What a claim holds of its node, as far as it is paid for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Metered {
    /// CPU, thousandths of a core.
    pub cpu_milli: u32,
    /// Memory, MiB.
    pub mem_mib: u32,
    /// The models of its GPUs as NVML has them, one a GPU.
    pub gpus: Vec<String>,
    /// What its node was measured to do when it began, thousandths of its class; `None` if nothing was.
    pub score_permille: Option<u32>,
}

/// The size of a volume, as far as it is paid for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Kept {
    /// MiB that a node holds for it.
    pub mib: u32,
}

/// What has a price.
pub trait Priced {
    /// What it costs a second, in equal parts of a micro-unit.
    fn parts(&self, rates: &Rates) -> u128;
}

impl Priced for Metered {
    fn parts(&self, rates: &Rates) -> u128 {
        let gpus = self.gpus.iter().map(|model| rates.gpu_rate(model));
        let whole = gpus.fold(u128::from(rates.slot), |sum, rate| sum + u128::from(rate));
        let cpu = u128::from(rates.cpu_core) * u128::from(self.cpu_milli) * (PARTS / 1000);
        let mem = u128::from(rates.mem_gib) * u128::from(self.mem_mib) * (PARTS / 1024);
        let all = whole * PARTS + cpu + mem;
        match rates.by_score {
            // Each summand is a multiple of what it is divided by.
            Some(by) => (all / PERMILLE).saturating_mul(by.permille(self.score_permille).into()),
            None => all,
        }
    }
}

impl Priced for Kept {
    fn parts(&self, rates: &Rates) -> u128 {
        u128::from(rates.volume_gib_hour) * u128::from(self.mib) * (PARTS / 1024 / 3600)
    }
}

/// What things cost, micro-units a second; each at most [`RATE_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// A slot.
    pub slot: u64,
    /// A core.
    pub cpu_core: u64,
    /// A GiB of memory.
    pub mem_gib: u64,
    /// A GPU whose model's name has this in it; of several, the longest counts.
    pub gpu: BTreeMap<String, u64>,
    /// A GPU of any other model.
    pub gpu_other: u64,
    /// A GiB of a volume; an hour of it, and not a second.
    pub volume_gib_hour: u64,
    /// Whether claims cost by what their nodes were measured to do.
    pub by_score: Option<ByScore>,
}

/// How a price follows a score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByScore {
    /// A score above this is paid as this, thousandths.
    pub cap_permille: u32,
    /// What a node costs whose last verdict is no pass, or that has none, thousandths.
    pub unproven_permille: u32,
}

impl ByScore {
    /// The factor of a claim whose node had this score, thousandths.
    #[must_use]
    pub fn permille(self, score_permille: Option<u32>) -> u32 {
        score_permille.map_or(self.unproven_permille, |of| of.min(self.cap_permille))
    }

    /// The highest that there is.
    #[must_use]
    pub fn most_permille(self) -> u32 {
        self.cap_permille.max(self.unproven_permille)
    }
}

impl Rates {
    /// What claims cost at most, whatever their node's score: rates without one, rounded up.
    #[must_use]
    pub fn dearest(&self) -> Self {
        let most = self.by_score.map_or(1000, ByScore::most_permille);
        let dear = |rate: u64| whole((u128::from(rate) * u128::from(most)).div_ceil(PERMILLE));
        Self {
            slot: dear(self.slot),
            cpu_core: dear(self.cpu_core),
            mem_gib: dear(self.mem_gib),
            gpu: self
                .gpu
                .iter()
                .map(|(name, rate)| (name.clone(), dear(*rate)))
                .collect(),
            gpu_other: dear(self.gpu_other),
            volume_gib_hour: self.volume_gib_hour,
            by_score: None,
        }
    }

    fn gpu_rate(&self, model: &str) -> u64 {
        let named = self.gpu.iter().filter(|(part, _)| model.contains(*part));
        let named = named.max_by_key(|(part, _)| part.len());
        named.map_or(self.gpu_other, |(_, rate)| *rate)
    }

    /// What `metered` costs an hour, micro-units, rounded down as amounts are.
    pub fn per_hour(&self, metered: &Metered) -> u64 {
        whole(metered.parts(self).saturating_mul(3600) / PARTS)
    }

    /// What `metered` costs a second, micro-units, rounded up: what a price cap is compared with.
    pub fn per_second(&self, metered: &Metered) -> u64 {
        whole(metered.parts(self).div_ceil(PARTS))
    }
}

/// Rates, and since when they hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateCard {
    /// For every second that begins at this instant or later, until the next card.
    pub from_ms: UnixMillis,
    /// The rates.
    pub rates: Rates,
}

/// Every card that ever held or will. Before the first one everything is free.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RateBook {
    cards: Vec<RateCard>,
}

/// When a claim ran. One that still runs ends now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// The acked start.
    pub began_ms: UnixMillis,
    /// The acked stop.
    pub ended_ms: UnixMillis,
}

impl Interval {
    /// Seconds that were completed.
    pub const fn seconds(self) -> u64 {
        self.ended_ms.saturating_sub(self.began_ms) / 1000
    }

    /// Of these, those that began before an instant.
    fn seconds_before(self, at_ms: UnixMillis) -> u64 {
        let begun = at_ms.saturating_sub(self.began_ms).div_ceil(1000);
        begun.min(self.seconds())
    }
}

/// A stretch of time: its first instant, and the one after its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first.
    pub from_ms: UnixMillis,
    /// The one after the last.
    pub to_ms: UnixMillis,
}

impl Range {
    /// All of time.
    pub const ALL: Self = Self {
        from_ms: 0,
        to_ms: u64::MAX,
    };
}

/// What an interval, or a part of it, comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Charge {
    /// Seconds.
    pub seconds: u64,
    /// Micro-units.
    pub micro: u64,
}

impl std::ops::Add for Charge {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            seconds: self.seconds.saturating_add(other.seconds),
            micro: self.micro.saturating_add(other.micro),
        }
    }
}

impl RateBook {
    /// Cards in the order in which they were written. Of two that hold from the same instant on, the
    /// later one counts.
    pub fn new(cards: impl IntoIterator<Item = RateCard>) -> Self {
        let mut cards: Vec<RateCard> = cards.into_iter().collect();
        // Stable: the order in which they were written stays.
        cards.sort_by_key(|card| card.from_ms);
        Self { cards }
    }

    /// The cards, oldest first.
    pub fn cards(&self) -> &[RateCard] {
        &self.cards
    }

    /// What holds at an instant; `None` before the first card.
    pub fn at(&self, at_ms: UnixMillis) -> Option<&Rates> {
        let held = self.cards.iter().take_while(|card| card.from_ms <= at_ms);
        held.last().map(|card| &card.rates)
    }

    /// What `held` comes to for the seconds of `interval` that begin within `range`.
    pub fn charge(&self, held: &impl Priced, interval: Interval, range: Range) -> Charge {
        let to = interval.seconds_before(range.to_ms);
        let from = interval.seconds_before(range.from_ms).min(to);
        let until = |seconds| self.parts(held, interval, seconds) / PARTS;
        Charge {
            seconds: to - from,
            micro: whole(until(to) - until(from)),
        }
    }

    /// The first `seconds` of an interval, in [`PARTS`] of a micro-unit.
    fn parts(&self, held: &impl Priced, interval: Interval, seconds: u64) -> u128 {
        let mut cards = self.cards.iter().peekable();
        let mut sum = 0;
        while let Some(card) = cards.next() {
            let until = cards.peek().map_or(seconds, |next| {
                interval.seconds_before(next.from_ms).min(seconds)
            });
            let from = interval.seconds_before(card.from_ms).min(until);
            let parts = held.parts(&card.rates);
            sum = u128::saturating_add(sum, parts.saturating_mul((until - from).into()));
        }
        sum
    }
}

fn whole(micro: u128) -> u64 {
    u64::try_from(micro).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod test;
