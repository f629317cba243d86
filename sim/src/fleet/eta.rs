//! What those who wait are told, as session-broker tells it: see `sessions/waiting.rs` there.

use super::clock::SessionNo;
use super::region::{Broker, Region};
use super::session::{LIMITS, Session};
use nearlight_protocol::unit::MonoTime;
use nearlight_session::lifecycle::Phase;
use nearlight_session::queue::forecast::{Busy, Forecast};
use std::collections::HashMap;

/// Sessions and durations that a forecast looks at; of more sessions, every so-manyth.
const SAMPLE_MAX: usize = 256;
/// For how long a forecast is told, milliseconds. A broker makes a new one each second.
const FORECAST_KEPT_MS: u64 = 10_000;

impl Region {
    /// It stands in the line of those who wait for the same, and is told for how long.
    pub(crate) fn join_line(&mut self, number: SessionNo) {
        let now = self.now;
        let one = self.sessions.get_mut(&number).expect("it waits");
        let Some(broker) = &mut self.broker else {
            return;
        };
        let line = (one.visit.metro, one.visit.wants);
        broker.lines.join(&one.id, || line, now);
        if one.told.is_some() {
            return;
        }
        let id = one.id.clone();
        let eta = broker.lines.eta_of_the_last(&id, now).unwrap_or_else(|| {
            let place = broker.queue.iter().position(|other| *other == id);
            let position = place.map_or(u32::MAX, |place| place as u32 + 1);
            broker.forecast(&self.sessions, now).eta(position)
        });
        let one = self.sessions.get_mut(&number).expect("it waits");
        one.told = Some((now, eta));
    }

    /// A session is over; if it had a slot, that says something of those that have one.
    pub(crate) fn remember_duration(&mut self, one: &Session) {
        if let (Some(broker), Some(at)) = (&mut self.broker, one.placed_at) {
            broker.durations.push_back(self.now.millis_since(at));
            if broker.durations.len() > SAMPLE_MAX {
                broker.durations.pop_front();
            }
        }
    }
}

impl Broker {
    fn forecast(&mut self, sessions: &HashMap<SessionNo, Session>, now: MonoTime) -> &Forecast {
        let is_old = |(at, _): &(MonoTime, Forecast)| now.millis_since(*at) >= FORECAST_KEPT_MS;
        if self.forecast.as_ref().is_none_or(is_old) {
            let durations: Vec<u64> = self.durations.iter().copied().collect();
            let fresh = Forecast::new(&sample(sessions, now), &durations);
            self.forecast = Some((now, fresh));
        }
        &self.forecast.as_ref().expect("it was made just now").1
    }
}

/// A fair sample of those that have a slot, each with how many it stands for.
fn sample(sessions: &HashMap<SessionNo, Session>, now: MonoTime) -> Vec<(Busy, f64)> {
    let with_slot = sessions.iter().filter(|(_, one)| one.life.held().is_some());
    let mut all: Vec<(SessionNo, &Session)> = with_slot.map(|(n, one)| (*n, one)).collect();
    all.sort_by_key(|(number, _)| *number);
    let every = all.len().div_ceil(SAMPLE_MAX).max(1);
    let taken = all.iter().step_by(every);
    let weight = all.len() as f64 / taken.len().max(1) as f64;
    taken.map(|(_, one)| (busy(one, now), weight)).collect()
}

fn busy(one: &Session, now: MonoTime) -> Busy {
    let ends_at = match one.life.phase() {
        Phase::Detached { .. } => one.life.ends_at(),
        Phase::Ending { .. } => Some(now),
        Phase::Queued
        | Phase::Placing { .. }
        | Phase::Starting { .. }
        | Phase::Ready { .. }
        | Phase::Playing { .. }
        | Phase::Ended { .. } => None,
    };
    let age_ms = now.millis_since(one.placed_at.unwrap_or(now));
    let most_ms = LIMITS.start_total_ms + LIMITS.max_ms;
    Busy {
        age_ms,
        ends_in_ms: ends_at.map(|at| at.millis_since(now)),
        most_in_ms: Some(most_ms.saturating_sub(age_ms)),
    }
}
