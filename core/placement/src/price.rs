//! What a session costs at a node: what the rate card says of what it would hold there, by what the node was
//! measured to do. The same that is billed, but for seconds that are not completed.
//!
//! **What it does not know:** cards, currencies, scores; what a claim that runs comes to.

use std::collections::BTreeMap;
use std::sync::Arc;

/// The share of the card's prices that a node costs where nothing else is said, thousandths.
pub(crate) const WHOLE: u32 = 1000;
/// A price above this counts as this, thousandths an hour.
const POINTS_MAX: u32 = 1_000_000;

/// What things cost, millionths of the currency an hour, where a node costs what the card says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// All that the session holds wherever it is.
    pub own: u64,
    /// A core that an encoder takes beside.
    pub cpu_core: u64,
    /// A GPU whose model's name has this in it; of several, the longest counts.
    pub gpus: Arc<BTreeMap<String, u64>>,
    /// A GPU of any other model.
    pub gpu_other: u64,
}

/// What the price depends on where it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// The share of the card's prices, thousandths.
    pub(crate) permille: u32,
    /// CPU that an encoder takes beside, thousandths of a core.
    pub(crate) encode_cpu_milli: u32,
    /// What its GPUs cost there, millionths an hour.
    pub(crate) gpus: u64,
}

impl Rates {
    /// Whether nothing costs anything.
    pub(crate) fn is_free(&self) -> bool {
        self.own == 0 && self.cpu_core == 0 && self.gpu_other == 0 && self.gpus.is_empty()
    }

    /// What it costs there, millionths an hour, rounded down.
    pub(crate) fn at(&self, place: Place) -> u64 {
        let micro = u128::from(self.by_the_card(place)) * u128::from(place.permille);
        u64::try_from(micro / u128::from(WHOLE)).unwrap_or(u64::MAX)
    }

    /// Points for that: one a thousandth of the currency an hour. Every candidate is asked for them, so they take
    /// no more than 64 bits.
    pub(crate) fn points(&self, place: Place) -> u32 {
        let milli = self.by_the_card(place) / 1000;
        let milli = milli.saturating_mul(place.permille.into()) / u64::from(WHOLE);
        u32::try_from(milli).map_or(POINTS_MAX, |points| points.min(POINTS_MAX))
    }

    fn by_the_card(&self, place: Place) -> u64 {
        let encoder = self.cpu_core.saturating_mul(place.encode_cpu_milli.into()) / 1000;
        let own = self.own.saturating_add(encoder);
        own.saturating_add(place.gpus)
    }

    /// A GPU of this model.
    pub(crate) fn gpu(&self, model: &str) -> u64 {
        rate_of(model, &self.gpus, self.gpu_other)
    }
}

/// The rate of a model among those that are named; of any other one `other`.
pub(crate) fn rate_of(model: &str, named: &BTreeMap<String, u64>, other: u64) -> u64 {
    let named = named.iter().filter(|(part, _)| model.contains(*part));
    let longest = named.max_by_key(|(part, _)| part.len());
    longest.map_or(other, |(_, rate)| *rate)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn all_that_is_held_there_costs_by_the_nodes_share() {
        let rates = Rates {
            own: 1_000_000,
            cpu_core: 400_000,
            gpus: Arc::new([("L4".to_owned(), 90), ("L40S".to_owned(), 200)].into()),
            gpu_other: 7,
        };
        let at = |permille, encode_cpu_milli, gpus| {
            rates.at(Place {
                permille,
                encode_cpu_milli,
                gpus,
            })
        };
        assert_eq!(at(WHOLE, 0, 0), 1_000_000);
        assert_eq!(at(WHOLE, 250, 0), 1_100_000);
        assert_eq!(at(500, 250, 2_000_000), 1_550_000);
        assert_eq!(at(0, 250, 9), 0);
        let points = rates.points(Place {
            permille: 500,
            encode_cpu_milli: 250,
            gpus: 2_000_000,
        });
        assert_eq!(points, 1_550);
        let of = ["NVIDIA L4", "NVIDIA L40S", "B200"].map(|model| rates.gpu(model));
        assert_eq!(of, [90, 200, 7]);
    }

    #[test]
    fn what_no_number_holds_costs_the_most_that_one_does() {
        let rates = Rates {
            own: u64::MAX,
            cpu_core: u64::MAX,
            ..Rates::default()
        };
        let place = Place {
            permille: u32::MAX,
            encode_cpu_milli: u32::MAX,
            gpus: u64::MAX,
        };
        assert_eq!(
            (rates.at(place), rates.points(place)),
            (u64::MAX, POINTS_MAX)
        );
    }
}
