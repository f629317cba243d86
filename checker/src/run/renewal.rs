//! The certificate while the checker runs: renewed by itself, a third of its life before its end, or by proof of its key if it
//! ended while the checker was off.
//!
//! It is looked at each time before assignments are asked for, which is every 20 s at most.
//!
//! **Invariants.** A broker that cannot renew it now is asked again, less and less often; one that says no for good ends the
//! checker, which says why. A new certificate is left alone for a while, whatever this machine's clock says.

use super::{Runner, backoff, lock};
use crate::certificate::{self, NoRenewal};
use crate::failure::Failure;
use crate::member::Network;
use nearlight_kit::pki::Credentials;
use rand::Rng;
use std::time::{Duration, Instant, SystemTime};

/// A new certificate is renewed no sooner than after that part of its life.
const LEFT_ALONE: u32 = 24;

/// When it is to be renewed.
#[derive(Debug)]
pub(super) struct Renewal {
    due: SystemTime,
    failed: u32,
    /// Not before, of one that failed.
    again: Instant,
}

impl Renewal {
    pub(super) fn of(shown: &Credentials) -> Self {
        Self {
            due: shown.renew_at(rand::rng().random()),
            failed: 0,
            again: Instant::now(),
        }
    }

    /// Of one that came now.
    fn after(shown: &Credentials, now: SystemTime) -> Self {
        let mut next = Self::of(shown);
        if next.due <= now {
            tracing::warn!(
                "the new certificate is to be renewed already; have this machine's clock set by NTP"
            );
        }
        let life: Duration = shown.validity.life();
        next.due = next.due.max(now + life / LEFT_ALONE);
        next
    }
}

impl Runner {
    /// Renews the certificate if it is time to.
    ///
    /// # Errors
    /// [`Failure::Certificate`]: the broker will not have this checker, or not without another token.
    pub(super) fn keep_certified(&self) -> Result<(), Failure> {
        let mut next = lock(&self.renewal);
        if SystemTime::now() < next.due || Instant::now() < next.again {
            return Ok(());
        }
        let (data, _) = &self.member;
        let renewed = Network::load(data)
            .map_err(|error| NoRenewal::Later(error.to_string()))
            .and_then(|mut network| {
                let addresses = network.listener(self.at.as_deref());
                let shown = certificate::renew((data, &mut network), &self.broker, &addresses)?;
                let shows = self
                    .broker
                    .show(data, &network.listener(self.at.as_deref()));
                shows.map_err(|error| NoRenewal::Later(error.to_string()))?;
                Ok(shown)
            });
        match renewed {
            Ok(shown) => {
                *next = Renewal::after(&shown, SystemTime::now());
                tracing::info!("the certificate was renewed");
                Ok(())
            }
            Err(NoRenewal::Final(why)) => Err(Failure::Certificate(why)),
            Err(NoRenewal::Later(why)) => {
                next.failed += 1;
                next.again = Instant::now() + backoff(next.failed, rand::rng().random());
                tracing::warn!(why, "the certificate is not renewed; asking again");
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_kit::clock::WallClock;
    use nearlight_kit::pki::{Ca, CheckerName, Identity};
    use nearlight_protocol::id::KeyId;

    /// It asked for one after the other, as fast as it could.
    #[test]
    fn a_clock_that_is_ahead_does_not_renew_all_the_time() {
        const HOUR: Duration = Duration::from_secs(3600);
        let dir = tempfile::tempdir().unwrap();
        let name = CheckerName::new(&"ab".repeat(32), KeyId::from_parts(1, [2; 10])).unwrap();
        // The broker is 20 hours behind this clock.
        for (ahead_s, least) in [(-20 * 3600, HOUR / 2), (0, 15 * HOUR)] {
            let ca = Ca::ensure(dir.path(), WallClock::ahead_by(ahead_s)).unwrap();
            ca.issue(dir.path(), "checker", Identity::checker(&name))
                .unwrap();
            let (shown, now) = (
                Credentials::load(dir.path(), "checker").unwrap(),
                SystemTime::now(),
            );
            assert_eq!(Renewal::of(&shown).due <= now, ahead_s < 0);
            assert!(Renewal::after(&shown, now).due > now + least);
        }
    }
}
