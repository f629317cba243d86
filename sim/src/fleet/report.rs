//! What a run shows.

use super::demand::Wants;
use super::region::Region;
use super::tally::CLASSES;
use serde::Serialize;
use std::collections::BTreeMap;

/// What a run shows. Same configuration, same report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// What made everything by chance.
    pub seed: u64,
    /// Nodes.
    pub nodes: usize,
    /// Virtual hours with visits.
    pub hours: f64,
    /// Things that happened.
    pub events: u64,
    /// Decisions of placement.
    pub decisions: u64,
    /// Changes of the index.
    pub index_updates: u64,
    /// Sessions that were asked for.
    pub came: u64,
    /// Sessions that got a slot.
    pub placed: u64,
    /// Sessions that gave up waiting, by what they wanted.
    pub gave_up: BTreeMap<&'static str, u64>,
    /// Refusals: what was wanted, and what the nearest node lacked.
    pub refused: BTreeMap<String, u64>,
    /// How sessions ended.
    pub ended: BTreeMap<String, u64>,
    /// From being asked for to a slot, of placed sessions, milliseconds.
    pub wait_ms: Quantiles,
    /// The same by what was wanted.
    pub wait_ms_of: BTreeMap<&'static str, Quantiles>,
    /// Estimated round trips of placed sessions, milliseconds.
    pub rtt_ms: Quantiles,
    /// How much nearer a node was that could have run it just then, milliseconds; of a sample.
    pub regret_ms: Quantiles,
    /// Slot time taken of slot time there, by class of node.
    pub utilisation: BTreeMap<&'static str, f64>,
    /// Gini coefficient of utilisation over operators with enough slots: 0 is equal.
    pub operators_gini: f64,
    /// The longest mean wait of a tenant's sessions over that of all.
    pub tenants_max_over_mean: f64,
    /// What those who waited were told.
    pub eta: EtaReport,
    /// The longest queue.
    pub queue_max: usize,
    /// What befell the fleet.
    pub troubles: Troubles,
}

/// Some quantiles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Quantiles {
    /// Of so many.
    pub of: usize,
    /// The median.
    pub p50: u32,
    /// 90 in 100 are at most this.
    pub p90: u32,
    /// 99 in 100 are at most this.
    pub p99: u32,
    /// The greatest.
    pub max: u32,
}

/// Whether an ETA is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct EtaReport {
    /// Told a time.
    pub told: u64,
    /// Told that nobody knows.
    pub unknown: u64,
    /// Waited longer than nine in ten should, as a share.
    pub late: f64,
    /// Waited longer than half should, as a share.
    pub late_half: f64,
    /// Time waited in hundredths of time told.
    pub waited_percent: Quantiles,
}

/// What befell the fleet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Troubles {
    /// Nodes that lost power.
    pub crashes: u64,
    /// Nodes that lost their network.
    pub unplugged: u64,
    /// Drains.
    pub drains: u64,
    /// Orders that nodes refused.
    pub starts_denied: u64,
    /// Images that were fetched.
    pub pulls: u64,
    /// Deaths of the broker.
    pub restarts: u64,
}

pub(crate) fn render(region: &Region) -> Report {
    let t = &region.tally;
    let waits: Vec<u32> = t.waits_ms.values().flatten().copied().collect();
    let of = |wants: &Wants| {
        (
            wants.name(),
            quantiles(t.waits_ms.get(wants).cloned().unwrap_or_default()),
        )
    };
    let refused = t.refused.iter();
    let classes = CLASSES.into_iter().zip(t.classes);
    Report {
        seed: region.config.seed,
        nodes: region.nodes.len(),
        hours: region.config.hours,
        events: t.events,
        decisions: t.decisions,
        index_updates: t.updates,
        came: t.came,
        placed: waits.len() as u64,
        gave_up: t
            .gave_up
            .iter()
            .map(|(wants, n)| (wants.name(), *n))
            .collect(),
        refused: refused
            .map(|((wants, why), n)| (format!("{}: {why}", wants.name()), *n))
            .collect(),
        ended: t.ended.clone(),
        wait_ms: quantiles(waits),
        wait_ms_of: Wants::ALL.iter().map(of).collect(),
        rtt_ms: quantiles(t.rtt_ms.clone()),
        regret_ms: quantiles(t.regret_ms.clone()),
        utilisation: classes
            .map(|(name, [taken, there])| (name, share(taken, there)))
            .collect(),
        operators_gini: gini(operators(region)),
        tenants_max_over_mean: tenants(&t.tenants),
        eta: EtaReport {
            told: t.eta.told,
            unknown: t.eta.unknown,
            late: share(t.eta.late as f64, t.eta.told as f64),
            late_half: share(t.eta.late_half as f64, t.eta.told_half as f64),
            waited_percent: quantiles(t.eta.over_percent.clone()),
        },
        queue_max: t.queue_max,
        troubles: Troubles {
            crashes: t.crashes,
            unplugged: t.unplugged,
            drains: t.drains,
            starts_denied: t.starts_denied,
            pulls: t.pulls,
            restarts: t.restarts,
        },
    }
}

/// Utilisation of each operator that had 20 slots for all the time, or as much.
fn operators(region: &Region) -> Vec<f64> {
    let enough = 20.0 * region.config.hours * 3600.0;
    let all = region.tally.operators.values();
    let large = all.filter(|[_, _, there]| *there >= enough);
    large
        .map(|[_, taken, there]| share(*taken, *there))
        .collect()
}

fn tenants(waits: &[(u64, u64)]) -> f64 {
    let means = waits.iter().filter(|(n, _)| *n >= 50);
    let most = means
        .map(|(n, ms)| *ms as f64 / *n as f64)
        .fold(0.0, f64::max);
    let (n, ms) = waits
        .iter()
        .fold((0, 0), |(n, ms), one| (n + one.0, ms + one.1));
    share(most, share(ms as f64, n as f64))
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// 0 where all have as much, towards 1 where one has everything.
fn gini(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let (n, sum) = (values.len() as f64, values.iter().sum::<f64>());
    let ranked: f64 = (1..)
        .zip(&values)
        .map(|(rank, value)| f64::from(rank) * value)
        .sum();
    if sum > 0.0 {
        2.0 * ranked / (n * sum) - (n + 1.0) / n
    } else {
        0.0
    }
}

fn quantiles(mut values: Vec<u32>) -> Quantiles {
    values.sort_unstable();
    let last = values.len().saturating_sub(1);
    let at = |q: f64| {
        values
            .get((last as f64 * q).round() as usize)
            .copied()
            .unwrap_or(0)
    };
    Quantiles {
        of: values.len(),
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        max: at(1.0),
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn gini_is_none_among_equals_and_nearly_one_for_a_monopoly() {
        assert!(gini(vec![3.0; 10]).abs() < 1e-9);
        let mut one = vec![0.0; 99];
        one.push(1.0);
        assert!(gini(one) > 0.98);
        assert!((gini(vec![1.0, 3.0]) - 0.25).abs() < 1e-9);
        assert!(gini(Vec::new()).abs() < 1e-9);
    }

    #[test]
    fn quantiles_are_of_what_there_is() {
        let q = quantiles((1..=101).rev().collect());
        assert_eq!((q.of, q.p50, q.p90, q.p99, q.max), (101, 51, 91, 100, 101));
        assert_eq!(quantiles(Vec::new()), Quantiles::default());
    }
}
