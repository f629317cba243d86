//! The certificate while the checker runs: renewed by itself, a third of its life before its end, or by proof of its key if it
//! ended while the checker was off.
//!
//! It is looked at each time before assignments are asked for, which is every 20 s at most.
//!
//! **Invariant.** A broker that cannot renew it now is asked again, less and less often; one that says no for good ends the
//! checker, which says why.

use super::{Runner, backoff, lock};
use crate::certificate::{self, NoRenewal};
use crate::failure::Failure;
use crate::member::Network;
use nearlight_kit::pki::Credentials;
use rand::Rng;
use std::time::{Instant, SystemTime};

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
                *next = Renewal::of(&shown);
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
