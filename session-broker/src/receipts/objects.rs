//! The log's files as objects of a bucket, in a store that speaks S3's protocol.
//!
//! A request is signed in its address (AWS Signature Version 4, by `rusty-s3`) and sent by a client that blocks. What the
//! log needs of the store is what S3 promises since December 2020: an object that was written is read and listed at
//! once, whole, by whoever asks, and it is durable once the write is answered.
//!
//! A request without an answer, or with one that says "not now", is sent again a few times; all of them may be done
//! twice. What it does not know: whether another broker writes. The ledger does ([`super::sequencer`]).

use super::store::{Object, Store};
use crate::config::ObjectsSettings;
use rusty_s3::actions::ListObjectsV2;
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use std::io::{self, Read};
use std::time::Duration;
use ureq::Agent;
use ureq::http::{Response, StatusCode};
use ureq::{Body, Error};
use url::Url;

/// How long an address may be used. The store holds it against its own clock.
const SIGNED_FOR: Duration = Duration::from_secs(60);
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// How often a request is sent, and the pause before the second time; it doubles.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(100);
/// What is read of an answer. The largest object is a bundle: 256 entries of up to 64 KiB.
const ANSWER_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// S3's own bound.
const PAGE_MAX: usize = 1000;
/// What is read of a refusal.
const PROBLEM_BYTES_MAX: u64 = 4096;

/// See the module.
#[derive(Debug)]
pub(super) struct Objects {
    bucket: Bucket,
    credentials: Credentials,
    /// Empty, or with a slash at its end.
    prefix: String,
    /// Names that a page of a listing has at most.
    page_max: usize,
    agent: Agent,
}

impl Objects {
    /// # Errors
    /// What is wrong with the settings.
    pub(super) fn new(settings: &ObjectsSettings) -> io::Result<Self> {
        let invalid = |error: String| io::Error::new(io::ErrorKind::InvalidInput, error);
        let endpoint = Url::parse(&settings.endpoint).map_err(|e| invalid(e.to_string()))?;
        let (name, region) = (settings.bucket.clone(), settings.region.clone());
        let bucket = Bucket::new(endpoint, UrlStyle::Path, name, region)
            .map_err(|e| invalid(format!("bucket {}: {e}", settings.bucket)))?;
        let prefix = settings.prefix.trim_matches('/');
        let config = Agent::config_builder()
            .timeout_global(Some(ANSWER_WITHIN))
            .http_status_as_error(false)
            .max_redirects(0)
            .build();
        Ok(Self {
            bucket,
            credentials: Credentials::new(
                settings.access_key.clone(),
                settings.secret_key.as_str().to_owned(),
            ),
            prefix: match prefix {
                "" => String::new(),
                prefix => format!("{prefix}/"),
            },
            page_max: PAGE_MAX,
            agent: Agent::new_with_config(config),
        })
    }

    fn key(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// The answer to a request; the last one if each said "not now".
    fn ask(
        &self,
        what: &str,
        send: impl Fn() -> Result<Response<Body>, Error>,
    ) -> io::Result<Response<Body>> {
        let failed = |why: String| {
            let bucket = self.bucket.name();
            io::Error::other(format!("{what} in the bucket {bucket}: {why}"))
        };
        let mut pause = PAUSE;
        for again in (0..TRIES).rev() {
            match send() {
                Ok(answer) if answer.status().is_success() => return Ok(answer),
                Ok(answer) if answer.status() == StatusCode::NOT_FOUND => return Ok(answer),
                Ok(answer) if again == 0 || !is_passing(answer.status()) => {
                    return Err(failed(refusal(answer)));
                }
                Err(error) if again == 0 => return Err(failed(error.to_string())),
                Ok(_) | Err(_) => {}
            }
            std::thread::sleep(pause);
            pause *= 2;
        }
        Err(failed("no try".to_owned()))
    }

    fn page(&self, under: &str, token: Option<String>) -> io::Result<Page> {
        let answer = self.ask(&format!("list {under}"), || {
            let mut list = ListObjectsV2::new(&self.bucket, Some(&self.credentials));
            list.with_prefix(under);
            list.with_delimiter("/");
            list.with_max_keys(self.page_max);
            if let Some(token) = &token {
                list.with_continuation_token(token.as_str());
            }
            self.agent.get(list.sign(SIGNED_FOR).as_str()).call()
        })?;
        if answer.status() == StatusCode::NOT_FOUND {
            let bucket = self.bucket.name();
            return Err(io::Error::other(format!("there is no bucket {bucket}")));
        }
        let text = read(answer, ANSWER_BYTES_MAX)?;
        let text = String::from_utf8(text).map_err(io::Error::other)?;
        let listed = ListObjectsV2::parse_response(&text).map_err(io::Error::other)?;
        let objects = listed.contents.into_iter().map(|object| object.key);
        let below = listed.common_prefixes.into_iter().map(|below| below.prefix);
        let names = objects.chain(below).filter_map(|key| {
            let name = key.strip_prefix(under)?.trim_end_matches('/');
            (!name.is_empty()).then(|| name.to_owned())
        });
        Ok(Page {
            names: names.collect(),
            next: listed.next_continuation_token,
        })
    }
}

/// A part of a listing.
struct Page {
    names: Vec<String>,
    next: Option<String>,
}

impl Store for Objects {
    fn put(&self, objects: &[Object]) -> io::Result<()> {
        for object in objects {
            let key = self.key(&object.path);
            let answer = self.ask(&format!("write {key}"), || {
                let put = self.bucket.put_object(Some(&self.credentials), &key);
                let request = self.agent.put(put.sign(SIGNED_FOR).as_str());
                request.send(object.bytes.as_slice())
            })?;
            if answer.status() == StatusCode::NOT_FOUND {
                return Err(io::Error::other(refusal(answer)));
            }
        }
        Ok(())
    }

    fn get(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let key = self.key(path);
        let answer = self.ask(&format!("read {key}"), || {
            let get = self.bucket.get_object(Some(&self.credentials), &key);
            self.agent.get(get.sign(SIGNED_FOR).as_str()).call()
        })?;
        if answer.status() != StatusCode::NOT_FOUND {
            return read(answer, ANSWER_BYTES_MAX).map(Some);
        }
        let why = refusal(answer);
        // A bucket that is gone, or somebody else's answer, must not make the log look empty.
        match why.contains("<Code>NoSuchKey</Code>") {
            true => Ok(None),
            false => Err(io::Error::other(format!("read {key}: {why}"))),
        }
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let under = match path.trim_matches('/') {
            "" => self.prefix.clone(),
            path => format!("{}/", self.key(path)),
        };
        let mut page = self.page(&under, None)?;
        let mut names = page.names;
        while let Some(token) = page.next.take() {
            page = self.page(&under, Some(token))?;
            names.append(&mut page.names);
        }
        Ok(names)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let key = self.key(path);
        self.ask(&format!("remove {key}"), || {
            let remove = self.bucket.delete_object(Some(&self.credentials), &key);
            self.agent.delete(remove.sign(SIGNED_FOR).as_str()).call()
        })?;
        Ok(())
    }
}

/// Whether it may be another answer in a moment.
fn is_passing(status: StatusCode) -> bool {
    status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT
}

fn read(answer: Response<Body>, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut body = answer.into_body().into_reader().take(bytes_max + 1);
    body.read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > bytes_max) {
        return Err(io::Error::other(
            "the answer is larger than any object of the log",
        ));
    }
    Ok(bytes)
}

/// A refusal in the store's own words, as far as they are short: `403 Forbidden: …<Code>AccessDenied</Code>…`.
fn refusal(answer: Response<Body>) -> String {
    let status = answer.status();
    let mut said = Vec::new();
    let body = answer.into_body().into_reader();
    let _ = body.take(PROBLEM_BYTES_MAX).read_to_end(&mut said);
    format!("{status}: {}", String::from_utf8_lossy(&said).trim())
}

#[cfg(test)]
pub(super) mod server;
#[cfg(test)]
mod test;
