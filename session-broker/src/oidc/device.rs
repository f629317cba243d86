//! A login that is finished in a browser elsewhere: the device authorization grant (RFC 8628).
//!
//! ```text
//!   begin: discovery -> device endpoint -> a code for the person, a code for the program
//!   poll: the program's code --token endpoint--> not yet | over | ID token --> who it is
//! ```
//!
//! **Invariants.** As for the other flow, but for the nonce: there is no attempt of a browser's. The ID token
//! comes from the provider itself, for a code that was made for us.
//!
//! **What it does not know:** how often the program asks; the provider minds that.

use super::{Discovered, Identified, OidcError, Provider, Tokens};
use nearlight_kit::room::Counted;
use serde::Deserialize;
use std::net::IpAddr;
use tokio::sync::SemaphorePermit;
use ureq::http::StatusCode;

/// RFC 8628 section 3.4.
const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// Where the provider does not say (section 3.2).
const INTERVAL_S: u32 = 5;
/// Longest text of a provider's that people read or type, bytes.
const TEXT_BYTES_MAX: usize = 2048;

/// The provider's answer to a login that begins (section 3.2).
#[derive(Debug, Deserialize)]
pub(crate) struct Begun {
    pub(crate) device_code: String,
    pub(crate) user_code: String,
    pub(crate) verification_uri: String,
    pub(crate) verification_uri_complete: Option<String>,
    pub(crate) expires_in: u32,
    #[serde(default = "interval")]
    pub(crate) interval: u32,
}

fn interval() -> u32 {
    INTERVAL_S
}

/// What became of a login.
#[derive(Debug)]
pub(crate) enum Polled {
    /// Nobody has agreed yet; if `slower`, the program asks too often.
    Pending {
        /// Whether to ask less often.
        slower: bool,
    },
    /// Somebody has.
    Identified(Identified),
    /// Somebody has refused.
    Denied,
    /// The code is over, or never was one.
    Expired,
}

/// The token endpoint's refusal (RFC 6749 section 5.2).
#[derive(Debug, Deserialize)]
struct Refusal {
    error: String,
}

/// Of an address, and of all who poll.
type PollTurn<'a> = (Counted, SemaphorePermit<'a>);

impl Provider {
    /// Begins a login. `None` if the provider has no such flow.
    pub(crate) async fn begin_device(&self) -> Result<Option<Begun>, OidcError> {
        let discovered = self.discovered().await?;
        let Some(at) = &discovered.device_authorization_endpoint else {
            return Ok(None);
        };
        let at = self.endpoint(at)?;
        let form = vec![("scope", self.settings.scopes.join(" "))];
        let (request, form) = self.as_client(&discovered, self.agent.post(at.as_str()), form);
        let begun: Begun = self.ask(move || request.send_form(form)).await?;
        self.endpoint(&begun.verification_uri)?;
        if let Some(complete) = &begun.verification_uri_complete {
            self.endpoint(complete)?;
        }
        if !begun.is_readable() {
            let wrong = "its device endpoint answers with what people cannot read";
            return Err(OidcError::Provider(wrong.to_owned()));
        }
        Ok(Some(begun))
    }

    /// Asks what became of a login, for a program at this address.
    pub(crate) async fn poll_device(
        &self,
        device_code: &str,
        from: IpAddr,
    ) -> Result<Polled, OidcError> {
        let _turn = self.poll_turn(from)?;
        let discovered = self.discovered().await?;
        let at = self.endpoint(&discovered.token_endpoint)?;
        let form = vec![
            ("grant_type", GRANT_TYPE.to_owned()),
            ("device_code", device_code.to_owned()),
        ];
        let (request, form) = self.as_client(&discovered, self.agent.post(at.as_str()), form);
        let (status, body) = self.answer(move || request.send_form(form)).await?;
        match read(status, &body)? {
            Ok(tokens) => self.identified(&discovered, &tokens).await,
            Err(polled) => Ok(polled),
        }
    }

    /// Those who poll have few of the questions, and one address has few of these.
    fn poll_turn(&self, from: IpAddr) -> Result<PollTurn<'_>, OidcError> {
        let counted = self.pollers.count(from).ok_or(OidcError::Busy)?;
        let turn = self.polls.try_acquire().map_err(|_| OidcError::Busy)?;
        Ok((counted, turn))
    }

    async fn identified(
        &self,
        discovered: &Discovered,
        tokens: &Tokens,
    ) -> Result<Polled, OidcError> {
        let claims = self.verified(discovered, tokens, None).await?;
        Ok(Polled::Identified(claims.identified()))
    }
}

impl Begun {
    /// Whether a terminal may show it.
    fn is_readable(&self) -> bool {
        let plain = |text: &str| text.len() <= TEXT_BYTES_MAX && !text.contains(char::is_control);
        let complete = self.verification_uri_complete.as_deref();
        plain(&self.user_code)
            && plain(&self.verification_uri)
            && complete.is_none_or(plain)
            && (1..=TEXT_BYTES_MAX).contains(&self.device_code.len())
    }
}

/// What the token endpoint says: tokens, or that there are none (section 3.5).
fn read(status: StatusCode, body: &[u8]) -> Result<Result<Tokens, Polled>, OidcError> {
    let garbled = |error: serde_json::Error| OidcError::Provider(format!("{status} {error}"));
    if status.is_success() {
        return serde_json::from_slice(body).map(Ok).map_err(garbled);
    }
    let refusal: Refusal = serde_json::from_slice(body).map_err(garbled)?;
    match refusal.error.as_str() {
        "authorization_pending" => Ok(Err(Polled::Pending { slower: false })),
        "slow_down" => Ok(Err(Polled::Pending { slower: true })),
        "access_denied" => Ok(Err(Polled::Denied)),
        // A code that was used, or made up, is an `invalid_grant`.
        "expired_token" | "invalid_grant" => Ok(Err(Polled::Expired)),
        other => {
            let other: String = other.chars().take(100).collect();
            Err(OidcError::Provider(format!("{status} {other}")))
        }
    }
}

#[cfg(test)]
mod test {
    use super::super::{POLLS_MAX, POLLS_OF_ONE_MAX, QUESTIONS_MAX};
    use super::*;
    use crate::config::OidcSettings;

    fn said(status: u16, body: &str) -> String {
        let status = StatusCode::from_u16(status).unwrap();
        match read(status, body.as_bytes()) {
            Ok(Ok(tokens)) => tokens.id_token,
            Ok(Err(polled)) => format!("{polled:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_token_endpoint_is_read_as_rfc_8628_has_it() {
        assert_eq!(said(200, r#"{"id_token":"e30","expires_in":1}"#), "e30");
        let refused = |error: &str| said(400, &format!(r#"{{"error":"{error}"}}"#));
        for (error, polled) in [
            ("authorization_pending", "Pending { slower: false }"),
            ("slow_down", "Pending { slower: true }"),
            ("access_denied", "Denied"),
            ("expired_token", "Expired"),
            ("invalid_grant", "Expired"),
        ] {
            assert_eq!(refused(error), polled);
        }
        for (status, body) in [
            (200, r#"{"access_token":"a"}"#),
            (400, r#"{"error":"invalid_client"}"#),
            (502, "<html>"),
        ] {
            let said = said(status, body);
            assert!(said.contains("does not answer"), "{said}");
        }
    }

    #[test]
    fn who_polls_has_few_turns_and_one_address_fewer() {
        let provider = Provider::new(OidcSettings {
            issuer: "https://idp.example".to_owned(),
            client_id: "us".to_owned(),
            client_secret: None,
            scopes: Vec::new(),
            public_url: None,
            login_days: 1,
            ca: None,
        });
        let from = |n: u8| IpAddr::from([192, 0, 2, n]);
        let turns = |n| -> Vec<_> {
            (0..9)
                .map_while(|_| provider.poll_turn(from(n)).ok())
                .collect()
        };
        let one = turns(1);
        assert_eq!(one.len(), POLLS_OF_ONE_MAX);
        let (other, none) = (turns(2), turns(3));
        assert_eq!((other.len(), none.len()), (POLLS_MAX - POLLS_OF_ONE_MAX, 0));
        assert_eq!(provider.questions.available_permits(), QUESTIONS_MAX);
        drop((one, other));
        assert_eq!(turns(3).len(), POLLS_OF_ONE_MAX);
    }

    #[test]
    fn a_terminal_is_shown_what_people_can_read() {
        let begun = |code: &str| Begun {
            device_code: "d".to_owned(),
            user_code: code.to_owned(),
            verification_uri: "https://idp.example/device".to_owned(),
            verification_uri_complete: None,
            expires_in: 600,
            interval: 5,
        };
        assert!(begun("ABCD-EFGH").is_readable());
        for odd in ["\u{1b}[2J", "A\nB", &"A".repeat(TEXT_BYTES_MAX + 1)] {
            assert!(!begun(odd).is_readable(), "{odd:?}");
        }
    }
}
