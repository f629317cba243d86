//! Which host is which session's.
//!
//! `ses-01kb….jobs.example.org` is the first port of `ses_01kb…`, `metrics--ses-01kb…` the one named
//! `metrics`. An underscore is none of a host name's letters (RFC 1123), so that a hyphen stands for it;
//! the underscore is taken as well.

use super::right::with_ticket;
use axum::http::uri::Authority;
use nearlight_protocol::id::SessionId;

/// Between a port's name and its session.
const BETWEEN: &str = "--";
/// A host name has 253, of which a port's and a session's names take up to 64.
const DOMAIN_BYTES_MAX: usize = 180;

/// Whether sessions can have their hosts below a name.
pub fn is_domain(name: &str) -> bool {
    let is_label = |label: &str| {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        (1..=63).contains(&label.len())
            && label.bytes().all(is_plain)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= DOMAIN_BYTES_MAX && name.split('.').all(is_label)
}

/// Where sessions have their hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// In lower case, without a port.
    domain: String,
    /// `None` for the scheme's own.
    port: Option<u16>,
    is_secure: bool,
}

/// What a host stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Whose it is.
    pub session: SessionId,
    /// Empty for the first.
    pub port: String,
}

impl Site {
    /// Hosts below `domain`, reached at `port`.
    pub fn new(domain: &str, port: u16, is_secure: bool) -> Self {
        let usual = if is_secure { 443 } else { 80 };
        Self {
            domain: domain.to_ascii_lowercase(),
            port: (port != usual).then_some(port),
            is_secure,
        }
    }

    /// Whether callers come over TLS.
    pub const fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// The scheme that callers use.
    pub const fn scheme(&self) -> &'static str {
        if self.is_secure { "https" } else { "http" }
    }

    /// Whether hosts of one may be the other's.
    pub fn overlaps(&self, other: &Self) -> bool {
        let is_below = |one: &str, other: &str| {
            let rest = one.strip_suffix(other);
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        // On one machine every port is a place of its own.
        let is_local = !self.is_secure && !other.is_secure && self.port != other.port;
        let is_either =
            is_below(&self.domain, &other.domain) || is_below(&other.domain, &self.domain);
        is_either && !is_local
    }

    /// The address of a session's port; empty for the first.
    pub fn url(&self, session: &SessionId, port: &str) -> String {
        let label = session.as_str().replace('_', "-");
        let of_port = match port {
            "" => String::new(),
            port => format!("{port}{BETWEEN}"),
        };
        let at = self
            .port
            .map_or_else(String::new, |port| format!(":{port}"));
        format!("{}://{of_port}{label}.{}{at}/", self.scheme(), self.domain)
    }

    /// The address that works once for a browser: of the first page that its ticket is for.
    pub fn url_once(
        &self,
        (session, port): (&SessionId, &str),
        path: &str,
        ticket: &str,
    ) -> String {
        let url = self.url(session, port);
        with_ticket(&format!("{url}{}", path.trim_start_matches('/')), ticket)
    }

    /// What a host stands for. Its port is the caller's own: a tunnel of theirs may have another.
    pub fn find(&self, host: &Authority) -> Option<Target> {
        if host.as_str().contains('@') {
            return None;
        }
        let host = host.host().to_ascii_lowercase();
        let label = host.strip_suffix(&self.domain)?.strip_suffix('.')?;
        let (port, session) = match label.rsplit_once(BETWEEN) {
            Some((port, session)) if !port.is_empty() => (port, session),
            Some(_) => return None,
            None => ("", label),
        };
        Some(Target {
            session: session.replacen('-', "_", 1).parse().ok()?,
            port: port.to_owned(),
        })
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn session() -> SessionId {
        SessionId::from_parts(1, [7; 10])
    }

    #[test]
    fn an_address_leads_back_to_its_session_and_port() {
        let secure = Site::new("Jobs.example.org", 443, true);
        let local = Site::new("localhost", 8081, false);
        for (site, port) in [
            (&secure, ""),
            (&secure, "a--b"),
            (&local, ""),
            (&local, "web"),
        ] {
            let url = site.url(&session(), port);
            let host = url.split("//").nth(1).unwrap().trim_end_matches('/');
            let found = site.find(&host.parse().unwrap()).unwrap();
            assert_eq!((found.session, found.port.as_str()), (session(), port));
        }
        let label = session().as_str().replace('_', "-");
        assert_eq!(
            secure.url(&session(), ""),
            format!("https://{label}.jobs.example.org/")
        );
        assert_eq!(
            local.url(&session(), "web"),
            format!("http://web--{label}.localhost:8081/")
        );
    }

    #[test]
    fn sites_that_share_hosts_overlap() {
        let site = |domain, port, secure| Site::new(domain, port, secure);
        let here = site("jobs.example.org", 443, true);
        assert!(here.overlaps(&site("JOBS.example.org", 8443, true)));
        assert!(here.overlaps(&site("a.jobs.example.org", 443, true)));
        assert!(here.overlaps(&site("example.org", 443, true)));
        assert!(!here.overlaps(&site("node-jobs.example.org", 443, true)));
        let local = site("localhost", 8081, false);
        assert!(local.overlaps(&site("localhost", 8081, false)));
        assert!(!local.overlaps(&site("localhost", 8082, false)));
    }

    #[test]
    fn a_domain_is_a_host_name() {
        for name in [
            "localhost",
            "jobs.example.org",
            "a-1.example",
            "Jobs.Example",
        ] {
            assert!(is_domain(name), "{name}");
        }
        let long = format!("{}.org", "a.".repeat(100));
        for name in [
            "", ".", "a..b", ".a", "a.", "-a", "a-.b", "a b", "a/b", "a:1", "a@b", &long,
        ] {
            assert!(!is_domain(name), "{name}");
        }
    }

    #[test]
    fn other_hosts_stand_for_nothing() {
        let site = Site::new("jobs.example.org", 443, true);
        let id = session();
        let label = id.as_str().replace('_', "-");
        let check = |host: &str, expected: bool| {
            let found = host.parse().ok().and_then(|host| site.find(&host));
            assert_eq!(found.is_some(), expected, "{host}");
        };
        check(&format!("{label}.jobs.example.org"), true);
        check(&format!("{label}.JOBS.example.org:8443"), true);
        check(&format!("{}.jobs.example.org", label.to_uppercase()), true);
        check(&format!("{id}.jobs.example.org"), true);
        for host in [
            "jobs.example.org".to_owned(),
            ".jobs.example.org".to_owned(),
            format!("{label}.jobs.example.org."),
            format!("{label}jobs.example.org"),
            format!("{label}.example.org"),
            format!("{label}.evil.org"),
            format!("a.{label}.jobs.example.org"),
            format!("--{label}.jobs.example.org"),
            format!("x@{label}.jobs.example.org"),
            format!("{label}x.jobs.example.org"),
            "ses-x.jobs.example.org".to_owned(),
            "127.0.0.1".to_owned(),
            "[::1]:80".to_owned(),
        ] {
            check(&host, false);
        }
    }
}
