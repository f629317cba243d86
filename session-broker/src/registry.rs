//! What a tag stands for now: the digest of its manifest, asked of the image's registry, as whoever
//! starts the job.
//!
//! A tenant names the registry, so what is asked is little and what comes back is less: one manifest,
//! of which the SHA-256 is taken here; and, where a tenant wants signed images, their signatures
//! (`signature`, `bundle`). No redirect is followed, but once that of a signature.
//!
//! **Invariants.** Nothing with a private address is asked, unless the configuration names it: neither
//! the registry nor where that sends us for a token. A credential goes to the registry that it is for,
//! and to where that sends us for a token, over TLS alone; in the clear only to a registry on this
//! machine that the configuration names. The digest is that of the bytes that came, whatever a header
//! says. Every question has a deadline, and few are asked at a time.
//!
//! **What it does not know:** whose credential it is, layers, nodes.

use crate::ledger::OwnerId;
use crate::outward::Outward;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nearlight_protocol::job::ImageRef;
use nearlight_protocol::work::PullLogin;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::io::Read;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use ureq::http::{Response, StatusCode, Uri, header};
use ureq::typestate::WithoutBody;
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, Body, RequestBuilder};

mod bundle;
mod challenge;
#[cfg(test)]
mod lies;
mod signature;

use challenge::{Challenge, TokenAt};
pub(crate) use signature::{ImageKey, NotAKey};

/// One answer; a manifest takes three of them at most.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// All answers to one question: of signatures there are many.
const QUESTION_WITHIN: Duration = Duration::from_secs(20);
/// Questions at a time: each has a thread.
const QUESTIONS_MAX: usize = 16;
/// Those of one owner: whoever names registries that are slow holds up nobody else.
const QUESTIONS_OF_ONE_MAX: usize = 4;
/// The same, once half of all are taken: nor do a few of them.
const QUESTIONS_OF_ONE_THEN: usize = 2;
/// A manifest at most (the OCI distribution specification asks registries for so much).
const MANIFEST_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// An answer with a token at most.
const TOKEN_BYTES_MAX: u64 = 64 * 1024;
/// The manifests that engines take, of one platform or of many.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";
/// A list of manifests.
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Where Docker's own registry answers.
const DOCKER: (&[&str], &str) = (&["docker.io", "index.docker.io"], "registry-1.docker.io");
/// What a reference without a tag means.
pub(crate) const DEFAULT_TAG: &str = "latest";

/// What cosign signs at most.
const PAYLOAD_BYTES_MAX: u64 = 64 * 1024;

/// Why a tag has no digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RegistryError {
    /// It names no registry.
    #[error("the image names no registry")]
    None,
    /// Too many ask.
    #[error("too many tags are being looked up; try again")]
    Busy,
    /// The registry has no such image, or not for whoever asks.
    #[error("the registry answers {}{}", .0, after_status(*.0))]
    Refused(u16),
    /// It did not answer, or not as a registry.
    #[error("the registry does not answer: {0}")]
    Silent(String),
    /// A credential would go out in the clear.
    #[error("the registry asks for a login in the clear, at an address without https")]
    Clear,
    /// What it says is another image than it was asked for.
    #[error("the registry answers with another image than its digest names")]
    Other,
}

const fn after_status(status: u16) -> &'static str {
    match status {
        401 | 403 => "; log in to it with `nearlight registry login`",
        _ => "",
    }
}

/// Asks registries.
#[derive(Clone, Debug)]
pub(crate) struct Registries {
    agent: Agent,
    questions: Arc<Semaphore>,
    /// Of each owner who has some under way.
    of_owners: Arc<Mutex<HashMap<OwnerId, Arc<Semaphore>>>>,
    private: Arc<[String]>,
}

/// A question's turn: its owner's, and everybody's.
type Asking = (OwnedSemaphorePermit, OwnedSemaphorePermit);

impl Registries {
    /// Those with a public address, and `private` ones, `HOST` or `HOST:PORT`.
    pub(crate) fn new(private: &[String]) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(ANSWER_WITHIN))
            .max_redirects(0)
            .proxy(None)
            .build();
        let private: Arc<[String]> = private.into();
        let resolver = Outward::new(private.clone(), Arc::default());
        Self {
            agent: Agent::with_parts(config, DefaultConnector::default(), resolver),
            questions: Arc::new(Semaphore::new(QUESTIONS_MAX)),
            of_owners: Arc::default(),
            private,
        }
    }

    /// The digest of the manifest that `image` stands for, as `login` sees it: of its tag, or its own
    /// if it has one and the registry gives that image to whoever asks.
    pub(crate) async fn digest(
        &self,
        owner: &OwnerId,
        image: &ImageRef,
        login: Option<&PullLogin>,
    ) -> Result<String, RegistryError> {
        let mut visit = self.visit(image, login.cloned())?;
        let named = image.digest().map(str::to_owned);
        let tag = image.tag().unwrap_or(DEFAULT_TAG);
        let what = named.clone().unwrap_or_else(|| tag.to_owned());
        let turn = self.turn(owner)?;
        let asked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            visit.manifest(&what).map(|body| digest_of(&body))
        });
        let found = asked.await.map_err(silent)??;
        match named {
            Some(named) if named != found => Err(RegistryError::Other),
            Some(_) | None => Ok(found),
        }
    }

    /// Whether the image of this digest has a signature of `key` beside it.
    pub(crate) async fn is_signed(
        &self,
        owner: &OwnerId,
        (image, digest): (&ImageRef, &str),
        login: Option<&PullLogin>,
        key: &ImageKey,
    ) -> Result<bool, RegistryError> {
        let mut visit = self.visit(image, login.cloned())?;
        let (digest, key) = (digest.to_owned(), key.clone());
        let turn = self.turn(owner)?;
        let asked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            Ok(visit.has_bundle(&digest, &key)? || visit.has_signature(&digest, &key)?)
        });
        asked.await.map_err(silent)?
    }

    fn turn(&self, owner: &OwnerId) -> Result<Asking, RegistryError> {
        let own = {
            let all = self.of_owners.lock();
            let mut all = all.unwrap_or_else(PoisonError::into_inner);
            // Each that is under way has its semaphore.
            all.retain(|_, own| Arc::strong_count(own) > 1);
            let own = || Arc::new(Semaphore::new(QUESTIONS_OF_ONE_MAX));
            all.entry(owner.clone()).or_insert_with(own).clone()
        };
        let taken = QUESTIONS_OF_ONE_MAX - own.available_permits();
        if taken >= QUESTIONS_OF_ONE_THEN && self.questions.available_permits() <= QUESTIONS_MAX / 2
        {
            return Err(RegistryError::Busy);
        }
        let own = own.try_acquire_owned();
        let all = self.questions.clone().try_acquire_owned();
        match (own, all) {
            (Ok(own), Ok(all)) => Ok((own, all)),
            (Err(_), _) | (_, Err(_)) => Err(RegistryError::Busy),
        }
    }

    fn visit(&self, image: &ImageRef, login: Option<PullLogin>) -> Result<Visit, RegistryError> {
        let named = image.registry().ok_or(RegistryError::None)?;
        let registry = match DOCKER.0.contains(&named) {
            true => DOCKER.1,
            false => named,
        };
        let scheme = match self.is_private(registry) && is_loopback(registry) {
            true => "http",
            false => "https",
        };
        Ok(Visit {
            agent: self.agent.clone(),
            url: format!("{scheme}://{registry}/v2/{}", image.repository()),
            private: self.private.clone(),
            login,
            authorization: None,
            until: Instant::now() + QUESTION_WITHIN,
        })
    }

    fn is_private(&self, registry: &str) -> bool {
        self.private.iter().any(|name| name == registry)
    }
}

fn digest_of(body: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(body))
}

/// Registries on this machine speak plain HTTP, as engines have it.
fn is_loopback(registry: &str) -> bool {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn silent(error: impl ToString) -> RegistryError {
    RegistryError::Silent(error.to_string())
}

/// One repository of a registry, and who asks.
struct Visit {
    agent: Agent,
    /// Of the repository.
    url: String,
    private: Arc<[String]>,
    login: Option<PullLogin>,
    /// What the registry wanted to hear.
    authorization: Option<String>,
    /// Nothing is waited for from then on.
    until: Instant,
}

impl Visit {
    /// A manifest by tag or digest.
    fn manifest(&mut self, what: &str) -> Result<Vec<u8>, RegistryError> {
        let answer = self.get(&format!("manifests/{what}"), MANIFESTS)?;
        read(answer, MANIFEST_BYTES_MAX)
    }

    /// Whether one of the bundles that refer to the image signs it.
    fn has_bundle(&mut self, digest: &str, key: &ImageKey) -> Result<bool, RegistryError> {
        // A registry that does not know the question says so in many ways.
        let listed = match self.get(&format!("referrers/{digest}"), INDEX) {
            Ok(answer) => Some(read(answer, MANIFEST_BYTES_MAX)?),
            Err(RegistryError::Refused(_)) => self.there(&bundle::tag_of(digest))?,
            Err(error) => return Err(error),
        };
        for referrer in bundle::referrers(&listed.unwrap_or_default()) {
            self.within()?;
            // One that cannot be had is no signature; another one may be.
            let Ok(Some(manifest)) = self.there(&referrer) else {
                continue;
            };
            for blob in bundle::bundles(&manifest) {
                let fetched = self.blob(&blob).ok();
                let fetched = fetched.filter(|bytes| digest_of(bytes) == blob);
                if fetched.is_some_and(|bytes| bundle::signs(&bytes, digest, key)) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Whether the image has a signature beside it, as older cosigns make them.
    fn has_signature(&mut self, digest: &str, key: &ImageKey) -> Result<bool, RegistryError> {
        let Some(manifest) = self.there(&signature::tag_of(digest))? else {
            return Ok(false);
        };
        let fetch = |blob: &str| self.blob(blob).ok();
        let is_signed = signature::is_signed(&manifest, digest, key, fetch);
        // Some may not have been looked at.
        match is_signed {
            true => Ok(true),
            false => self.within().map(|_| false),
        }
    }

    /// A manifest, if there is one.
    fn there(&mut self, what: &str) -> Result<Option<Vec<u8>>, RegistryError> {
        match self.manifest(what) {
            Ok(manifest) => Ok(Some(manifest)),
            Err(RegistryError::Refused(404)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A small blob. Registries keep these elsewhere and send us there: once, without what we said to them.
    fn blob(&mut self, digest: &str) -> Result<Vec<u8>, RegistryError> {
        let answer = self.answer(&format!("blobs/{digest}"), "*/*")?;
        let elsewhere = answer.headers().get(header::LOCATION);
        let elsewhere = elsewhere.and_then(|at| at.to_str().ok()).map(str::to_owned);
        let answer = match elsewhere.filter(|_| answer.status().is_redirection()) {
            Some(at) if at.starts_with("https://") => self.call(self.agent.get(at))?,
            Some(_) | None => answer,
        };
        match answer.status() {
            StatusCode::OK => read(answer, PAYLOAD_BYTES_MAX),
            status => Err(RegistryError::Refused(status.as_u16())),
        }
    }

    fn get(&mut self, path: &str, accept: &str) -> Result<Response<Body>, RegistryError> {
        let answer = self.answer(path, accept)?;
        match answer.status() {
            StatusCode::OK => Ok(answer),
            status => Err(RegistryError::Refused(status.as_u16())),
        }
    }

    fn answer(&mut self, path: &str, accept: &str) -> Result<Response<Body>, RegistryError> {
        let mut answer = self.ask(path, accept)?;
        if answer.status() == StatusCode::UNAUTHORIZED && self.authorization.is_none() {
            self.authorization = Some(self.authorize(&answer)?);
            answer = self.ask(path, accept)?;
        }
        Ok(answer)
    }

    fn ask(&self, path: &str, accept: &str) -> Result<Response<Body>, RegistryError> {
        let request = self.agent.get(format!("{}/{path}", self.url));
        let mut request = request.header(header::ACCEPT, accept);
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        self.call(request)
    }

    /// Waits for an answer, as long as there is time for it.
    fn call(&self, request: RequestBuilder<WithoutBody>) -> Result<Response<Body>, RegistryError> {
        let within = self.within()?.min(ANSWER_WITHIN);
        let request = request.config().timeout_global(Some(within)).build();
        request.call().map_err(silent)
    }

    /// The time that is left.
    fn within(&self) -> Result<Duration, RegistryError> {
        let left = self.until.saturating_duration_since(Instant::now());
        let slow = || silent("it is slow, and there is much to ask it");
        (!left.is_zero()).then_some(left).ok_or_else(slow)
    }

    /// What the registry wants to hear after it refused: a token from where it says (the distribution
    /// project's token specification), or the login itself.
    fn authorize(&self, refused: &Response<Body>) -> Result<String, RegistryError> {
        let unauthorized = || RegistryError::Refused(StatusCode::UNAUTHORIZED.as_u16());
        let challenge = refused.headers().get(header::WWW_AUTHENTICATE);
        let challenge = challenge.and_then(|value| value.to_str().ok());
        match Challenge::parse(challenge.ok_or_else(unauthorized)?) {
            Some(Challenge::Basic) => self.basic(&self.url)?.ok_or_else(unauthorized),
            Some(Challenge::Bearer(at)) => self.token(&at),
            None => Err(unauthorized()),
        }
    }

    fn token(&self, at: &TokenAt) -> Result<String, RegistryError> {
        let unauthorized = || RegistryError::Refused(StatusCode::UNAUTHORIZED.as_u16());
        let mut request = self.agent.get(&at.realm);
        for (name, value) in [("service", &at.service), ("scope", &at.scope)] {
            if let Some(value) = value {
                request = request.query(name, value);
            }
        }
        if let Some(basic) = self.basic(&at.realm)? {
            request = request.header(header::AUTHORIZATION, basic);
        }
        let answer = self.call(request)?;
        if answer.status() != StatusCode::OK {
            return Err(RegistryError::Refused(answer.status().as_u16()));
        }
        let body = read(answer, TOKEN_BYTES_MAX)?;
        let given: Given = serde_json::from_slice(&body).map_err(silent)?;
        let token = given.token.or(given.access_token);
        Ok(format!("Bearer {}", token.ok_or_else(unauthorized)?))
    }

    /// The login for `url`, if there is one: no wire without TLS carries it, but one on this machine
    /// that the configuration names.
    fn basic(&self, url: &str) -> Result<Option<String>, RegistryError> {
        let Some(login) = &self.login else {
            return Ok(None);
        };
        let uri: Uri = url.parse().map_err(silent)?;
        let at = uri.authority().map_or("", |authority| authority.as_str());
        let is_ours = is_loopback(at) && self.private.iter().any(|name| name == at);
        if uri.scheme_str() != Some("https") && !is_ours {
            return Err(RegistryError::Clear);
        }
        let both = format!("{}:{}", login.username, login.password);
        Ok(Some(format!("Basic {}", STANDARD.encode(both))))
    }
}

#[derive(Debug, serde::Deserialize)]
struct Given {
    token: Option<String>,
    access_token: Option<String>,
}

fn read(answer: Response<Body>, most: u64) -> Result<Vec<u8>, RegistryError> {
    let mut body = Vec::new();
    let mut reader = answer.into_body().into_reader().take(most + 1);
    reader.read_to_end(&mut body).map_err(silent)?;
    if body.len() as u64 > most {
        return Err(silent("its answer is too long"));
    }
    Ok(body)
}

#[cfg(test)]
mod test;
