//! One POST to an endpoint that a tenant named.

use super::signature::Signed;
use crate::outward::Outward;
use nearlight_kit::network::{Network, is_public};
use nearlight_protocol::plain::is_plain_text;
use nearlight_protocol::webhook::WEBHOOK_URL_BYTES_MAX;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use ureq::Agent;
use ureq::http::header;
use ureq::unversioned::transport::DefaultConnector;
use url::{Host, Url};

/// From the look-up of the name to the answer's head.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Posts.
#[derive(Clone, Debug)]
pub(crate) struct Poster {
    agent: Agent,
    pub(crate) networks: Arc<[Network]>,
}

impl Poster {
    /// To public addresses, and to those of `networks`.
    pub(crate) fn new(networks: Arc<[Network]>) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(ANSWER_WITHIN))
            .max_redirects(0)
            .max_idle_connections(0)
            .user_agent("nearlight-webhooks")
            .proxy(None)
            .build();
        let resolver = Outward::new(Arc::default(), networks.clone());
        Self {
            agent: Agent::with_parts(config, DefaultConnector::default(), resolver),
            networks,
        }
    }

    /// Posts; whatever is not 2xx is said in words. The answer's body is not read.
    pub(super) async fn post(&self, url: &str, of: Signed, body: String) -> Result<(), String> {
        // As it was understood: another parser may read the text otherwise.
        let url = checked_url(url, &self.networks)?;
        let request = self
            .agent
            .post(url.as_str())
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-id", of.id)
            .header("webhook-timestamp", of.timestamp)
            .header("webhook-signature", of.signature);
        let sent = tokio::task::spawn_blocking(move || request.send(body)).await;
        let answer = sent
            .map_err(|error| error.to_string())?
            .map_err(|error| match error {
                ureq::Error::HostNotFound => {
                    "its name has no address, or one that is not public".to_owned()
                }
                other => other.to_string(),
            })?;
        let status = answer.status();
        match status.is_success() {
            true => Ok(()),
            false if status.is_redirection() => Err(format!(
                "it answered {}, and no redirect is followed",
                status.as_u16()
            )),
            false => Err(format!("it answered {}", status.as_u16())),
        }
    }
}

/// Where an endpoint is, if one can be there. Names are resolved when there is something to post.
///
/// # Errors
/// What to do.
pub(crate) fn checked_url(text: &str, networks: &[Network]) -> Result<Url, String> {
    let wrong = |what: &str| Err(format!("`url` {what}"));
    if !is_plain_text(text, WEBHOOK_URL_BYTES_MAX) {
        return wrong("is plain text of up to 2048 bytes.");
    }
    let Ok(url) = Url::parse(text) else {
        return wrong("is none; it looks like https://example.org/hooks.");
    };
    let has_login = !url.username().is_empty() || url.password().is_some();
    if has_login || url.fragment().is_some() {
        return wrong("has neither a login nor a fragment.");
    }
    let ip: Option<IpAddr> = match url.host() {
        Some(Host::Ipv4(ip)) => Some(ip.into()),
        Some(Host::Ipv6(ip)) => Some(ip.into()),
        Some(Host::Domain(_)) => None,
        None => return wrong("has no host."),
    };
    let is_allowed = ip.is_some_and(|ip| networks.iter().any(|network| network.has(ip)));
    if ip.is_some_and(|ip| !is_public(ip)) && !is_allowed {
        return wrong("has an address that is not public, and none that the operator allows.");
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_allowed => Ok(url),
        _ => wrong("is https."),
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn an_endpoint_is_https_or_where_the_operator_allows_it() {
        let networks = ["10.2.0.0/16".parse().unwrap()];
        let good = |url: &str| checked_url(url, &networks).is_ok();
        for url in [
            "https://example.org/hooks?x=1",
            "https://93.184.216.34/",
            "http://10.2.0.1:8080/x",
        ] {
            assert!(good(url), "{url}");
        }
        for url in [
            "http://example.org/",
            "http://10.9.0.1/",
            "https://10.9.0.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://%31%32%37.0.0.1/",
            "https:127.0.0.1",
            "https://[::ffff:169.254.169.254]/",
            "http://10.2.0.1.example.org/",
            "ftp://10.2.0.1/",
            "https://a:b@example.org/",
            "https://example.org/#x",
            "example.org",
            "",
            "file:///etc/passwd",
        ] {
            assert!(!good(url), "{url}");
        }
    }

    #[test]
    fn what_is_posted_to_is_what_was_understood() {
        let url = |text: &str| checked_url(text, &[]).map(String::from);
        let expected = Ok("https://hooks.example/x".to_owned());
        for text in [
            "https:hooks.example/x",
            "https:\\\\hooks.example\\x",
            "https://HOOKS.example/a/../x",
            "https://hooks%2Eexample/x",
        ] {
            assert_eq!(url(text), expected, "{text}");
        }
    }

    #[tokio::test]
    async fn nothing_is_posted_to_an_address_that_is_not_public() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let poster = Poster::new(Arc::default());
        for host in [
            "127.0.0.1",
            "localhost",
            "localhost.",
            "[::ffff:127.0.0.1]",
            "2130706433",
            "%31%32%37.0.0.1",
        ] {
            let signed = Signed::new("msg_1", 0, "{}", &[]);
            let url = format!("https://{host}:{port}/");
            let refused = poster
                .post(&url, signed, "{}".to_owned())
                .await
                .unwrap_err();
            assert!(refused.contains("not public"), "{host}: {refused}");
        }
        let dialled = listener.accept().is_ok();
        assert!(!dialled, "nobody dialled");
    }
}
