//! The queue as those who wait see it: where they stand, and when it is their turn.
//!
//! Each is told the pace of its line: those whose apps need the same, and who are to play in the same
//! place. Until some have left a line, the home of the queue forecasts over the whole region: what other
//! brokers have running comes with their feeds, a few seconds old. Each tells a fair sample of its
//! sessions, and how long former ones lasted.

use super::entry::{Place, label};
use super::owner::Owner;
use crate::ledger::SessionRow;
use nearlight_protocol::app::GpuClass;
use nearlight_protocol::id::{NodeId, SessionId};
use nearlight_protocol::unit::MonoTime;
use nearlight_session::lifecycle::Phase;
use nearlight_session::queue::Eta;
use nearlight_session::queue::forecast::{Busy, Forecast};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Sessions of one broker that a forecast looks at; of more, every so-manyth.
const SAMPLE_MAX: usize = 256;
/// Durations that a forecast looks at.
const HISTORY_MAX: usize = 256;
/// For how long a forecast is told, milliseconds: positions change more often than what they wait for.
const FORECAST_KEPT_MS: u64 = 1000;

/// What those in one line have in common: a slot that suits one of them suits all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Line {
    gpu: GpuClass,
    cpu_milli: u32,
    mem_mib: u32,
    kbps: u32,
    place: LinePlace,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum LinePlace {
    /// Where its saves are, or what it is to see.
    Node(NodeId),
    /// Chosen by the player.
    Only(String),
    /// Nearest of those whose distance is known.
    Near(String),
    Anywhere,
}

impl Line {
    fn of(row: &SessionRow) -> Self {
        let (needs, wish) = (super::taken_by(&row.work), &row.wish);
        let place = match (wish.node(), &wish.region) {
            (Some(node), _) => LinePlace::Node(node.clone()),
            (None, Some(region)) => LinePlace::Only(region.clone()),
            (None, None) => {
                let nearest = wish.estimates.iter().min_by_key(|estimate| estimate.ms);
                nearest.map_or(LinePlace::Anywhere, |e| LinePlace::Near(e.region.clone()))
            }
        };
        Self {
            gpu: needs.gpu,
            cpu_milli: needs.cpu_milli,
            mem_mib: needs.mem_mib,
            kbps: needs.kbps,
            place,
        }
    }
}

/// What a broker has running, as a forecast sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Occupancy {
    /// How many sessions have a slot.
    total: u32,
    /// A fair sample of them: age, end if nobody comes back, end in any case; milliseconds.
    sample: Vec<(u64, Option<u64>, Option<u64>)>,
    /// How long those that ended of late had lasted, milliseconds.
    durations: Vec<u64>,
}

impl Occupancy {
    fn of(all: Vec<Busy>, durations: Vec<u64>) -> Self {
        let every = all.len().div_ceil(SAMPLE_MAX).max(1);
        let sample = all.iter().step_by(every);
        Self {
            total: u32::try_from(all.len()).unwrap_or(u32::MAX),
            sample: sample
                .map(|busy| (busy.age_ms, busy.ends_in_ms, busy.most_in_ms))
                .collect(),
            durations,
        }
    }

    /// Its sample, each with how many sessions it stands for.
    fn weighed(&self) -> impl Iterator<Item = (Busy, f64)> {
        let taken = self.sample.iter().take(SAMPLE_MAX);
        let weight = f64::from(self.total) / taken.len().max(1) as f64;
        taken.map(move |(age_ms, ends_in_ms, most_in_ms)| {
            let busy = Busy {
                age_ms: *age_ms,
                ends_in_ms: *ends_in_ms,
                most_in_ms: *most_in_ms,
            };
            (busy, weight)
        })
    }
}

/// What is expected of all brokers together.
fn all_together<'a>(of: impl Iterator<Item = &'a Occupancy> + Clone) -> Forecast {
    let busy: Vec<(Busy, f64)> = of.clone().flat_map(Occupancy::weighed).collect();
    let durations = of.flat_map(|one| one.durations.iter().take(HISTORY_MAX));
    let durations: Vec<u64> = durations.copied().collect();
    let every = durations.len().div_ceil(HISTORY_MAX).max(1);
    let history: Vec<u64> = durations.into_iter().step_by(every).collect();
    Forecast::new(&busy, &history)
}

impl Owner {
    /// Lets a session wait in its place.
    pub(super) fn enqueue(&mut self, row: &SessionRow) {
        let (id, user) = (row.id.clone(), row.user.clone());
        self.queue.push_as(id, user, row.created_at, row.priority);
    }

    /// Tells those who wait where they stand. Whoever listens to a session's events hears of each change.
    pub(super) fn tell_places(&mut self, now: MonoTime, touched: &mut BTreeSet<SessionId>) {
        self.told = self.queue.revision();
        self.form_lines(now);
        if self.queue.is_empty() {
            return;
        }
        let forecast = self.forecast(now);
        let order = self.queue.order();
        let etas: Vec<Option<Eta>> = self.lines.etas(order.iter(), now).collect();
        for (i, (id, eta)) in order.into_iter().zip(etas).enumerate() {
            let position = u32::try_from(i + 1).unwrap_or(u32::MAX);
            let Some(entry) = self.sessions.get_mut(&id) else {
                continue;
            };
            let place = Place {
                position,
                // Who waits for what is nowhere waits for no turn.
                eta: match entry.placement.is_nowhere() {
                    true => Eta::default(),
                    false => eta.unwrap_or_else(|| forecast.eta(position)),
                },
                waits_for: entry.place.waits_for,
            };
            if entry.place != place {
                entry.place = place;
                touched.insert(id);
            }
        }
    }

    /// Lines as the queue is now. Where sessions wait elsewhere, those who went there have not left.
    fn form_lines(&mut self, now: MonoTime) {
        if self.is_home() {
            self.lines.keep(|id| self.queue.contains(id), now);
        } else {
            self.lines.clear(now);
        }
        for id in self.queue.iter() {
            if let Some(entry) = self.sessions.get(id) {
                self.lines.join(id, || Line::of(&entry.row), now);
            }
        }
    }

    fn forecast(&mut self, now: MonoTime) -> Forecast {
        if let Some((at, forecast)) = &self.forecast
            && now.millis_since(*at) < FORECAST_KEPT_MS
        {
            return forecast.clone();
        }
        let own = self.occupancy(now);
        let others = self
            .sharing
            .iter()
            .flat_map(|sharing| sharing.busy.values());
        let fresh = all_together(std::iter::once(&own).chain(others));
        self.forecast = Some((now, fresh.clone()));
        fresh
    }

    /// Says how many sessions are in which phase.
    pub(super) fn set_gauges(&self) {
        const PHASES: [&str; 8] = [
            "queued", "placing", "starting", "ready", "playing", "detached", "ending", "ended",
        ];
        let mut counts = PHASES.map(|phase| (phase, 0));
        // One walk: of the sessions that ended lately there are many.
        for entry in self.sessions.values() {
            let phase = label(entry.life.phase());
            if let Some((_, n)) = counts.iter_mut().find(|(of, _)| *of == phase) {
                *n += 1;
            }
        }
        for (phase, n) in counts {
            crate::metrics::sessions(phase, n);
        }
    }

    /// What runs on the nodes that this broker holds.
    pub(super) fn occupancy(&self, now: MonoTime) -> Occupancy {
        let with_slot = self.sessions.values().filter(|e| e.life.held().is_some());
        let all = with_slot
            .map(|entry| {
                let ends_at = match entry.life.phase() {
                    Phase::Detached { .. } => entry.life.ends_at(),
                    Phase::Ending { .. } => Some(now),
                    Phase::Queued
                    | Phase::Placing { .. }
                    | Phase::Starting { .. }
                    | Phase::Ready { .. }
                    | Phase::Playing { .. }
                    | Phase::Ended { .. } => None,
                };
                // From its first picture on, which comes in time or not at all.
                let limits = self.times.limits(&entry.row);
                let most_ms = limits.start_total_ms.saturating_add(limits.max_ms);
                let age_ms = now.millis_since(entry.placed_at);
                Busy {
                    age_ms,
                    ends_in_ms: ends_at.map(|at| at.millis_since(now)),
                    most_in_ms: Some(most_ms.saturating_sub(age_ms)),
                }
            })
            .collect();
        Occupancy::of(all, self.durations.iter().copied().collect())
    }
}

#[cfg(test)]
mod test {
    use super::*;

    const MINUTE: u64 = 60_000;

    fn busy(age_ms: u64) -> Busy {
        Busy {
            age_ms,
            ends_in_ms: None,
            most_in_ms: None,
        }
    }

    /// The queue's home has one slot, and the rest of the region has many.
    #[test]
    fn an_eta_is_of_the_whole_region_and_not_of_the_homes_own_sessions() {
        let history: Vec<u64> = (1..=40).map(|n| n * MINUTE).collect();
        let own = Occupancy::of(vec![busy(0)], history.clone());
        let alone = all_together(std::iter::once(&own)).eta(1);
        let other = Occupancy::of((0..2000).map(|_| busy(0)).collect(), history);
        assert_eq!((other.total, other.sample.len()), (2000, 250));
        let text = serde_json::to_string(&other).unwrap();
        let told: Occupancy = serde_json::from_str(&text).unwrap();
        let region = all_together([&own, &told].into_iter()).eta(1);
        assert!(alone.half_s.unwrap() >= 20 * 60, "{alone:?}");
        assert!(region.half_s.unwrap() <= 90, "{region:?}");
    }
}
