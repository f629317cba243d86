//! Another CA in place of the one that there is, while nodes go on.
//!
//! ```text
//!   one CA --begin--> two believed, the old one signs --switch--> two believed, the new one signs
//!          --retire--> one CA
//! ```
//!
//! Nodes learn what to believe with each certificate, so within its life after `begin` all that are there
//! know both. For one that was off for all of that, the new CA is also certified by the old one, and the
//! broker shows that (`ca.cross.pem`): it comes back, late or not, until the old CA is retired.
//!
//! **Invariants.** The key file alone decides who signs: the certificate that goes with `ca.key.pem`.
//! Each step is one rename after what it needs is there, so a crash leaves the state before it or after
//! it. Nothing is retired by which a certificate can still be valid, unless that is forced.
//!
//! **What it does not know:** brokers that run, which read all this when they start.

use super::ca::{BACKDATED, ca_params, not_before};
use super::{Ca, LATE_MAX, LEAF_LIFETIME, PkiError, file_error, issue_error, read, write};
use crate::clock::WallClock;
use rcgen::KeyPair;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const CA: &str = "ca.pem";
const KEY: &str = "ca.key.pem";
const NEXT_KEY: &str = "ca.next.key.pem";
const CROSS: &str = "ca.cross.pem";
const SWITCHED: &str = "ca.switched";
const DAY_S: u64 = 24 * 3600;

/// Why a step is not taken.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// Files.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// There is another rotation.
    #[error("a rotation is under way already; finish it with `switch` and `retire`")]
    UnderWay,
    /// There is none.
    #[error("no rotation is at this step; `begin` starts one, `switch` and `retire` follow")]
    NotNow,
    /// Nodes may not know the new CA.
    #[error("nodes that renew every day may not know the new CA for another {} h; wait, or force it", .0.as_secs().div_ceil(3600))]
    NotLearned(Duration),
    /// Certificates of the old CA may be in use.
    #[error("certificates of the old CA can be renewed for another {} days; wait, or force it, and nodes that still have one join again with a token", .0.as_secs().div_ceil(DAY_S))]
    StillValid(Duration),
}

/// Makes the next CA beside the one of `dir`. From the brokers' next start on both are believed.
///
/// # Errors
/// [`RotationError`]; nothing has changed then.
pub fn begin(dir: &Path, clock: &WallClock) -> Result<(), RotationError> {
    if dir.join(NEXT_KEY).exists() || dir.join(SWITCHED).exists() {
        return Err(RotationError::UnderWay);
    }
    let old = Ca::ensure(dir, clock.clone())?;
    let key = KeyPair::generate().map_err(issue_error("ca"))?;
    let params = ca_params(clock.now());
    let cross = old.certify_ca(&key)?;
    let made = params.self_signed(&key).map_err(issue_error("ca"))?;
    write(&dir.join(CROSS), &cross, 0o644)?;
    write(
        &dir.join(CA),
        &format!("{}{}", old.bundle(), made.pem()),
        0o644,
    )?;
    // What makes it a rotation comes last.
    write(&dir.join(NEXT_KEY), &key.serialize_pem(), 0o600)?;
    Ok(())
}

/// Lets the new CA sign, from the brokers' next start on.
///
/// # Errors
/// [`RotationError`]; nothing has changed then.
pub fn switch(dir: &Path, clock: &WallClock, force: bool) -> Result<(), RotationError> {
    let next = dir.join(NEXT_KEY);
    if !next.exists() {
        return Err(RotationError::NotNow);
    }
    let key = KeyPair::from_pem(&read(&next)?).map_err(issue_error("ca"))?;
    let made = Ca::of_key(dir, key, clock.clone())?;
    let begun = not_before(made.certificate_pem()).map_or(UNIX_EPOCH, |from| from + BACKDATED);
    let left = left_of(begun + LEAF_LIFETIME, clock);
    if let Some(left) = left.filter(|_| !force) {
        return Err(RotationError::NotLearned(left));
    }
    let since = clock.now().duration_since(UNIX_EPOCH).unwrap_or_default();
    write(&dir.join(SWITCHED), &since.as_secs().to_string(), 0o644)?;
    std::fs::rename(&next, dir.join(KEY)).map_err(file_error(&next))?;
    Ok(())
}

/// Whether [`retire`] would be taken.
///
/// # Errors
/// [`RotationError`].
pub fn may_retire(dir: &Path, clock: &WallClock, force: bool) -> Result<(), RotationError> {
    let switched = dir.join(SWITCHED);
    if !switched.exists() || dir.join(NEXT_KEY).exists() {
        return Err(RotationError::NotNow);
    }
    let since_s = read(&switched)?.trim().parse().unwrap_or(u64::MAX / 4);
    let over = UNIX_EPOCH + Duration::from_secs(since_s) + LEAF_LIFETIME + LATE_MAX;
    if let Some(left) = left_of(over, clock).filter(|_| !force) {
        return Err(RotationError::StillValid(left));
    }
    Ok(())
}

/// Takes the old CA away, from the brokers' next start on.
///
/// # Errors
/// [`RotationError`]; nothing has changed then.
pub fn retire(dir: &Path, clock: &WallClock, force: bool) -> Result<(), RotationError> {
    may_retire(dir, clock, force)?;
    let ca = Ca::ensure(dir, clock.clone())?;
    write(&dir.join(CA), ca.certificate_pem(), 0o644)?;
    for done in [CROSS, SWITCHED] {
        let path = dir.join(done);
        if path.exists() {
            std::fs::remove_file(&path).map_err(file_error(&path))?;
        }
    }
    Ok(())
}

fn left_of(until: SystemTime, clock: &WallClock) -> Option<Duration> {
    let left = until.duration_since(clock.now()).ok();
    left.filter(|left| !left.is_zero())
}
