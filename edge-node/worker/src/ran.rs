//! Time as far as this process ran. A machine that is paused (a stopped process, a frozen control
//! group, a suspended virtual machine) has a clock that goes on, and nothing that hung meanwhile is to
//! blame for it.
//!
//! Whoever watches something looks at it often; from one look to the next no more than
//! [`LOOK_MAX_US`] counts, for a look that comes later than that was itself held up.

use crate::limits::HOUSEKEEPING;

/// What counts between two looks at most: looks are [`HOUSEKEEPING`] apart, on a busy machine more.
const LOOK_MAX_US: u64 = 2 * HOUSEKEEPING.as_micros() as u64;

/// How long one thing after the other has gone on.
#[derive(Debug, Default)]
pub(crate) struct Ran {
    looked: Option<Look>,
}

#[derive(Debug)]
struct Look {
    what: u64,
    at_us: u64,
    ran_us: u64,
}

impl Ran {
    /// A look at `what`, which began at `since_us`: how long it has gone on while we ran.
    pub(crate) fn look(&mut self, what: u64, since_us: u64, now: u64) -> u64 {
        let (before_us, ran_us) = match &self.looked {
            Some(look) if look.what == what => (look.at_us, look.ran_us),
            Some(_) | None => (since_us, 0),
        };
        let ran_us = ran_us + now.saturating_sub(before_us).min(LOOK_MAX_US);
        let at_us = now;
        self.looked = Some(Look {
            what,
            at_us,
            ran_us,
        });
        ran_us
    }

    /// When to look at what began at `since_us` at the latest, so that all of its time counts.
    pub(crate) fn next_look_us(&self, what: u64, since_us: u64) -> u64 {
        let before_us = match &self.looked {
            Some(look) if look.what == what => look.at_us,
            Some(_) | None => since_us,
        };
        before_us + LOOK_MAX_US / 2
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_standstill_counts_as_one_look_however_long_it_was() {
        let mut ran = Ran::default();
        assert_eq!(ran.look(7, 1_000, 101_000), 100_000);
        assert_eq!(ran.look(7, 1_000, 351_000), 350_000);
        assert_eq!(ran.next_look_us(7, 1_000), 351_000 + LOOK_MAX_US / 2);
        // A minute of nothing.
        assert_eq!(ran.look(7, 1_000, 60_351_000), 350_000 + LOOK_MAX_US);
        assert_eq!(ran.look(7, 1_000, 60_352_000), 351_000 + LOOK_MAX_US);
        // Something else begins anew, and may have begun before the standstill.
        assert_eq!(ran.next_look_us(8, 5_000), 5_000 + LOOK_MAX_US / 2);
        assert_eq!(ran.look(8, 60_352_000, 60_352_500), 500);
        assert_eq!(ran.look(9, 1_000, 99_000_000), LOOK_MAX_US);
    }
}
