//! An OpenID provider, which says who a player is: OpenID Connect Core 1.0, authorization code with
//! PKCE (RFC 7636).
//!
//! ```text
//!   begin: discovery -> where the browser goes, with state, nonce and challenge
//!   finish: code + verifier --token endpoint--> ID token --keys of jwks_uri--> who it is
//! ```
//!
//! [`device`] has the flow of programs.
//!
//! **Invariants.** An ID token is taken only if a key of the provider's signed it with an asymmetric
//! algorithm, for us (`aud`, `azp`), by the issuer that is configured, in time, and with the nonce of this
//! browser's own attempt. Every answer is bounded in size and time; redirects are not followed; of a
//! provider elsewhere everything comes over TLS.
//!
//! **What it does not know:** cookies, guests, the ledger.

use crate::config::OidcSettings;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use claims::Claims;
use jsonwebtoken::jwk::JwkSet;
use nearlight_kit::room::Addresses;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use ureq::http::{Response, StatusCode};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::typestate::WithBody;
use ureq::{Agent, Body, RequestBuilder};
use url::Url;

mod claims;
mod device;

pub(crate) use device::Polled;

/// For one answer of the provider.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Largest answer of the provider.
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;
/// Questions to the provider at a time. Each holds a thread.
const QUESTIONS_MAX: usize = 16;
/// Of these, those of programs that poll; and of one address.
const POLLS_MAX: usize = 4;
const POLLS_OF_ONE_MAX: usize = 2;
/// For how long its documents are believed.
const DOCUMENTS_FRESH: Duration = Duration::from_secs(3600);
/// An unknown key makes us look again, but not more often than that.
const KEYS_AGAIN: Duration = Duration::from_secs(10);

/// Why nobody was identified.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OidcError {
    /// The provider did not answer, or not as one does.
    #[error("the provider does not answer: {0}")]
    Provider(String),
    /// Too many log in at this moment.
    #[error("too many log in at this moment")]
    Busy,
    /// The ID token is not one for us.
    #[error("the ID token is not taken: {0}")]
    Token(String),
}

/// What a browser keeps between leaving for the provider and coming back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// Comes back in the address.
    pub(crate) state: String,
    /// Comes back in the ID token.
    pub(crate) nonce: String,
    /// Proves to the token endpoint that the code is ours (PKCE).
    pub(crate) verifier: String,
}

impl Attempt {
    pub(crate) fn new() -> Self {
        let chance = || URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        Self {
            state: chance(),
            nonce: chance(),
            verifier: chance(),
        }
    }

    fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(self.verifier.as_bytes()))
    }
}

/// Who it is, as the provider says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identified {
    /// The provider.
    pub(crate) issuer: String,
    /// The provider's name for them, which never changes.
    pub(crate) subject: String,
    /// Their name for people.
    pub(crate) name: String,
}

/// The provider's own description, as far as we need it (OpenID Connect Discovery 1.0).
#[derive(Clone, Debug, Deserialize)]
struct Discovered {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    device_authorization_endpoint: Option<String>,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Tokens {
    id_token: String,
}

#[derive(Debug, Default)]
struct Documents {
    discovered: Option<(Instant, Arc<Discovered>)>,
    keys: Option<(Instant, Arc<JwkSet>)>,
}

/// A provider.
#[derive(Debug)]
pub(crate) struct Provider {
    settings: OidcSettings,
    agent: Agent,
    questions: Semaphore,
    polls: Semaphore,
    pollers: Addresses,
    /// Held for a look-up, never across an await.
    documents: Mutex<Documents>,
}

impl Provider {
    pub(crate) fn new(settings: OidcSettings) -> Self {
        let roots = match &settings.ca {
            Some(ca) => {
                let certificate = |der: &Vec<u8>| Certificate::from_der(der).to_owned();
                let certificates: Vec<_> = ca.iter().map(certificate).collect();
                RootCerts::new_with_certs(&certificates)
            }
            None => RootCerts::WebPki,
        };
        let tls = TlsConfig::builder().root_certs(roots).build();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(ANSWER_WITHIN))
            .tls_config(tls)
            .build();
        Self {
            settings,
            agent: config.into(),
            questions: Semaphore::new(QUESTIONS_MAX),
            polls: Semaphore::new(POLLS_MAX),
            pollers: Addresses::new(POLLS_OF_ONE_MAX),
            documents: Mutex::default(),
        }
    }

    pub(crate) fn settings(&self) -> &OidcSettings {
        &self.settings
    }

    /// Where a browser goes to be identified.
    pub(crate) async fn begin(
        &self,
        attempt: &Attempt,
        redirect: &str,
    ) -> Result<String, OidcError> {
        let discovered = self.discovered().await?;
        let mut at = self.endpoint(&discovered.authorization_endpoint)?;
        at.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", redirect)
            .append_pair("scope", &self.settings.scopes.join(" "))
            .append_pair("state", &attempt.state)
            .append_pair("nonce", &attempt.nonce)
            .append_pair("code_challenge", &attempt.challenge())
            .append_pair("code_challenge_method", "S256");
        Ok(at.into())
    }

    /// Who came back with `code`.
    pub(crate) async fn finish(
        &self,
        attempt: &Attempt,
        redirect: &str,
        code: &str,
    ) -> Result<Identified, OidcError> {
        let discovered = self.discovered().await?;
        let tokens = self.exchange(&discovered, attempt, redirect, code).await?;
        let nonce = Some(attempt.nonce.as_str());
        let claims = self.verified(&discovered, &tokens, nonce).await?;
        Ok(claims.identified())
    }

    /// The claims of the ID token, if it is one for us, with this nonce where there has to be one.
    async fn verified(
        &self,
        discovered: &Discovered,
        tokens: &Tokens,
        nonce: Option<&str>,
    ) -> Result<Claims, OidcError> {
        let keys = self.keys(discovered, false).await?;
        let verify =
            |keys: &JwkSet| Claims::verified(&tokens.id_token, keys, &self.settings, nonce);
        let verified = match verify(&keys) {
            // The provider may have a new key since.
            Err(claims::Refused::UnknownKey) => verify(&*self.keys(discovered, true).await?),
            other => other,
        };
        verified.map_err(|refused| OidcError::Token(refused.to_string()))
    }

    async fn exchange(
        &self,
        discovered: &Discovered,
        attempt: &Attempt,
        redirect: &str,
        code: &str,
    ) -> Result<Tokens, OidcError> {
        let at = self.endpoint(&discovered.token_endpoint)?;
        let form = vec![
            ("grant_type", "authorization_code".to_owned()),
            ("code", code.to_owned()),
            ("redirect_uri", redirect.to_owned()),
            ("code_verifier", attempt.verifier.clone()),
        ];
        let (request, form) = self.as_client(discovered, self.agent.post(at.as_str()), form);
        self.ask(move || request.send_form(form)).await
    }

    /// A request that says that it is ours, as the provider takes it.
    fn as_client(
        &self,
        discovered: &Discovered,
        request: RequestBuilder<WithBody>,
        mut form: Vec<(&'static str, String)>,
    ) -> (RequestBuilder<WithBody>, Vec<(&'static str, String)>) {
        let mut request = request.header("Accept", "application/json");
        let methods = &discovered.token_endpoint_auth_methods_supported;
        // Without a list it is the first (Discovery, section 3).
        let basic = methods.is_empty() || methods.iter().any(|m| m == "client_secret_basic");
        match &self.settings.client_secret {
            Some(secret) if basic => {
                let pair = [&self.settings.client_id, secret].map(|text| form_encoded(text));
                let pair = STANDARD.encode(pair.join(":"));
                request = request.header("Authorization", format!("Basic {pair}"));
            }
            Some(secret) => {
                form.push(("client_id", self.settings.client_id.clone()));
                form.push(("client_secret", secret.clone()));
            }
            None => form.push(("client_id", self.settings.client_id.clone())),
        }
        (request, form)
    }

    async fn discovered(&self) -> Result<Arc<Discovered>, OidcError> {
        let cached = self.documents().discovered.clone();
        if let Some((at, discovered)) = cached
            && at.elapsed() < DOCUMENTS_FRESH
        {
            return Ok(discovered);
        }
        let issuer = self.settings.issuer.trim_end_matches('/');
        let at = format!("{issuer}/.well-known/openid-configuration");
        let request = self.agent.get(&at);
        let found: Discovered = self.ask(move || request.call()).await?;
        if found.issuer != self.settings.issuer {
            return Err(OidcError::Provider(format!(
                "it calls itself `{}`; set oidc.issuer to that, if it is right",
                found.issuer
            )));
        }
        let found = Arc::new(found);
        self.documents().discovered = Some((Instant::now(), found.clone()));
        Ok(found)
    }

    async fn keys(&self, discovered: &Discovered, again: bool) -> Result<Arc<JwkSet>, OidcError> {
        let fresh = if again { KEYS_AGAIN } else { DOCUMENTS_FRESH };
        let cached = self.documents().keys.clone();
        if let Some((at, keys)) = cached
            && at.elapsed() < fresh
        {
            return Ok(keys);
        }
        let request = self
            .agent
            .get(self.endpoint(&discovered.jwks_uri)?.as_str());
        // A key that cannot be read is no reason to know none.
        let found: claims::LooseKeys = self.ask(move || request.call()).await?;
        let found = Arc::new(found.known());
        self.documents().keys = Some((Instant::now(), found.clone()));
        Ok(found)
    }

    /// An address that the provider named.
    fn endpoint(&self, text: &str) -> Result<Url, OidcError> {
        let wrong = || OidcError::Provider(format!("`{text}` is no address of its"));
        let url = Url::parse(text).map_err(|_| wrong())?;
        let secure = url.scheme() == "https" || self.settings.issuer.starts_with("http://");
        (secure && url.has_host()).then_some(url).ok_or_else(wrong)
    }

    /// Asks, and reads the JSON of what is no refusal.
    async fn ask<T: DeserializeOwned>(
        &self,
        call: impl FnOnce() -> Result<Response<Body>, ureq::Error> + Send + 'static,
    ) -> Result<T, OidcError> {
        let (status, body) = self.answer(call).await?;
        if !status.is_success() {
            let words = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
            return Err(OidcError::Provider(format!("{status} {words}")));
        }
        serde_json::from_slice(&body).map_err(|error| OidcError::Provider(error.to_string()))
    }

    /// Asks on a thread that may wait.
    async fn answer(
        &self,
        call: impl FnOnce() -> Result<Response<Body>, ureq::Error> + Send + 'static,
    ) -> Result<(StatusCode, Vec<u8>), OidcError> {
        let _turn = self.questions.try_acquire().map_err(|_| OidcError::Busy)?;
        let asked = tokio::task::spawn_blocking(move || {
            let answer = call().map_err(|error| error.to_string())?;
            let status = answer.status();
            let mut body = Vec::new();
            let mut reader = answer.into_body().into_reader().take(ANSWER_BYTES_MAX);
            let read = reader.read_to_end(&mut body);
            read.map_err(|error| error.to_string())?;
            Ok((status, body))
        });
        asked
            .await
            .map_err(|error| OidcError::Provider(error.to_string()))?
            .map_err(OidcError::Provider)
    }

    fn documents(&self) -> std::sync::MutexGuard<'_, Documents> {
        self.documents
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// As a form has it (RFC 6749 section 2.3.1).
fn form_encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
