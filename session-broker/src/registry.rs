//! What a tag stands for now: the digest of its manifest, asked of the image's registry.
//!
//! A tenant names the registry, so what is asked is little and what comes back is less: one manifest,
//! of which the SHA-256 is taken here. No redirect is followed.
//!
//! **Invariants.** Nothing with a private address is asked, unless the configuration names it: neither
//! the registry nor where that sends us for a token. The digest is that of the bytes that came, whatever
//! a header says. Every question has a deadline, and few are asked at a time.
//!
//! **What it does not know:** credentials, layers, nodes.

use nearlight_protocol::job::ImageRef;
use sha2::{Digest, Sha256};
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use ureq::http::{Response, StatusCode, Uri, header};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Body};

/// One answer; a manifest takes three of them at most.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Questions at a time: each has a thread.
const QUESTIONS_MAX: usize = 8;
/// A manifest at most (the OCI distribution specification asks registries for so much).
const MANIFEST_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// An answer with a token at most.
const TOKEN_BYTES_MAX: u64 = 64 * 1024;
/// The manifests that engines take, of one platform or of many.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";
/// Where Docker's own registry answers.
const DOCKER: (&str, &str) = ("docker.io", "registry-1.docker.io");
/// What a reference without a tag means.
pub(crate) const DEFAULT_TAG: &str = "latest";

/// Why a tag has no digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RegistryError {
    /// It names no registry.
    #[error("the image names no registry")]
    None,
    /// Too many ask.
    #[error("too many tags are being looked up; try again")]
    Busy,
    /// The registry has no such image, or not for everybody.
    #[error("the registry answers {0}")]
    Refused(u16),
    /// It did not answer, or not as a registry.
    #[error("the registry does not answer: {0}")]
    Silent(String),
}

/// Asks registries.
#[derive(Clone, Debug)]
pub(crate) struct Registries {
    agent: Agent,
    questions: Arc<Semaphore>,
    private: Arc<[String]>,
}

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
        let resolver = PublicOnly {
            private: private.clone(),
            system: DefaultResolver::default(),
        };
        Self {
            agent: Agent::with_parts(config, DefaultConnector::default(), resolver),
            questions: Arc::new(Semaphore::new(QUESTIONS_MAX)),
            private,
        }
    }

    /// The digest of the manifest that `image`'s tag stands for.
    pub(crate) async fn digest(&self, image: &ImageRef) -> Result<String, RegistryError> {
        let registry = image.registry().ok_or(RegistryError::None)?;
        let registry = if registry == DOCKER.0 {
            DOCKER.1
        } else {
            registry
        };
        let tag = image.tag().unwrap_or(DEFAULT_TAG);
        let scheme = match self.is_private(registry) && is_loopback(registry) {
            true => "http",
            false => "https",
        };
        let url = format!(
            "{scheme}://{registry}/v2/{}/manifests/{tag}",
            image.repository()
        );
        let turn = self.questions.clone().try_acquire_owned();
        let turn = turn.map_err(|_| RegistryError::Busy)?;
        let agent = self.agent.clone();
        let asked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            manifest_digest(&agent, &url)
        });
        asked.await.map_err(silent)?
    }

    fn is_private(&self, registry: &str) -> bool {
        self.private.iter().any(|name| name == registry)
    }
}

/// Registries on this machine speak plain HTTP, as engines have it.
fn is_loopback(registry: &str) -> bool {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn silent(error: impl ToString) -> RegistryError {
    RegistryError::Silent(error.to_string())
}

fn manifest_digest(agent: &Agent, url: &str) -> Result<String, RegistryError> {
    let mut answer = manifest(agent, url, None)?;
    if answer.status() == StatusCode::UNAUTHORIZED {
        let token = token(agent, &answer)?;
        answer = manifest(agent, url, Some(&token))?;
    }
    if answer.status() != StatusCode::OK {
        return Err(RegistryError::Refused(answer.status().as_u16()));
    }
    let body = read(answer, MANIFEST_BYTES_MAX)?;
    Ok(format!("sha256:{:x}", Sha256::digest(body)))
}

fn manifest(
    agent: &Agent,
    url: &str,
    token: Option<&str>,
) -> Result<Response<Body>, RegistryError> {
    let mut request = agent.get(url).header(header::ACCEPT, MANIFESTS);
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    request.call().map_err(silent)
}

/// A token for everybody, from where the registry says (the distribution project's token
/// specification).
fn token(agent: &Agent, refused: &Response<Body>) -> Result<String, RegistryError> {
    let unauthorized = || RegistryError::Refused(StatusCode::UNAUTHORIZED.as_u16());
    let challenge = refused.headers().get(header::WWW_AUTHENTICATE);
    let challenge = challenge.and_then(|value| value.to_str().ok());
    let challenge = Challenge::parse(challenge.ok_or_else(unauthorized)?);
    let challenge = challenge.ok_or_else(unauthorized)?;
    let mut request = agent.get(&challenge.realm);
    for (name, value) in [("service", challenge.service), ("scope", challenge.scope)] {
        if let Some(value) = value {
            request = request.query(name, value);
        }
    }
    let answer = request.call().map_err(silent)?;
    if answer.status() != StatusCode::OK {
        return Err(RegistryError::Refused(answer.status().as_u16()));
    }
    let body = read(answer, TOKEN_BYTES_MAX)?;
    let given: Given = serde_json::from_slice(&body).map_err(silent)?;
    given.token.or(given.access_token).ok_or_else(unauthorized)
}

#[derive(Debug, serde::Deserialize)]
struct Given {
    token: Option<String>,
    access_token: Option<String>,
}

/// Where a token is to be had.
#[derive(Debug, PartialEq, Eq)]
struct Challenge {
    realm: String,
    service: Option<String>,
    scope: Option<String>,
}

impl Challenge {
    /// `Bearer realm="...",service="...",scope="..."`.
    fn parse(text: &str) -> Option<Self> {
        let (scheme, mut rest) = text.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service, mut scope) = (None, None, None);
        while let Some((name, after)) = rest.split_once("=\"") {
            let (value, after) = after.split_once('"')?;
            let value = Some(value.to_owned());
            match name.trim_matches([' ', ',']) {
                "realm" => realm = value,
                "service" => service = value,
                "scope" => scope = value,
                _ => {}
            }
            rest = after;
        }
        Some(Self {
            realm: realm?,
            service,
            scope,
        })
    }
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

/// Resolves names to public addresses alone.
#[derive(Debug)]
struct PublicOnly {
    private: Arc<[String]>,
    system: DefaultResolver,
}

impl Resolver for PublicOnly {
    fn resolve(
        &self,
        uri: &Uri,
        config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.system.resolve(uri, config, timeout)?;
        let named = uri.authority().map_or("", |authority| authority.as_str());
        let may = self.private.iter().any(|name| name == named);
        match may || found.iter().all(|address| is_public(address.ip())) {
            true => Ok(found),
            false => Err(ureq::Error::HostNotFound),
        }
    }
}

fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => is_public_v4(ip),
            None => is_public_v6(ip),
        },
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let benchmark = a == 198 && (b == 18 || b == 19);
    let protocol = a == 192 && b == 0 && c == 0;
    !(ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_documentation()
        || a == 0
        || a >= 240
        || shared
        || benchmark
        || protocol)
}

/// Global unicast, without what only carries IPv4.
fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [first, second, ..] = ip.segments();
    let is_global = first & 0xe000 == 0x2000;
    let is_6to4 = first == 0x2002;
    let is_special = first == 0x2001 && second < 0x0200;
    let is_documentation = first == 0x2001 && second == 0x0db8;
    is_global && !is_6to4 && !is_special && !is_documentation
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn only_what_the_public_reaches_is_asked() {
        let public = |ip: &str| is_public(ip.parse().unwrap());
        for ip in ["1.1.1.1", "93.184.216.34", "2606:4700::1111"] {
            assert!(public(ip), "{ip}");
        }
        for ip in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "ff02::1",
        ] {
            assert!(!public(ip), "{ip}");
        }
    }

    #[test]
    fn a_challenge_says_where_a_token_is_to_be_had() {
        let text = "Bearer realm=\"https://auth.example/token\",service=\"registry.example\",\
                    scope=\"repository:a/b:pull\"";
        let expected = Challenge {
            realm: "https://auth.example/token".to_owned(),
            service: Some("registry.example".to_owned()),
            scope: Some("repository:a/b:pull".to_owned()),
        };
        assert_eq!(Challenge::parse(text), Some(expected));
        for none in [
            "Basic realm=\"x\"",
            "Bearer",
            "Bearer service=\"x\"",
            "Bearer realm=\"x",
        ] {
            assert_eq!(Challenge::parse(none), None, "{none}");
        }
    }

    #[tokio::test]
    async fn a_registry_at_a_private_address_is_not_asked_unless_it_is_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let image: ImageRef = format!("{at}/team/server:1").parse().unwrap();
        let error = Registries::new(&[]).digest(&image).await.unwrap_err();
        assert!(matches!(error, RegistryError::Silent(_)), "{error}");
        let asked = listener.accept().is_ok();
        assert!(!asked, "nobody dialled");
    }
}
