//! Jobs in `/v1/sessions`: what is asked for becomes a spec with a pinned image, and lists are filtered.

use super::Api;
use super::caller::Caller;
use super::problem::{Refusal, bad_request, store_failed};
use super::registries::Asking;
use crate::access::Permission;
use crate::ledger::{OwnerId, Sealed};
use crate::rates::{self, Prices};
use crate::registry::{DEFAULT_TAG, RegistryError};
use crate::seal::ForNode;
use nearlight_kit::problem::ProblemResponse;
use nearlight_protocol::api::{CreateSession, SavesWish, Session, SessionKind};
use nearlight_protocol::id::{SessionId, UserId};
use nearlight_protocol::job::{ImageRef, JobSpec};
use nearlight_protocol::limits::JOB_ENTRIES_MAX;
use nearlight_protocol::problem::ProblemType;
use nearlight_protocol::work::{PullLogin, Secrets, Work};
use nearlight_session::bill::Rates;
use std::collections::BTreeSet;

impl Api {
    /// The job that is asked for, its image as it was named.
    pub(super) fn job_of(
        &self,
        caller: &Caller,
        spec: &JobSpec,
        body: &CreateSession,
    ) -> Result<Work, Refusal> {
        caller.check(Permission::StartJobs)?;
        no_apps_fields(body)?;
        if let Some(fault) = spec.fault() {
            return Err(bad_request(format!("job.{fault}.")));
        }
        not_yet(spec)?;
        self.check_regions(&spec.place.regions)?;
        check_names(&spec.secrets, &body.secrets)?;
        Ok(Work::Job(Box::new(spec.clone())))
    }

    /// A price cap needs prices, and one that no node can ever meet is said so at once.
    pub(super) async fn check_price(&self, spec: &JobSpec) -> Result<(), Refusal> {
        let Some(max) = spec.place.price_max else {
            return Ok(());
        };
        let rates = self.has_prices("job.place.price_max").await?;
        let least = rates::without_gpus(&rates, &spec.resources);
        if least > u64::from(max) {
            return Err(bad_request(format!(
                "job.place.price_max: {max} millionths a second are less than what the job costs \
                 anywhere; without GPUs that is {least}."
            )));
        }
        Ok(())
    }

    /// The rates in force, where a `field` caps what they come to.
    pub(super) async fn has_prices(&self, field: &str) -> Result<Rates, Refusal> {
        let prices = Prices::read(&self.ledger).await;
        let prices = prices.map_err(|e| store_failed(&e))?;
        let rates = prices.book.at(self.clock.unix_ms()).cloned();
        rates.ok_or_else(|| {
            bad_request(format!(
                "{field}: nothing has a price here, for the operator has no rate card; leave it out."
            ))
        })
    }

    /// What only the job's node gets, sealed.
    pub(super) fn sealed(&self, id: &SessionId, of: &ForNode) -> Result<Option<Sealed>, Refusal> {
        if of.is_empty() {
            return Ok(None);
        }
        let sealed = self.sealer.seal(id, of);
        Ok(Some(sealed.map_err(ProblemResponse::internal)?))
    }

    /// A reference that stands for one image for ever, and what it is pulled with. A digest needs no
    /// question, but of a registry for which somebody has a credential: nodes may have what it does not
    /// give to whoever asks.
    pub(super) async fn pinned(
        &self,
        (owner, user): (&OwnerId, &UserId),
        key: &str,
        image: &str,
    ) -> Result<(String, Option<PullLogin>), Refusal> {
        let parsed: ImageRef = image
            .parse()
            .map_err(|error| bad_request(format!("job.image: {error}.")))?;
        let Asking { login, is_guarded } = self.asking(owner, &parsed).await?;
        if parsed.digest().is_some() && !is_guarded {
            return Ok((image.to_owned(), login));
        }
        let asked = self.registries.digest(owner, &parsed, login.as_ref()).await;
        let found = match asked {
            Ok(_) if parsed.digest().is_some() => return Ok((image.to_owned(), login)),
            Ok(digest) => Ok(parsed.pinned(&digest)),
            Err(RegistryError::None) => match self.on_nodes(&parsed) {
                Some(pinned) => return Ok((pinned, None)),
                None => Err(format!(
                    "it names no registry, and no node that is attached lists `{parsed}`"
                )),
            },
            Err(error @ RegistryError::Busy) => {
                let said = format!("job.image: {error}.");
                let busy = ProblemResponse::new(ProblemType::TooManyRequests, said);
                return Err(busy.retry_after_s(1));
            }
            Err(error) => Err(error.to_string()),
        };
        match found {
            Ok(pinned) => {
                let pinned = pinned.map_err(ProblemResponse::internal)?;
                Ok((pinned.to_string(), login))
            }
            // Asked again with its key, it gets the session of then, whatever became of the tag.
            Err(_) if self.has_key(user, key).await? => Ok((image.to_owned(), None)),
            Err(why) if parsed.digest().is_some() => Err(bad_request(format!(
                "job.image: its registry does not give `{parsed}` to your tenant: {why}."
            ))),
            Err(why) => Err(bad_request(format!(
                "job.image: `{parsed}` cannot be pinned to a digest: {why}. Give the image as \
                 NAME@sha256:..., or a tag of a registry that answers."
            ))),
        }
    }

    pub(super) async fn has_key(&self, user: &UserId, key: &str) -> Result<bool, Refusal> {
        let known = self.ledger.has_key(user.clone(), key.to_owned()).await;
        known.map_err(|e| store_failed(&e))
    }

    /// An image that is built on nodes, by the id that most of them have under that name.
    fn on_nodes(&self, image: &ImageRef) -> Option<String> {
        let name = match image.tag() {
            Some(_) => image.to_string(),
            None => format!("{image}:{DEFAULT_TAG}"),
        };
        self.sessions.directory().built_image(&name)
    }

    fn check_regions(&self, regions: &[String]) -> Result<(), Refusal> {
        let seen = self.sessions.directory().regions();
        let is_known = |region: &&String| {
            seen.contains_key(*region)
                || self.nearness.regions().iter().any(|of| of.name == **region)
        };
        match regions.iter().find(|region| !is_known(region)) {
            Some(region) => Err(bad_request(format!(
                "job.place.regions: `{region}` is none of this broker's; GET /v1/regions lists them."
            ))),
            None => Ok(()),
        }
    }
}

/// What belongs to an app alone is a mistake beside a job.
fn no_apps_fields(body: &CreateSession) -> Result<(), Refusal> {
    let given = [
        ("display", body.display.is_some()),
        ("keyboard_layout", body.keyboard_layout.is_some()),
        ("saves", body.saves != SavesWish::default()),
        ("region", body.region.is_some()),
        ("price_max", body.price_max.is_some()),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some(("region", _)) => Err(bad_request("A job's regions are in `job.place.regions`.")),
        Some(("price_max", _)) => Err(bad_request(
            "What a job may cost a second is in `job.place.price_max`.",
        )),
        Some((name, _)) => Err(bad_request(format!(
            "`{name}` is of an app; a job has none."
        ))),
        None => Ok(()),
    }
}

/// What no broker carries out yet is refused, not ignored.
fn not_yet(spec: &JobSpec) -> Result<(), Refusal> {
    if spec.cluster.is_some() && !spec.volumes.is_empty() {
        return Err(bad_request(
            "job.volumes: one container has a volume at a time, so a cluster has none; leave them out.",
        ));
    }
    if spec.restart.elsewhere && spec.restart.max == 0 {
        return Err(bad_request(
            "job.restart.elsewhere: say in job.restart.max how many times at most.",
        ));
    }
    Ok(())
}

/// Each name has its value, and each value its name. No value is in what is said.
fn check_names(names: &[String], secrets: &Secrets) -> Result<(), Refusal> {
    let names: BTreeSet<&String> = names.iter().collect();
    if let Some(name) = names.iter().find(|name| !secrets.0.contains_key(**name)) {
        return Err(bad_request(format!(
            "`secrets` has no value for `{name}`, which `job.secrets` names."
        )));
    }
    if let Some(name) = secrets.0.keys().find(|name| !names.contains(name)) {
        return Err(bad_request(format!(
            "`secrets` has a value for `{name}`, which is not in `job.secrets`."
        )));
    }
    if let Some((name, _)) = secrets.0.iter().find(|(_, value)| value.contains('\0')) {
        return Err(bad_request(format!(
            "`secrets`: the value of `{name}` has a NUL character."
        )));
    }
    Ok(())
}

/// Which sessions of a list are asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    kind: Option<SessionKind>,
    labels: Vec<(String, String)>,
}

impl Wanted {
    /// `kind=job&label=customer=acme&label=...`.
    pub(super) fn of(query: &str) -> Result<Self, Refusal> {
        let mut wanted = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "kind" => {
                    wanted.kind = Some(match &*value {
                        "app" => SessionKind::App,
                        "job" => SessionKind::Job,
                        _ => return Err(bad_request("`kind` is `app` or `job`.")),
                    });
                }
                "label" => {
                    let label = value.split_once('=').ok_or_else(|| {
                        bad_request("`label` is NAME=VALUE, such as label=customer=acme.")
                    })?;
                    if wanted.labels.len() == JOB_ENTRIES_MAX {
                        return Err(bad_request("No job has so many labels."));
                    }
                    wanted.labels.push((label.0.to_owned(), label.1.to_owned()));
                }
                _ => {}
            }
        }
        Ok(wanted)
    }

    pub(super) fn has(&self, session: &Session) -> bool {
        let labelled = |(name, value): &(String, String)| session.labels.get(name) == Some(value);
        self.kind.is_none_or(|kind| session.kind == kind) && self.labels.iter().all(labelled)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_list_is_filtered_by_kind_and_labels() {
        let wanted = Wanted::of("kind=job&label=customer%3Dacme&label=a=b=c&x=y").unwrap();
        assert_eq!(wanted.kind, Some(SessionKind::Job));
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            wanted.labels,
            [label("customer", "acme"), label("a", "b=c")]
        );
        assert_eq!(Wanted::of("").unwrap(), Wanted::default());
        for wrong in ["kind=task", "kind=", "label=customer"] {
            assert!(Wanted::of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn each_secret_has_a_name_and_a_value() {
        let names = ["A".to_owned(), "B".to_owned()];
        let given = |names: &[&str]| {
            let all = names
                .iter()
                .map(|name| ((*name).to_owned(), "v".to_owned()));
            Secrets(all.collect())
        };
        assert!(check_names(&names, &given(&["A", "B"])).is_ok());
        assert!(check_names(&names, &given(&["A"])).is_err());
        assert!(check_names(&names, &given(&["A", "B", "C"])).is_err());
        let nul = Secrets([("A".to_owned(), "a\0".to_owned())].into());
        assert!(check_names(&names[..1], &nul).is_err());
    }
}
