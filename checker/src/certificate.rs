//! The checker's certificate: what it shows the broker's listener for nodes and checkers, instead of a secret.
//!
//! ```text
//!   join --token, request--> certificate, a day --from two thirds of it on: shown--> the next one …
//!                                `-- over, within 90 days --proof of its key--> the next one
//! ```
//!
//! **Owns** the directory `tls` beside the checker's key: `checker.pem`, key and certificate in one file that its owner alone
//! reads, and `ca.pem`, whom to believe.
//!
//! **Invariants.** The key is for TLS alone, is made here and never leaves; the key that signs receipts is never shown to TLS.
//! What is kept works: a certificate replaces the one before in one step, and only if it is for this checker, for the key
//! that it was asked for, of the CA that comes with it, and holds now.
//!
//! **What it does not know:** when anybody looks ([`crate::run`] does, all the time).

use crate::broker::{Broker, Refused};
use crate::failure::Failure;
use crate::member::Network;
use nearlight_kit::clock::WallClock;
use nearlight_kit::enrol::{EnrolError, broker_name, renew_late};
use nearlight_kit::pki::{
    AnswerError, Credentials, Issued, LATE_MAX, PendingKey, PkiError, checker_of,
};
use nearlight_protocol::checker::{CheckerCertificate, RenewChecker};
use nearlight_protocol::problem::ProblemType;
use nearlight_protocol::unit::rfc3339;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The directory in the checker's own.
const DIR: &str = "tls";
/// The identity in it.
const NAME: &str = "checker";
/// For the next one, while the present one holds: the broker is asked what is due again before it takes this copy for dead.
const WITHIN: Duration = Duration::from_secs(20);
/// Seconds in a day.
const DAY_S: u64 = 24 * 3600;

/// Where it is.
#[must_use]
pub fn dir(data: &Path) -> PathBuf {
    data.join(DIR)
}

/// A new key for TLS, and the request to have it certified.
///
/// # Errors
/// [`Failure::Certificate`].
pub fn request() -> Result<(PendingKey, String), Failure> {
    let key = PendingKey::generate().map_err(unusable)?;
    let request = key.request().map_err(unusable)?;
    Ok((key, request))
}

/// Keeps what a broker gave the checker of this key.
///
/// # Errors
/// [`Failure::Certificate`] of one that is not what was asked for.
pub fn keep(
    data: &Path,
    key: &PendingKey,
    given: &CheckerCertificate,
    key_id: &str,
) -> Result<(), Failure> {
    let issued = key.accept(&given.certificate, &given.ca, &WallClock::system());
    let issued = issued.map_err(|error| Failure::Certificate(said(&error)))?;
    let of = checker_of(&issued.spiffe);
    if of.is_none_or(|of| of.key_id() != key_id) {
        let error = AnswerError::OtherName(issued.spiffe);
        return Err(Failure::Certificate(error.to_string()));
    }
    save(data, &issued)
}

fn save(data: &Path, issued: &Issued) -> Result<(), Failure> {
    issued.save(&dir(data), NAME).map_err(unusable)
}

/// The certificate of this directory, whether it holds or not.
///
/// # Errors
/// [`Failure::NoCertificate`], [`Failure::Certificate`].
pub fn load(data: &Path) -> Result<Credentials, Failure> {
    // What is written last.
    if !dir(data).join("checker.pem").exists() {
        return Err(Failure::NoCertificate(data.to_owned()));
    }
    Credentials::load(&dir(data), NAME).map_err(unusable)
}

/// The certificate and its key, and whom to believe, both in PEM.
///
/// # Errors
/// Those of [`load`].
pub(crate) fn pem(data: &Path) -> Result<[String; 2], Failure> {
    // What no TLS would take is found here.
    let checked = load(data)?.client_config(&WallClock::system());
    checked.map_err(unusable)?;
    let read = |name: &str| {
        let path = dir(data).join(name);
        std::fs::read_to_string(&path).map_err(|source| Failure::File { path, source })
    };
    Ok([read("checker.pem")?, read("ca.pem")?])
}

/// Why there is no next one.
#[derive(Debug)]
pub enum NoRenewal {
    /// Asking again is of no use.
    Final(String),
    /// It may be, later.
    Later(String),
}

/// Has it renewed, by showing it; or at the listener's door by proof of its key, if it is over or is not taken.
///
/// # Errors
/// [`NoRenewal`].
pub fn renew(
    (data, network): (&Path, &mut Network),
    broker: &Broker,
    addresses: &[String],
) -> Result<Credentials, NoRenewal> {
    let later = |error: Failure| NoRenewal::Later(error.to_string());
    let shown = load(data).map_err(later)?;
    let mut why = None;
    let holds = !shown.validity.is_over(SystemTime::now());
    let until = holds.then(|| Instant::now() + WITHIN);
    if holds {
        match renew_shown(data, network, broker, &shown) {
            Ok(()) => return load(data).map_err(later),
            Err(error @ NoRenewal::Final(_)) => return Err(error),
            // Clocks differ, and by the broker's it is over.
            Err(NoRenewal::Later(error)) => why = Some(error),
        }
    }
    let renewed = renew_ended((data, &shown), addresses, until);
    renewed.map_err(|late| match (late, why) {
        (NoRenewal::Later(late), Some(why)) => NoRenewal::Later(format!("{why}; {late}")),
        // No broker takes one that is so old: this says what to do.
        (NoRenewal::Later(late), None) => match told(&shown, SystemTime::now()) {
            Ok(_) => NoRenewal::Later(late),
            Err(why) => NoRenewal::Final(why),
        },
        (late, _) => late,
    })?;
    load(data).map_err(later)
}

fn renew_shown(
    data: &Path,
    network: &mut Network,
    broker: &Broker,
    shown: &Credentials,
) -> Result<(), NoRenewal> {
    let later = |error: Failure| NoRenewal::Later(error.to_string());
    let (key, request) = request().map_err(later)?;
    let given = broker
        .renew(&RenewChecker { request }, WITHIN / 2)
        .map_err(|error| match error {
            Refused::Said(ProblemType::Forbidden | ProblemType::Unauthenticated, why) => {
                NoRenewal::Final(why)
            }
            error => NoRenewal::Later(error.to_string()),
        })?;
    let name = checker_of(&shown.spiffe);
    let key_id = name.as_ref().map_or("", |of| of.key_id());
    keep(data, &key, &given, key_id).map_err(later)?;
    // The listener may have moved.
    if network.addresses != given.addresses {
        network.addresses = given.addresses;
        network.save(data).map_err(later)?;
    }
    Ok(())
}

/// Until then at the latest, if there is a time.
fn renew_ended(
    (data, shown): (&Path, &Credentials),
    addresses: &[String],
    until: Option<Instant>,
) -> Result<(), NoRenewal> {
    let later = |error: &dyn std::fmt::Display| NoRenewal::Later(error.to_string());
    let (key, _) = request().map_err(|error| later(&error))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| later(&error))?;
    let (name, clock) = (broker_name(), WallClock::system());
    let mut last = NoRenewal::Later("nobody has said where the broker's listener is".to_owned());
    for address in addresses {
        let asked = Box::pin(renew_late(address, &name, shown, &key, &clock));
        let answered = runtime.block_on(async {
            let Some(until) = until else {
                return asked.await;
            };
            let answered = tokio::time::timeout_at(until.into(), asked).await;
            let late = |_| EnrolError::Late {
                address: address.clone(),
            };
            answered.map_err(late)?
        });
        match answered {
            Ok(issued) => return save(data, &issued).map_err(|error| later(&error)),
            // Whatever else it refuses may pass, or another broker takes it.
            Err(error) if error.problem() == Some(ProblemType::Forbidden) => {
                return Err(NoRenewal::Final(said(&error)));
            }
            Err(error) => last = NoRenewal::Later(said(&error)),
        }
    }
    Err(last)
}

/// What there is to know of it, and to do; an error if nothing but another token helps.
///
/// # Errors
/// What to do about one that is of no use any more.
pub fn told(of: &Credentials, now: SystemTime) -> Result<String, String> {
    let (end, renews) = (of.validity.not_after, of.renew_at(0.0));
    let (ends, from) = (at(end), at(renews));
    if now > end + LATE_MAX {
        return Err(format!(
            "the certificate ended {ends}, more than {} days ago; come in with a new token of `nearlight checker admit`: \
             `checker join`",
            LATE_MAX.as_secs() / DAY_S
        ));
    }
    Ok(if now > end {
        format!(
            "the certificate ended {ends}; `checker run` renews it by its key, without a token, until {}",
            at(end + LATE_MAX)
        )
    } else if now > of.renew_at(1.0) {
        format!(
            "the certificate holds until {ends}, and was to be renewed from {from} on: is `checker run` at work, and does it \
             reach the broker?"
        )
    } else {
        format!("the certificate holds until {ends}; `checker run` renews it from {from} on")
    })
}

fn at(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    rfc3339(since.as_secs().saturating_mul(1000))
}

fn unusable(error: PkiError) -> Failure {
    Failure::Certificate(said(&error))
}

/// An error with what it comes from.
fn said(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let all: Vec<String> = causes.map(ToString::to_string).collect();
    all.join(": ")
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_kit::pki::{Ca, CheckerName, Identity, SigningRequest};
    use nearlight_protocol::id::KeyId;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    const KEY: &str = "abababababababababababababababababababababababababababababababab";

    fn given(ca: &Ca, request: &str, identity: Identity) -> CheckerCertificate {
        let request = SigningRequest::parse(request).unwrap();
        CheckerCertificate {
            certificate: ca.certify(&request, identity).unwrap(),
            ca: ca.bundle().to_owned(),
            addresses: Vec::new(),
        }
    }

    fn identity() -> Identity {
        let name = CheckerName::new(KEY, KeyId::from_parts(1, [2; 10]));
        Identity::checker(&name.unwrap())
    }

    #[test]
    fn what_is_kept_is_this_checkers_and_for_its_owner_alone() {
        let (data, pki) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert!(matches!(load(data.path()), Err(Failure::NoCertificate(_))));
        let ca = Ca::ensure(pki.path(), WallClock::system()).unwrap();
        let (key, request) = request().unwrap();
        let node = Identity::node(&nearlight_kit::ids::node());
        for wrong in [node, Identity::default()] {
            let wrong = ca.certify(&SigningRequest::parse(&request).unwrap(), wrong);
            let Ok(certificate) = wrong else { continue };
            let wrong = CheckerCertificate {
                certificate,
                ..given(&ca, &request, identity())
            };
            let refused = keep(data.path(), &key, &wrong, KEY);
            assert!(
                matches!(refused, Err(Failure::Certificate(_))),
                "{refused:?}"
            );
        }
        let right = given(&ca, &request, identity());
        assert!(keep(data.path(), &key, &right, &"cd".repeat(32)).is_err());
        assert!(!dir(data.path()).exists(), "nothing of them was kept");
        keep(data.path(), &key, &right, KEY).unwrap();
        let mode = std::fs::metadata(dir(data.path()).join("checker.pem"));
        assert_eq!(mode.unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(load(data.path()).unwrap().spiffe, identity().spiffe);
    }

    #[test]
    fn it_is_told_when_it_ends_and_what_to_do() {
        let (data, pki) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let ca = Ca::ensure(pki.path(), WallClock::system()).unwrap();
        let (key, request) = request().unwrap();
        keep(data.path(), &key, &given(&ca, &request, identity()), KEY).unwrap();
        let shown = load(data.path()).unwrap();
        let check = |hours: u64, expected: &str| {
            let now = SystemTime::now() + Duration::from_secs(hours * 3600);
            let told = told(&shown, now).unwrap_or_else(|why| format!("unfit: {why}"));
            assert!(told.contains(expected), "{told}");
        };
        check(0, "`checker run` renews it from ");
        check(20, "is `checker run` at work");
        check(25, "by its key, without a token, until ");
        check(91 * 24 + 25, "unfit: the certificate ended ");
        check(91 * 24 + 25, "`checker join`");
    }
}
