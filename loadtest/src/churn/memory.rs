//! Whether memory grows: the median of the last tenth of a run against that of the second tenth.
//!
//! The first tenth fills pools; a median is blind to the moment at which a sample falls. Each role is
//! judged by itself: what one leaks would hide in what the others hold.

use serde::Serialize;

/// Resident memory of each role.
#[derive(Clone, Debug, Default)]
pub(super) struct Resident {
    agent: Memory,
    workers: Memory,
    /// Empty where nobody said which process it is.
    broker: Memory,
}

/// How the memory of each role grew.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Growths {
    /// The agent.
    pub agent: Growth,
    /// The workers together; each has as many visits as the others.
    pub workers: Growth,
    /// The broker, if it was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker: Option<Growth>,
}

impl Resident {
    pub(super) fn add(&mut self, agent_kib: u64, workers_kib: u64, broker_kib: Option<u64>) {
        self.agent.add(agent_kib);
        self.workers.add(workers_kib);
        broker_kib.into_iter().for_each(|kib| self.broker.add(kib));
    }

    pub(super) fn growths(&self) -> Growths {
        Growths {
            agent: self.agent.growth(),
            workers: self.workers.growth(),
            broker: (!self.broker.kib.is_empty()).then(|| self.broker.growth()),
        }
    }
}

impl Growths {
    /// What grew by more, in words.
    pub(super) fn over(&self, percent_max: f64) -> Vec<String> {
        let roles = [
            ("agent", Some(self.agent)),
            ("workers", Some(self.workers)),
            ("broker", self.broker),
        ];
        let grown = roles
            .into_iter()
            .filter_map(|(role, growth)| Some((role, growth?)));
        let grown = grown.filter(|(_, growth)| growth.percent > percent_max);
        let words = grown.map(|(role, growth)| {
            let Growth { early_kib, late_kib, percent } = growth;
            format!(
                "memory of {role} grew by {percent:.1} percent ({early_kib} to {late_kib} KiB), and {percent_max} are allowed"
            )
        });
        words.collect()
    }
}

/// Resident memory, one sample after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    kib: Vec<u64>,
}

/// How memory grew.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Growth {
    /// The second tenth of the run.
    pub early_kib: u64,
    /// The last tenth of the run.
    pub late_kib: u64,
    /// Of the early.
    pub percent: f64,
}

impl Memory {
    pub(super) fn add(&mut self, kib: u64) {
        self.kib.push(kib);
    }

    pub(super) fn growth(&self) -> Growth {
        let count = self.kib.len();
        let tenth = (count / 10).max(1);
        let part = |from: usize| median(self.kib.get(from..(from + tenth).min(count)));
        let (early_kib, late_kib) = (part(tenth.min(count.saturating_sub(1))), {
            part(count.saturating_sub(tenth))
        });
        Growth {
            early_kib,
            late_kib,
            percent: 100.0 * (late_kib as f64 / early_kib.max(1) as f64 - 1.0),
        }
    }
}

fn median(samples: Option<&[u64]>) -> u64 {
    let mut samples = samples.unwrap_or_default().to_vec();
    samples.sort_unstable();
    samples.get(samples.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod test {
    use super::*;

    fn growth(kib: impl IntoIterator<Item = u64>) -> Growth {
        let mut memory = Memory::default();
        kib.into_iter().for_each(|kib| memory.add(kib));
        memory.growth()
    }

    #[test]
    fn what_fills_at_first_and_then_stands_does_not_grow() {
        let start = (0..10).map(|n| n * 100);
        assert_eq!(
            growth(start.chain(std::iter::repeat_n(1000, 90))).percent,
            0.0
        );
    }

    #[test]
    fn what_leaks_grows() {
        let leaking = growth((0..100).map(|n| 1000 + n));
        assert_eq!((leaking.early_kib, leaking.late_kib), (1015, 1095));
        assert!(leaking.percent > 7.0);
    }

    #[test]
    fn a_leak_of_the_agent_alone_is_seen_beside_large_workers() {
        // 2 KiB a visit, of ten thousand, beside four workers of 110 MiB.
        let mut resident = Resident::default();
        let visits = 0..10_000_u64;
        visits.for_each(|visit| resident.add(90_000 + 2 * visit, 4 * 112_000, Some(60_000)));
        let growths = resident.growths();
        let together = |early: bool| {
            let of = |growth: Growth| {
                if early {
                    growth.early_kib
                } else {
                    growth.late_kib
                }
            };
            of(growths.agent) + of(growths.workers)
        };
        assert!(together(false) * 100 < together(true) * 105, "{growths:?}");
        let over = growths.over(5.0);
        assert!(over.len() == 1 && over[0].contains("of agent"), "{over:?}");
        assert_eq!(growths.over(50.0), Vec::<String>::new());
    }

    #[test]
    fn a_broker_is_judged_where_it_is_known() {
        let mut known = Resident::default();
        let mut unknown = Resident::default();
        for visit in 0..100 {
            known.add(1_000, 1_000, Some(1_000 + visit));
            unknown.add(1_000, 1_000, None);
        }
        assert_eq!(known.growths().over(5.0).len(), 1);
        assert_eq!(unknown.growths().broker, None);
        assert_eq!(unknown.growths().over(5.0).len(), 0);
    }

    #[test]
    fn short_runs_have_a_growth_too() {
        assert_eq!(growth([]).percent, -100.0);
        assert_eq!(growth([7]).percent, 0.0);
        assert_eq!(growth([10, 11]).percent, 0.0);
        assert_eq!(growth([10, 10, 20]).percent, 100.0);
    }
}
