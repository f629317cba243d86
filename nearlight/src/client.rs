//! The broker's HTTP API, as the commands use it: blocking, JSON in and out, problems as errors.

use crate::cli::Broker;
use crate::profile::{ProfileError, Profiles};
use crate::target::{self, Target};
use nearlight_protocol::inside::ARCHIVE_TYPE;
use nearlight_protocol::problem::Problem;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;
use std::time::Duration;
use ureq::http::Response;
use ureq::{Agent, Body, SendBody};

/// Where `nearlight up` keeps everything unless it is told otherwise.
pub(crate) const DEFAULT_DATA: &str = "data";
/// How long an answer may take. The event stream may last: its pings keep it alive.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a node looks through a tree, or writes the last of one.
const COPY_TIMEOUT: Duration = Duration::from_secs(180);
/// A silent event stream is dead after this; the broker pings every 15 s.
const EVENT_TIMEOUT: Duration = Duration::from_secs(45);

/// Why the broker's answer is not what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// It says why.
    #[error("{}: {}", .0.title, .0.detail)]
    Problem(Box<Problem>),
    /// It answered with something else.
    #[error("{url} answered {status} and not as a Nearlight broker; check --url")]
    Foreign {
        /// What was asked.
        url: String,
        /// The status.
        status: u16,
    },
    /// It did not answer.
    #[error(
        "cannot reach the broker at {url}; is it running? Start one with `nearlight up`{}",
        of_another_scheme(url, source)
    )]
    Unreachable {
        /// What was asked.
        url: String,
        /// Why.
        #[source]
        source: Box<ureq::Error>,
    },
    /// The connection broke.
    #[error("the connection to the broker broke")]
    Broken(#[source] io::Error),
    /// The address is none.
    #[error("`{0}` is not the address of a broker; it looks like http://127.0.0.1:8080")]
    BadUrl(String),
    /// The key is none.
    #[error(
        "the API key has a character that no key has, such as a space or a line end; look at --token, NEARLIGHT_TOKEN, or where else it comes from"
    )]
    BadKey,
    /// A profile was named, and the address of another broker.
    #[error(
        "the profile is for {of}, and --url or NEARLIGHT_URL names {named}; leave one of the two out"
    )]
    ProfileElsewhere {
        /// Where the profile's broker is.
        of: String,
        /// The other one.
        named: String,
    },
    /// The profiles.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// No key.
    #[error(
        "no API key: log in with `nearlight login`, give --token or NEARLIGHT_TOKEN, or --data with the data directory of a `nearlight up` (no {})",
        .0.display()
    )]
    NoKey(PathBuf),
}

impl ClientError {
    /// Whether the broker was asked too often, and said nothing else of what it was asked.
    pub(crate) fn is_of_haste(&self) -> bool {
        matches!(self, Self::Problem(problem) if problem.status == 429)
    }

    /// Whether the broker knows nothing of what was asked for.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Problem(problem) if problem.status == 404)
    }

    /// Whether what was asked for may have been done all the same.
    pub(crate) fn leaves_open(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Broken(_) => true,
            Self::Foreign { status, .. } => *status >= 500 || (200..300).contains(status),
            Self::Problem(problem) => problem.status >= 500,
            Self::BadUrl(_)
            | Self::BadKey
            | Self::ProfileElsewhere { .. }
            | Self::Profile(_)
            | Self::NoKey(_) => false,
        }
    }
}

/// What to say where whoever answers at an https address does not speak TLS.
fn of_another_scheme(url: &str, error: &ureq::Error) -> &'static str {
    // As rustls words it, whichever error carries it.
    let plain = error.to_string().contains("corrupt message");
    match url.starts_with("https://") && plain {
        true => ". What answers there speaks http: try the address with http://",
        false => "",
    }
}

/// One broker and a key for it.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    url: String,
    key: String,
}

impl Client {
    /// A client for the broker that the command line or the environment names, a profile's otherwise,
    /// or that of the `nearlight up` under the data directory.
    pub fn new(broker: &Broker) -> Result<Self, ClientError> {
        let target = Target::of(broker, &Profiles::load()?)?;
        match target.key.is_empty() {
            true => Err(ClientError::NoKey(target::data_of(broker).join("dev.key"))),
            false => Ok(Self::with_key(&target.url, &target.key)),
        }
    }

    /// The same for what anybody may ask: without a key where there is none.
    pub fn for_anyone(broker: &Broker) -> Result<Self, ClientError> {
        match Target::of(broker, &Profiles::load()?) {
            Ok(target) => Ok(Self::with_key(&target.url, &target.key)),
            // Whose key it is does not matter where none is needed.
            Err(ClientError::Profile(ProfileError::Several { url, .. })) => {
                Ok(Self::of_nobody(&url))
            }
            Err(error) => Err(error),
        }
    }

    /// A client for the broker at `url` with this key.
    pub fn with_key(url: &str, key: &str) -> Self {
        let config = Agent::config_builder().http_status_as_error(false).build();
        Self {
            agent: config.into(),
            url: url.trim_end_matches('/').to_owned(),
            key: key.trim().to_owned(),
        }
    }

    /// A client for the broker at `url` that says nothing of who asks.
    pub(crate) fn of_nobody(url: &str) -> Self {
        Self::with_key(url, "")
    }

    /// The URL of `path`.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// GET.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let request = self.asked(self.agent.get(self.url(path)));
        self.json(path, request.call())
    }

    /// The bytes of a GET, at most `most` of them.
    pub(crate) fn bytes(&self, path: &str, most: u64) -> Result<Vec<u8>, ClientError> {
        let request = self.asked(self.agent.get(self.url(path)));
        let answer = self.success(path, request.call())?;
        let status = answer.status().as_u16();
        let mut bytes = Vec::new();
        let mut reader = answer
            .into_body()
            .into_reader()
            .take(most.saturating_add(1));
        reader
            .read_to_end(&mut bytes)
            .map_err(ClientError::Broken)?;
        match bytes.len() as u64 > most {
            true => Err(self.foreign(path, status)),
            false => Ok(bytes),
        }
    }

    /// POST.
    pub fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.post_as(nearlight_kit::ids::request().as_str(), path, body)
    }

    /// POST of what is done once for its Idempotency-Key, or for an id in its body, however often it is asked for:
    /// asked for once more where no answer came, or one that does not know.
    pub fn post_once<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.post_once_as(nearlight_kit::ids::request().as_str(), path, body)
    }

    /// The same with an Idempotency-Key that the caller knows.
    pub(crate) fn post_once_as<T: DeserializeOwned>(
        &self,
        key: &str,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        match self.post_as(key, path, body) {
            Err(error) if error.leaves_open() => self.post_as(key, path, body),
            outcome => outcome,
        }
    }

    /// POST with that Idempotency-Key, asked for once.
    pub(crate) fn post_as<T: DeserializeOwned>(
        &self,
        key: &str,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let request = self.agent.post(self.url(path));
        let request = self.asked(request.header("Idempotency-Key", key));
        self.json(path, request.send_json(body))
    }

    /// POST without a body; that of the answer is not read.
    pub fn order(&self, path: &str) -> Result<(), ClientError> {
        let request = self.asked(self.agent.post(self.url(path)));
        self.success(path, request.send_empty()).map(drop)
    }

    /// POST of what is not answered with anything.
    pub fn order_with(&self, path: &str, body: &impl Serialize) -> Result<(), ClientError> {
        let request = self.asked(self.agent.post(self.url(path)));
        self.success(path, request.send_json(body)).map(drop)
    }

    /// PUT.
    pub fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let request = self.asked(self.agent.put(self.url(path)));
        self.json(path, request.send_json(body))
    }

    /// PATCH of what is said; what is left out stays.
    pub fn patch<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let request = self.asked(self.agent.patch(self.url(path)));
        self.json(path, request.send_json(body))
    }

    /// PUT of what is not answered with anything.
    pub fn put_order(&self, path: &str, body: &impl Serialize) -> Result<(), ClientError> {
        let request = self.asked(self.agent.put(self.url(path)));
        self.success(path, request.send_json(body)).map(drop)
    }

    /// PUT of bytes.
    pub fn put_bytes(&self, path: &str, bytes: &[u8]) -> Result<(), ClientError> {
        let request = self.asked(self.agent.put(self.url(path)));
        let request = request.header("Content-Type", "application/octet-stream");
        self.success(path, request.send(bytes)).map(drop)
    }

    /// DELETE; the answer's body is not read.
    pub fn delete(&self, path: &str) -> Result<(), ClientError> {
        let request = self.asked(self.agent.delete(self.url(path)));
        self.success(path, request.call()).map(drop)
    }

    /// Removes what `path` names; what the broker says of it.
    pub(crate) fn delete_for<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let request = self.asked(self.agent.delete(self.url(path)));
        self.json(path, request.call())
    }

    /// A request as the caller, to be answered in time.
    fn asked<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        let request = match self.key.is_empty() {
            true => request,
            false => request.header("Authorization", self.bearer()),
        };
        request
            .config()
            .timeout_global(Some(ANSWER_TIMEOUT))
            .build()
    }

    /// The `data` of each server-sent event of `path`, until `each` has seen enough.
    pub fn events<T: DeserializeOwned>(
        &self,
        path: &str,
        mut each: impl FnMut(T) -> std::ops::ControlFlow<()>,
    ) -> Result<(), ClientError> {
        let request = self
            .agent
            .get(self.url(path))
            .header("Authorization", self.bearer())
            .header("Accept", "text/event-stream");
        let answer = request
            .config()
            .timeout_per_read(Some(EVENT_TIMEOUT))
            .build()
            .call();
        let answer = self.success(path, answer)?;
        for line in BufReader::new(answer.into_body().into_reader()).lines() {
            let line = line.map_err(ClientError::Broken)?;
            let Some(data) = line.strip_prefix("data:") else {
                continue;
            };
            let event = serde_json::from_str(data).map_err(|_| self.foreign(path, 200))?;
            if each(event).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The body of a GET that may go on for long: it is dead after 45 s of silence.
    pub(crate) fn stream(&self, path: &str) -> Result<impl Read + use<>, ClientError> {
        let request = self.agent.get(self.url(path));
        let request = request.header("Authorization", self.bearer());
        let answer = request
            .config()
            .timeout_per_read(Some(EVENT_TIMEOUT))
            .build()
            .call();
        let answer = self.success(path, answer)?;
        Ok(answer.into_body().into_reader())
    }

    /// The body of a GET, and its length where that is said.
    pub(crate) fn download(
        &self,
        path: &str,
    ) -> Result<(impl Read + use<>, Option<u64>), ClientError> {
        let request = self.agent.get(self.url(path));
        let request = request.header("Authorization", self.bearer());
        let answer = request
            .config()
            .timeout_recv_response(Some(COPY_TIMEOUT))
            .build()
            .call();
        let answer = self.success(path, answer)?;
        let length = answer.headers().get("content-length");
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        Ok((answer.into_body().into_reader(), length))
    }

    /// PUT of an archive, `length` bytes where that is known.
    pub(crate) fn upload<T: DeserializeOwned>(
        &self,
        path: &str,
        mut body: impl Read,
        length: Option<u64>,
    ) -> Result<T, ClientError> {
        let request = self.agent.put(self.url(path));
        let mut request = request
            .header("Authorization", self.bearer())
            .header("Content-Type", ARCHIVE_TYPE);
        if let Some(length) = length {
            request = request.header("Content-Length", length.to_string());
        }
        let request = request
            .config()
            .timeout_recv_response(Some(COPY_TIMEOUT))
            .build();
        match request.send(SendBody::from_reader(&mut body)) {
            // It was reached, and went away in between.
            Err(ureq::Error::Io(error))
                if matches!(
                    error.kind(),
                    io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
                ) =>
            {
                Err(ClientError::Broken(error))
            }
            answer => self.json(path, answer),
        }
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.key)
    }

    fn json<T: DeserializeOwned>(
        &self,
        path: &str,
        answer: Result<Response<Body>, ureq::Error>,
    ) -> Result<T, ClientError> {
        let answer = self.success(path, answer)?;
        let status = answer.status().as_u16();
        let reader = answer.into_body().into_reader();
        serde_json::from_reader(reader).map_err(|_| self.foreign(path, status))
    }

    fn success(
        &self,
        path: &str,
        answer: Result<Response<Body>, ureq::Error>,
    ) -> Result<Response<Body>, ClientError> {
        let answer = answer.map_err(|source| ClientError::Unreachable {
            url: self.url(path),
            source: Box::new(source),
        })?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status().as_u16();
        // A problem is small; whatever else answers may be endless.
        let body = answer.into_body().into_reader().take(64 * 1024);
        match serde_json::from_reader::<_, Problem>(body) {
            Ok(problem) => Err(ClientError::Problem(Box::new(problem))),
            Err(_) => Err(self.foreign(path, status)),
        }
    }

    fn foreign(&self, path: &str, status: u16) -> ClientError {
        ClientError::Foreign {
            url: self.url(path),
            status,
        }
    }
}
