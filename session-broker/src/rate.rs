//! Token buckets by caller. Bounded: full buckets are forgotten, for they say nothing.

use nearlight_protocol::unit::MonoTime;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

/// Callers remembered at a time. Past it the full buckets go; if none is full, the caller is let
/// through, since a flood from so many addresses is not for this layer to stop.
const CALLERS_MAX: usize = 65_536;

/// A rate for each caller of kind `K`.
#[derive(Debug)]
pub(crate) struct RateLimit<K> {
    /// Microseconds in which one token returns.
    refill_us: u64,
    burst: u32,
    /// By caller: when its bucket will be full. Held for a look-up, never across an await.
    full_at: Mutex<HashMap<K, MonoTime>>,
}

impl<K: Eq + Hash> RateLimit<K> {
    pub(crate) fn per_second(rate: u32, burst: u32) -> Self {
        Self::new(1_000_000 / u64::from(rate.max(1)), burst)
    }

    pub(crate) fn per_minute(rate: u32, burst: u32) -> Self {
        Self::new(60_000_000 / u64::from(rate.max(1)), burst)
    }

    fn new(refill_us: u64, burst: u32) -> Self {
        Self {
            refill_us,
            burst: burst.max(1),
            full_at: Mutex::default(),
        }
    }

    /// Takes one token of the caller, or says after how many seconds to come back.
    pub(crate) fn take(&self, caller: K, now: MonoTime) -> Result<(), u32> {
        self.take_many(caller, 1, now)
    }

    /// The same for several tokens at once; more than the burst are never to be had.
    pub(crate) fn take_many(&self, caller: K, tokens: u32, now: MonoTime) -> Result<(), u32> {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if full_at.len() >= CALLERS_MAX {
            full_at.retain(|_, at| *at > now);
            if full_at.len() >= CALLERS_MAX {
                return Ok(());
            }
        }
        let bucket = full_at.entry(caller).or_insert(now);
        let full = (*bucket).max(now);
        let takes_us = self.refill_us.saturating_mul(u64::from(tokens));
        let next = MonoTime(full.0.saturating_add(takes_us));
        let depth_us = self.refill_us.saturating_mul(u64::from(self.burst));
        let over_us = next.micros_since(now).saturating_sub(depth_us);
        if over_us > 0 {
            return Err(u32::try_from(over_us.div_ceil(1_000_000)).unwrap_or(u32::MAX));
        }
        *bucket = next;
        Ok(())
    }

    /// Gives tokens back that nothing came of.
    pub(crate) fn give_back(&self, caller: &K, tokens: u32) {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = full_at.get_mut(caller) {
            let took_us = self.refill_us.saturating_mul(u64::from(tokens));
            *bucket = MonoTime(bucket.0.saturating_sub(took_us));
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    const S: u64 = 1_000_000;

    #[test]
    fn a_burst_then_the_rate_and_each_caller_alone() {
        let limit = RateLimit::per_second(2, 3);
        let take = |caller, us| limit.take(caller, MonoTime(us));
        for _ in 0..3 {
            assert_eq!(take("a", 10 * S), Ok(()));
        }
        assert_eq!(take("a", 10 * S), Err(1));
        assert_eq!(take("b", 10 * S), Ok(()));
        assert_eq!(take("a", 10 * S + S / 2), Ok(()));
        assert_eq!(take("a", 10 * S + S / 2), Err(1));
        for _ in 0..3 {
            assert_eq!(take("a", 100 * S), Ok(()));
        }
    }

    #[test]
    fn retry_after_is_when_it_works() {
        let limit = RateLimit::per_minute(6, 1);
        assert_eq!(limit.take("a", MonoTime(0)), Ok(()));
        let wait = limit.take("a", MonoTime(0)).unwrap_err();
        assert_eq!(wait, 10);
        assert_eq!(limit.take("a", MonoTime(u64::from(wait) * S)), Ok(()));
    }
}
