//! `--rotate-ca`: another CA in place of the one that there is, and what that has sealed.
//!
//! [`nearlight_kit::pki::rotation`] says what becomes of certificates. The key for secrets goes with the CA's, so that the
//! step after which the old one signs no more keeps what it sealed secrets with, and the last step has them sealed again
//! before it takes that away.
//!
//! **Invariant.** No secret is lost by a step that was not refused.

use crate::cli::RotationStep;
use crate::config::Config;
use crate::http::registry_sealed_for;
use crate::ledger::{SealedFor, reseal_beside};
use crate::seal::{FORMER_KEY_FILE, Sealer, keep_former};
use crate::webhooks;
use anyhow::Context;
use nearlight_kit::clock::WallClock;
use nearlight_kit::pki::rotation;

/// Takes a step, and says what to do then.
///
/// # Errors
/// It is not the time for it, or the ledger did not let secrets be sealed again.
pub async fn step(
    config: &Config,
    step: RotationStep,
    (clock, force): (&WallClock, bool),
) -> anyhow::Result<String> {
    let dir = &config.pki;
    let next = "Copy the PKI directory to every broker and start them again, one after the other.";
    match step {
        RotationStep::Begin => rotation::begin(dir, clock)?,
        RotationStep::Switch => {
            keep_former(dir)?;
            rotation::switch(dir, clock, force)?;
        }
        RotationStep::Retire => {
            rotation::may_retire(dir, clock, force)?;
            let sealed = seal_again(config, force).await?;
            rotation::retire(dir, clock, force)?;
            let former = dir.join(FORMER_KEY_FILE);
            if former.exists() {
                std::fs::remove_file(&former)
                    .with_context(|| format!("cannot remove {}", former.display()))?;
            }
            return Ok(format!(
                "{sealed} {next} Remove {FORMER_KEY_FILE} there, too."
            ));
        }
    }
    Ok(next.to_owned())
}

/// Seals with the key of now whatever another one has sealed. What opens with no key that is here keeps the former ones
/// where they are, unless with `force`: it may open with one that another broker has.
async fn seal_again(config: &Config, force: bool) -> anyhow::Result<String> {
    let sealer = Sealer::open_in(&config.pki)?;
    let count = reseal_beside(&config.ledger, |whose, sealed| {
        let of = match whose {
            SealedFor::Session(session) => session.clone(),
            SealedFor::Registry(owner, registry) => registry_sealed_for(owner, registry),
            SealedFor::Webhook(owner) => webhooks::sealed_for(owner),
        };
        sealer.reseal(&of, sealed)
    });
    let count = count
        .await
        .context("secrets are not all sealed with the key of now, so the former one stays")?;
    anyhow::ensure!(
        count.lost == 0 || force,
        "{} secrets open with no key in {}; look for {FORMER_KEY_FILE} on the other brokers and copy it here, or \
         give them up with --force",
        count.lost,
        config.pki.display()
    );
    let lost = match count.lost {
        0 => String::new(),
        lost => format!(" {lost} opened with no key, and were lost before."),
    };
    Ok(format!("Sealed {} secrets again.{lost}", count.done))
}

#[cfg(test)]
mod test;
