//! One download over https: hashed while it comes, cut off at its size, gone on with where it broke off.
//!
//! Redirects are followed a few times, to https alone, and looked up anew each time ([`super::reach`]). What
//! comes is hashed as it is written; nothing says that it is right but its SHA-256 at the end.

use super::reach::Allowed;
use super::shelf::NoRoom;
use nearlight_kit::network::Network;
use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use ureq::http::{Response, StatusCode, Uri, header};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, Body};

/// Until a server answers.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Between two pieces.
const PIECE_WITHIN: Duration = Duration::from_secs(30);
/// Breaks in a row, with nothing new between them, after which it is given up.
const BREAKS_MAX: u32 = 5;
/// After a break; each further one in a row waits twice as long.
const BREAK_PAUSE: Duration = Duration::from_millis(500);
/// A download takes so long at most, and as long again as what has come, or its size, takes at the slowest rate: it
/// has one of few turns, and a server that trickles would hold it for days.
const WITHIN: Duration = Duration::from_secs(600);
const SLOWEST_BYTES_S: u64 = 256 * 1024;
const REDIRECTS_MAX: usize = 5;
const PIECE: usize = 256 * 1024;

/// Why a file did not come.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("the server answers {0}")]
    Refused(u16),
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    #[error("it is larger than its size_mib says")]
    TooLarge,
    #[error("it is not what its digest says: sha256:{0}")]
    Wrong(String),
    #[error("it leads to {0}, and only https addresses are followed, a few times")]
    Redirect(String),
    #[error("it comes too slowly; the next job that wants it goes on where it stopped")]
    Slow,
    #[error(transparent)]
    Room(#[from] NoRoom),
    #[error("its job is gone")]
    Stopped,
    #[error("it cannot be written: {0}")]
    Host(#[source] io::Error),
}

impl FetchError {
    /// Whether what has come is worth something to a later download.
    fn may_go_on(&self) -> bool {
        matches!(
            self,
            Self::Unreachable(_) | Self::Slow | Self::Room(_) | Self::Stopped
        )
    }
}

/// Makes room for a file of so many bytes.
pub(crate) type MakeRoom = Box<dyn Fn(u64) -> Result<(), NoRoom> + Send>;

/// What is to be fetched, and where to.
pub(crate) struct Target {
    pub(crate) url: String,
    /// `sha256:...`.
    pub(crate) digest: String,
    pub(crate) bytes_max: u64,
    /// Where to; `None` to see only whether it can be fetched and is right.
    pub(crate) part: Option<PathBuf>,
    /// Asked before bytes are written.
    pub(crate) make_room: MakeRoom,
    /// Bytes so far.
    pub(crate) done: Arc<AtomicU64>,
    /// Set once nobody wants it any more.
    pub(crate) stop: Arc<AtomicBool>,
}

/// Fetches files.
#[derive(Clone, Debug)]
pub(crate) struct Fetcher(Agent);

impl Fetcher {
    /// From public addresses and `networks`, from servers whose certificates Mozilla's roots, or those in the
    /// PEM file `roots`, vouch for.
    pub(crate) fn new(networks: &[Network], roots: Option<&Path>) -> io::Result<Self> {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .https_only(true)
            .max_redirects(0)
            .proxy(None)
            .accept_encoding("identity")
            .timeout_connect(Some(ANSWER_WITHIN))
            .timeout_recv_response(Some(ANSWER_WITHIN))
            .timeout_per_read(Some(PIECE_WITHIN));
        if let Some(roots) = roots {
            let roots = certificates(&fs::read(roots)?)?;
            let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&roots));
            config = config.tls_config(tls.build());
        }
        let resolver = Allowed::new(networks);
        let agent = Agent::with_parts(config.build(), DefaultConnector::default(), resolver);
        Ok(Self(agent))
    }

    /// Fetches a file, whole and right, to the disk. Blocks. Returns its size.
    pub(crate) fn fetch(&self, target: &Target) -> Result<u64, FetchError> {
        let mut sink = Sink::open(target)?;
        let fetched = self.fill(target, &mut sink);
        if let Err(error) = fetched {
            if sink.length == 0 || !error.may_go_on() {
                sink.forget();
            }
            return Err(error);
        }
        sink.finish(&target.digest)
    }

    fn fill(&self, target: &Target, sink: &mut Sink<'_>) -> Result<(), FetchError> {
        let mut breaks = 0;
        if sink.is_right(&target.digest) {
            return Ok(());
        }
        loop {
            let before = sink.length;
            match self.attempt(target, sink) {
                Ok(()) => return Ok(()),
                Err(Broken::For(error)) => return Err(error),
                Err(Broken::Now(why)) => {
                    breaks = if sink.length > before { 1 } else { breaks + 1 };
                    if breaks > BREAKS_MAX {
                        return Err(FetchError::Unreachable(why));
                    }
                    tracing::debug!(
                        url = target.url,
                        why,
                        at = sink.length,
                        "a download broke off"
                    );
                    std::thread::sleep(BREAK_PAUSE * (1 << (breaks - 1)));
                }
            }
            if target.stop.load(Ordering::Relaxed) {
                return Err(FetchError::Stopped);
            }
        }
    }

    /// One request from where the last one broke off, to the end.
    fn attempt(&self, target: &Target, sink: &mut Sink<'_>) -> Result<(), Broken> {
        let answer = self.ask(&target.url, sink.length)?;
        match answer.status() {
            StatusCode::PARTIAL_CONTENT if starts_at(&answer, sink.length) => {}
            // It does not go on, so it begins again.
            StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE
                if sink.length > 0 =>
            {
                let is_whole = answer.status() == StatusCode::OK;
                sink.restart().map_err(host)?;
                if !is_whole {
                    return Err(Broken::Now(
                        "it does not go on where it broke off".to_owned(),
                    ));
                }
            }
            StatusCode::OK => {}
            status if is_passing(status) => {
                return Err(Broken::Now(format!("the server answers {status}")));
            }
            status => return Err(Broken::For(FetchError::Refused(status.as_u16()))),
        }
        let rest = answer.body().content_length();
        if rest.is_some_and(|rest| sink.length.saturating_add(rest) > target.bytes_max) {
            return Err(Broken::For(FetchError::TooLarge));
        }
        let mut reader = answer.into_body().into_reader();
        let mut piece = vec![0; PIECE];
        loop {
            if target.stop.load(Ordering::Relaxed) {
                return Err(Broken::For(FetchError::Stopped));
            }
            let read = match reader.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) => return Err(Broken::Now(error.to_string())),
            };
            (target.make_room)(sink.length + read as u64)
                .map_err(|full| Broken::For(full.into()))?;
            sink.take(&piece[..read]).map_err(host)?;
            let came = sink.length.saturating_sub(sink.had);
            if is_too_slow(sink.began.elapsed(), came) {
                return Err(Broken::For(FetchError::Slow));
            }
            if sink.length > target.bytes_max {
                return Err(Broken::For(FetchError::TooLarge));
            }
        }
        Ok(())
    }

    /// The answer at the end of the redirects.
    fn ask(&self, url: &str, from: u64) -> Result<Response<Body>, Broken> {
        let mut at = url.to_owned();
        for _ in 0..=REDIRECTS_MAX {
            let mut request = self.0.get(&at);
            if from > 0 {
                request = request.header(header::RANGE, format!("bytes={from}-"));
            }
            let answer = request.call().map_err(|error| match error {
                ureq::Error::HostNotFound => Broken::For(FetchError::Unreachable(
                    "its host has no address, or one that is not public".to_owned(),
                )),
                ureq::Error::RequireHttpsOnly(to) => Broken::For(FetchError::Redirect(to)),
                error => Broken::Now(error.to_string()),
            })?;
            if !answer.status().is_redirection() || answer.status() == StatusCode::NOT_MODIFIED {
                return Ok(answer);
            }
            let to = answer.headers().get(header::LOCATION);
            let to = to.and_then(|to| to.to_str().ok()).unwrap_or_default();
            at = resolved(&at, to)
                .ok_or_else(|| Broken::For(FetchError::Redirect(format!("`{to}`"))))?;
        }
        Err(Broken::For(FetchError::Redirect(at)))
    }
}

/// Whether what has come so far is too little for the time that it took. One that begins again counts from there.
fn is_too_slow(took: Duration, came: u64) -> bool {
    took > WITHIN + Duration::from_secs(came / SLOWEST_BYTES_S)
}

/// Where a redirect leads, if that is https without a user.
fn resolved(from: &str, to: &str) -> Option<String> {
    let to = match to.strip_prefix('/') {
        Some(rest) if !rest.starts_with('/') => {
            let uri: Uri = from.parse().ok()?;
            format!("https://{}{to}", uri.authority()?)
        }
        Some(_) | None => to.to_owned(),
    };
    let uri: Uri = to.parse().ok()?;
    let is_plain = uri.authority().is_some_and(|a| !a.as_str().contains('@'));
    (uri.scheme_str() == Some("https") && is_plain).then_some(to)
}

fn starts_at(answer: &Response<Body>, from: u64) -> bool {
    let range = answer.headers().get(header::CONTENT_RANGE);
    let range = range.and_then(|range| range.to_str().ok());
    range.is_some_and(|range| range.starts_with(&format!("bytes {from}-")))
}

const fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

enum Broken {
    /// It may go on.
    Now(String),
    /// It will not.
    For(FetchError),
}

fn host(error: io::Error) -> Broken {
    Broken::For(FetchError::Host(error))
}

/// What has come: hashed, and written where it is wanted.
struct Sink<'a> {
    file: Option<(File, &'a Path)>,
    hash: Sha256,
    length: u64,
    done: &'a AtomicU64,
    began: Instant,
    /// What an earlier one left.
    had: u64,
}

impl<'a> Sink<'a> {
    /// Goes on with what an earlier one left.
    fn open(target: &'a Target) -> Result<Self, FetchError> {
        let mut sink = Self {
            file: None,
            hash: Sha256::new(),
            length: 0,
            done: &target.done,
            began: Instant::now(),
            had: 0,
        };
        target.done.store(0, Ordering::Relaxed);
        if let Some(path) = &target.part {
            let open = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(path);
            let mut file = open.map_err(FetchError::Host)?;
            let mut piece = vec![0; PIECE];
            loop {
                let read = file.read(&mut piece).map_err(FetchError::Host)?;
                if read == 0 {
                    break;
                }
                sink.hash.update(&piece[..read]);
                sink.length += read as u64;
            }
            target.done.store(sink.length, Ordering::Relaxed);
            sink.had = sink.length;
            sink.began = Instant::now();
            sink.file = Some((file, path));
        }
        Ok(sink)
    }

    fn take(&mut self, piece: &[u8]) -> io::Result<()> {
        if let Some((file, _)) = &mut self.file {
            file.write_all(piece)?;
        }
        self.hash.update(piece);
        self.length += piece.len() as u64;
        self.done.store(self.length, Ordering::Relaxed);
        Ok(())
    }

    fn restart(&mut self) -> io::Result<()> {
        if let Some((file, _)) = &mut self.file {
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
        }
        self.hash = Sha256::new();
        (self.length, self.had) = (0, 0);
        self.done.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// Whether nothing is missing.
    fn is_right(&self, digest: &str) -> bool {
        let came = format!("{:x}", self.hash.clone().finalize());
        digest.strip_prefix("sha256:") == Some(came.as_str())
    }

    fn forget(&mut self) {
        if let Some((_, path)) = self.file.take() {
            let _ = fs::remove_file(path);
        }
    }

    fn finish(mut self, digest: &str) -> Result<u64, FetchError> {
        let came = format!("{:x}", std::mem::take(&mut self.hash).finalize());
        if digest.strip_prefix("sha256:") != Some(came.as_str()) {
            self.forget();
            return Err(FetchError::Wrong(came));
        }
        if let Some((file, _)) = &self.file {
            let mode = fs::Permissions::from_mode(0o444);
            file.set_permissions(mode).map_err(FetchError::Host)?;
            file.sync_all().map_err(FetchError::Host)?;
        }
        Ok(self.length)
    }
}

fn certificates(pem: &[u8]) -> io::Result<Vec<Certificate<'static>>> {
    let mut found = Vec::new();
    for item in ureq::tls::parse_pem(pem) {
        if let PemItem::Certificate(certificate) = item.map_err(io::Error::other)? {
            found.push(certificate);
        }
    }
    if found.is_empty() {
        return Err(io::Error::other("there is no certificate in it"));
    }
    Ok(found)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_server_that_trickles_is_given_up_whatever_size_it_names() {
        let hour = Duration::from_secs(3600);
        assert!(!is_too_slow(WITHIN, 0));
        assert!(is_too_slow(WITHIN + Duration::from_secs(1), 1));
        assert!(is_too_slow(hour, SLOWEST_BYTES_S * 60));
        assert!(!is_too_slow(hour, SLOWEST_BYTES_S * 3000));
        assert!(!is_too_slow(hour, SLOWEST_BYTES_S * 3600));
    }

    #[test]
    fn a_redirect_leads_to_https_and_names_no_user() {
        let from = "https://a.example:8443/x/y?z";
        let check = |to: &str, expected: Option<&str>| {
            assert_eq!(resolved(from, to).as_deref(), expected, "{to}");
        };
        check("https://b.example/w", Some("https://b.example/w"));
        check("/w?q", Some("https://a.example:8443/w?q"));
        for wrong in [
            "http://b.example/w",
            "file:///etc/passwd",
            "//b.example/w",
            "w",
            "",
            "https://u:p@b.example/",
        ] {
            check(wrong, None);
        }
    }
}
