//! Decorrelated jitter: each wait is drawn between the base and three times the last one, up to a
//! cap, so that a fleet that lost its broker does not come back in step.

use nearlight_protocol::control::Welcome;
use rand::Rng;
use std::time::Duration;

/// Before a broker has said what it wants: quick, for the usual case is that it starts beside us.
const FIRST_BASE: Duration = Duration::from_millis(200);
const FIRST_CAP: Duration = Duration::from_secs(10);

/// How long to wait before the next attempt.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    base: Duration,
    cap: Duration,
    last: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self {
            base: FIRST_BASE,
            cap: FIRST_CAP,
            last: FIRST_BASE,
        }
    }

    /// The broker sets the pace from here on, and the next loss begins anew.
    pub(super) fn welcomed(&mut self, welcome: &Welcome) {
        self.base = Duration::from_secs(welcome.backoff_min_s.into()).max(FIRST_BASE);
        self.cap = Duration::from_secs(welcome.backoff_max_s.into()).max(self.base);
        self.last = self.base;
    }

    /// The next wait.
    pub(super) fn next(&mut self, rng: &mut impl Rng) -> Duration {
        let ceiling = (self.last * 3).clamp(self.base, self.cap);
        self.last = rng.random_range(self.base..=ceiling);
        self.last
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    fn welcome(backoff_min_s: u32, backoff_max_s: u32) -> Welcome {
        Welcome {
            proto: 1,
            heartbeat_s: 5,
            backoff_min_s,
            backoff_max_s,
            grace_s: 60,
            jwks: serde_json::Value::Null,
            features: Vec::new(),
        }
    }

    #[test]
    fn waits_stay_in_bounds_spread_and_begin_anew() {
        let mut rng = StdRng::seed_from_u64(7);
        let mut backoff = Backoff::new();
        backoff.welcomed(&welcome(1, 60));
        let waits: Vec<_> = (0..200).map(|_| backoff.next(&mut rng)).collect();
        assert!(waits[0] <= Duration::from_secs(3));
        let bounds = Duration::from_secs(1)..=Duration::from_secs(60);
        assert!(waits.iter().all(|wait| bounds.contains(wait)));
        assert!(waits.iter().any(|wait| *wait > Duration::from_secs(20)));
        backoff.welcomed(&welcome(1, 60));
        assert!(backoff.next(&mut rng) <= Duration::from_secs(3));
    }

    #[test]
    fn odd_bounds_of_a_broker_do_no_harm() {
        let mut rng = StdRng::seed_from_u64(7);
        let mut backoff = Backoff::new();
        for (min, max) in [(0, 0), (60, 1), (u32::MAX, u32::MAX)] {
            backoff.welcomed(&welcome(min, max));
            assert!(backoff.next(&mut rng) >= FIRST_BASE);
        }
    }
}
