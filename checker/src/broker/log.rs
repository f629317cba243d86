//! What is asked of the broker's log: whose it is and who is to cosign it, a head to cosign and that the line is taken, and what
//! is said about a receipt. None of it needs an API key.

use super::{ANSWER_BYTES_MAX, ANSWER_WITHIN, Broker, Refused, read, refused};
use nearlight_protocol::receipt::{Directory, ReceiptList};

/// A directory with its pages: 16,384 keys are some 7 MB.
const DIRECTORY_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// A page of 200 entries.
const LIST_BYTES_MAX: u64 = 1024 * 1024;

impl Broker {
    /// Whose keys are whose, and what the log's operator says to believe.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn directory(&self) -> Result<Directory, Refused> {
        let (_, bytes) = self.ask("/v1/directory", DIRECTORY_BYTES_MAX)?;
        serde_json::from_slice(&bytes).map_err(|_| {
            Refused::Away("the broker answers with something else than a directory".to_owned())
        })
    }

    /// The head that is to be cosigned by who has cosigned `old` entries; `None` if there is none.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn candidate(&self, old: u64) -> Result<Option<String>, Refused> {
        let path = format!("/v1/log/candidate?old={old}");
        let (status, bytes) = self.ask(&path, ANSWER_BYTES_MAX)?;
        let text = || String::from_utf8_lossy(&bytes).into_owned();
        Ok((status == 200).then(text))
    }

    /// Hands a line in, or a head with it that is larger than what the log has.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn cosigned(&self, text: &str) -> Result<(), Refused> {
        let away = |error: ureq::Error| Refused::Away(error.to_string());
        let answer = self.post(
            "/v1/log/cosignatures",
            "text/plain",
            ANSWER_WITHIN,
            text.as_bytes(),
        );
        let mut answer = answer.map_err(away)?;
        let bytes = read(&mut answer, ANSWER_BYTES_MAX)
            .map_err(|error| Refused::Away(error.to_string()))?;
        match answer.status().is_success() {
            true => Ok(()),
            false => Err(refused(&bytes)),
        }
    }

    /// The leaves of the newest entries about a receipt, such as a dispute over it.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn about(&self, leaf: &str) -> Result<Vec<String>, Refused> {
        self.listed(&format!("about={leaf}"))
    }

    /// Whether the log has the receipt with this leaf.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn has(&self, leaf: &str) -> Result<bool, Refused> {
        Ok(!self.listed(&format!("leaf={leaf}"))?.is_empty())
    }

    fn listed(&self, which: &str) -> Result<Vec<String>, Refused> {
        let (_, bytes) = self.ask(&format!("/v1/receipts?{which}"), LIST_BYTES_MAX)?;
        let list: ReceiptList = serde_json::from_slice(&bytes).map_err(|_| {
            Refused::Away("the broker answers with something else than receipts".to_owned())
        })?;
        Ok(list.receipts.into_iter().map(|of| of.leaf).collect())
    }

    /// Whether it answers, and takes who is shown.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn takes(&self) -> Result<(), Refused> {
        self.ask("/healthz", ANSWER_BYTES_MAX).map(drop)
    }

    /// The status of what is done, and its body.
    fn ask(&self, path: &str, most: u64) -> Result<(u16, Vec<u8>), Refused> {
        let request = self.agent().get(format!("{}{path}", self.url));
        let request = request.config().timeout_global(Some(ANSWER_WITHIN)).build();
        let mut answer = request
            .call()
            .map_err(|error| Refused::Away(error.to_string()))?;
        let bytes = read(&mut answer, most).map_err(|error| Refused::Away(error.to_string()))?;
        self.count(bytes.len());
        match answer.status().is_success() {
            true => Ok((answer.status().as_u16(), bytes)),
            false => Err(refused(&bytes)),
        }
    }
}
