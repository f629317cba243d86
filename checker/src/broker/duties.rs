//! What a member asks of its broker: to come in, what it is to do, and what it says of it.

use super::{ANSWER_BYTES_MAX, ANSWER_WITHIN, Broker, read};
use nearlight_protocol::checker::{
    Alive, AskAlive, BeaconRound, CHECKER_PLAYS_HEADER, CheckerAccount, CheckerCertificate,
    CheckerStanding, JoinChecker, JoinedChecker, MyAssignments, RenewChecker, Report,
};
use nearlight_protocol::id::NodeId;
use nearlight_protocol::problem::ProblemType;
use nearlight_protocol::prove::{CreateProbe, NewProbe};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// For the node's answer that it is there, and the way to it.
const ALIVE_WITHIN: Duration = Duration::from_secs(20);
/// Assignments of a standing, and every checker of a network.
const LONG_ANSWER_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Why a broker did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It says no, and why.
    #[error("{1}")]
    Said(ProblemType, String),
    /// It does not answer, or with something else than a broker does.
    #[error("{0}")]
    Away(String),
}

impl Refused {
    /// Whether asking again is of no use: the checker is not known, or not any more, or another copy of it runs.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Said(ProblemType::Forbidden | ProblemType::Unauthenticated, _)
        )
    }
}

impl Broker {
    /// Comes in.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn join(&self, asked: &JoinChecker) -> Result<JoinedChecker, Refused> {
        self.send("POST", "/v1/checkers", Some(asked), ANSWER_WITHIN)
    }

    /// The next certificate of the checker that is shown.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn renew(
        &self,
        asked: &RenewChecker,
        within: Duration,
    ) -> Result<CheckerCertificate, Refused> {
        let path = "/v1/checkers/me/certificate";
        self.send("POST", path, Some(asked), within)
    }

    /// What is due, once it is something else than `version`, or after so many seconds; streams as well if it `plays`.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn assignments(
        &self,
        instance: &str,
        (version, plays): (Option<&str>, bool),
        wait_s: u32,
    ) -> Result<MyAssignments, Refused> {
        let version = version.map_or_else(String::new, |of| format!("&version={of}"));
        let path =
            format!("/v1/checkers/me/assignments?instance={instance}&wait_s={wait_s}{version}");
        let within = ANSWER_WITHIN + Duration::from_secs(wait_s.into());
        let headers: &[(&str, &str)] = match plays {
            true => &[(CHECKER_PLAYS_HEADER, "streams")],
            false => &[],
        };
        let answer = self.send_with("GET", (&path, headers), None::<&()>, within)?;
        understood(&answer)
    }

    /// Says what came of an assignment.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn report(&self, instance: &str, said: &Report) -> Result<(), Refused> {
        let path = format!("/v1/checkers/me/reports?instance={instance}");
        self.send_only("POST", &path, Some(said), ANSWER_WITHIN)
            .map(drop)
    }

    /// This copy stops.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn release(&self, instance: &str) -> Result<(), Refused> {
        let path = format!("/v1/checkers/me/instance?instance={instance}");
        self.send_only("DELETE", &path, None::<&()>, ANSWER_WITHIN)
            .map(drop)
    }

    /// The checker's own standing.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn standing(&self) -> Result<CheckerStanding, Refused> {
        self.send("GET", "/v1/checkers/me", None::<&()>, ANSWER_WITHIN)
    }

    /// How its word compares with what its rounds came to, and what came of that.
    ///
    /// # Errors
    /// [`Refused`]; brokers of before do not know.
    pub fn account(&self) -> Result<CheckerAccount, Refused> {
        self.send("GET", "/v1/checkers/me/account", None::<&()>, ANSWER_WITHIN)
    }

    /// Asks a node whether it is there.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn alive(&self, node: &NodeId, asked: &AskAlive) -> Result<Alive, Refused> {
        let path = format!("/v1/nodes/{node}/alive");
        self.send("POST", &path, Some(asked), ALIVE_WITHIN)
    }

    /// A round of the network's chain.
    ///
    /// # Errors
    /// [`Refused`]; of a round that has not begun, and where there are none, `not-found`.
    pub fn round(&self, round: u64) -> Result<BeaconRound, Refused> {
        let path = format!("/v1/beacon/{round}");
        self.send("GET", &path, None::<&()>, ANSWER_WITHIN)
    }

    /// Opens a probe, as [`Broker::open`] does, and tells one refusal from another.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn begin(&self, wanted: &CreateProbe) -> Result<NewProbe, Refused> {
        let path = format!("/v1/probes?node={}", wanted.node);
        self.send("POST", &path, Some(wanted), ANSWER_WITHIN)
    }

    fn send<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: Option<&impl Serialize>,
        within: Duration,
    ) -> Result<T, Refused> {
        understood(&self.send_only(method, path, body, within)?)
    }

    fn send_only(
        &self,
        method: &str,
        path: &str,
        body: Option<&impl Serialize>,
        within: Duration,
    ) -> Result<Vec<u8>, Refused> {
        self.send_with(method, (path, &[]), body, within)
    }

    fn send_with(
        &self,
        method: &str,
        (path, headers): (&str, &[(&str, &str)]),
        body: Option<&impl Serialize>,
        within: Duration,
    ) -> Result<Vec<u8>, Refused> {
        let away = |error: ureq::Error| Refused::Away(error.to_string());
        let url = format!("{}{path}", self.url);
        let bytes = body.map_or_else(|| Ok(Vec::new()), serde_json::to_vec);
        let bytes = bytes.map_err(|error| Refused::Away(error.to_string()))?;
        self.count(bytes.len());
        let answer = match method {
            "GET" | "DELETE" => {
                let request = match method {
                    "GET" => self.agent().get(url),
                    _ => self.agent().delete(url),
                };
                let request = request.config().timeout_global(Some(within)).build();
                let with = |request: ureq::RequestBuilder<_>, (name, value): &(&str, &str)| {
                    request.header(*name, *value)
                };
                let request = headers.iter().fold(request, with);
                self.known(request).call()
            }
            _ => {
                let request = self
                    .agent()
                    .post(url)
                    .config()
                    .timeout_global(Some(within))
                    .build();
                self.known(request)
                    .header("Content-Type", "application/json")
                    .send(&bytes[..])
            }
        };
        let mut answer = answer.map_err(away)?;
        let is_done = answer.status().is_success();
        let most = if is_done {
            LONG_ANSWER_BYTES_MAX
        } else {
            ANSWER_BYTES_MAX
        };
        let read = read(&mut answer, most).map_err(|error| Refused::Away(error.to_string()))?;
        self.count(read.len());
        if is_done {
            return Ok(read);
        }
        Err(super::refused(&read))
    }
}

fn understood<T: DeserializeOwned>(answer: &[u8]) -> Result<T, Refused> {
    serde_json::from_slice(answer).map_err(|_| {
        let why = "the broker answers with something else than it should; it may be older than this checker";
        Refused::Away(why.to_owned())
    })
}
