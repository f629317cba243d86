//! Where callers of jobs are taken, as an operator says it: a listener, a domain, a certificate.
//!
//! **Invariant.** Without a certificate only this machine reaches the listener.

use super::site::{Site, is_domain};
use serde::Serialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// What a browser resolves to loopback, with every name below it (RFC 6761 section 6.3).
const LOCAL: &str = "localhost";

/// What a file says.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Empty: there is no listener.
    pub listen: &'a str,
    /// Empty for what browsers resolve themselves.
    pub domain: &'a str,
    /// A PEM file, or nothing.
    pub cert: &'a Path,
    /// A PEM file, or nothing.
    pub key: &'a Path,
    /// 0 for the listener's own.
    pub public_port: u16,
}

/// Where callers are taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listen {
    /// The listener.
    pub listen: SocketAddr,
    /// The names of sessions are below it.
    pub domain: String,
    /// PEM files of a certificate and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// The port that callers use; `None` for the listener's own.
    pub public_port: Option<u16>,
}

/// What is wrong, and what to do: follows the name of the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// The address.
    Listen(String),
    /// The certificate.
    Cert(String),
    /// The domain.
    Domain(String),
}

impl Asked<'_> {
    /// Where callers are taken; `None` for nowhere.
    ///
    /// # Errors
    /// [`Wrong`], with what to do.
    pub fn checked(&self) -> Result<Option<Listen>, Wrong> {
        if self.listen.is_empty() {
            return Ok(None);
        }
        let listen: SocketAddr = self.listen.parse().map_err(|_| {
            let problem = format!("is `{}`; give an address such as 0.0.0.0:8444", self.listen);
            Wrong::Listen(problem)
        })?;
        let is_named = |path: &Path| !path.as_os_str().is_empty();
        if is_named(self.cert) != is_named(self.key) {
            return Err(Wrong::Cert(
                "needs its key beside it, or neither".to_owned(),
            ));
        }
        let certificate = is_named(self.cert).then(|| (self.cert.to_owned(), self.key.to_owned()));
        if certificate.is_none() && !listen.ip().is_loopback() {
            return Err(Wrong::Listen(format!(
                "is {listen}, which others can reach: plain http is for loopback only. Set cert and key, for a \
                 certificate of *.DOMAIN, or listen on 127.0.0.1"
            )));
        }
        let domain = match self.domain {
            "" if certificate.is_none() => LOCAL.to_owned(),
            "" => {
                let problem = "is missing; give the name below which sessions get theirs, such as jobs.example.org";
                return Err(Wrong::Domain(problem.to_owned()));
            }
            domain => domain.to_ascii_lowercase(),
        };
        if !is_domain(&domain) {
            let problem = format!("is `{domain}`; give a name such as jobs.example.org");
            return Err(Wrong::Domain(problem));
        }
        Ok(Some(Listen {
            listen,
            domain,
            certificate,
            public_port: (self.public_port != 0).then_some(self.public_port),
        }))
    }
}

impl Listen {
    /// The hosts of sessions, where the listener has this port.
    pub fn site(&self, bound: u16) -> Site {
        let port = self.public_port.unwrap_or(bound);
        Site::new(&self.domain, port, self.certificate.is_some())
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn checked(
        listen: &str,
        domain: &str,
        [cert, key]: [&str; 2],
    ) -> Result<Option<Listen>, Wrong> {
        let asked = Asked {
            listen,
            domain,
            cert: Path::new(cert),
            key: Path::new(key),
            public_port: 0,
        };
        asked.checked()
    }

    #[test]
    fn without_a_certificate_it_is_for_this_machine_alone() {
        assert_eq!(checked("", "", ["", ""]), Ok(None));
        let local = checked("127.0.0.1:8081", "", ["", ""]).unwrap().unwrap();
        assert_eq!(
            (local.domain.as_str(), local.certificate),
            ("localhost", None)
        );
        let files = ["c", "k"];
        let open = checked("0.0.0.0:443", "Jobs.example", files)
            .unwrap()
            .unwrap();
        assert_eq!(open.domain, "jobs.example");
        for (listen, domain, files, expected) in [
            ("here", "", ["", ""], "listen"),
            ("0.0.0.0:80", "jobs.example", ["", ""], "listen"),
            ("0.0.0.0:443", "jobs.example", ["c", ""], "cert"),
            ("0.0.0.0:443", "jobs.example", ["", "k"], "cert"),
            ("0.0.0.0:443", "", files, "domain"),
            ("0.0.0.0:443", "jobs..example", files, "domain"),
        ] {
            let found = match checked(listen, domain, files).unwrap_err() {
                Wrong::Listen(_) => "listen",
                Wrong::Cert(_) => "cert",
                Wrong::Domain(_) => "domain",
            };
            assert_eq!(found, expected, "{listen} {domain} {files:?}");
        }
    }
}
