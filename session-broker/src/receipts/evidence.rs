//! What receipts rest on, beside the log by its hash: taken once a receipt names it, kept as long as that
//! says and at least for the time in which one can dispute, and then taken away. The ledger has a row of each piece that is or was
//! here; which receipts name it [`super::recent`] knows.

use super::store::{Object, Store};
use super::{LogError, Receipts, blocking};
use crate::ledger::{EvidenceRow, LogChange, Op};
use nearlight_proof::encoding::{hex, sha256};
use nearlight_proof::receipt::statement::Evidence;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The time in which one can dispute, seconds: evidence is kept as long at least.
const DISPUTE_S: u64 = 90 * 24 * 3600;
/// The longest that evidence is kept, seconds after its receipt: the disk is not the issuers' to fill.
const KEPT_S_MAX: u64 = 400 * 24 * 3600;
/// How often one of 256 parts is looked through for what is over: each comes about once a day.
const SWEEP_EVERY: Duration = Duration::from_secs(300);

/// Why a piece of evidence is not taken, or not to be had.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum EvidenceError {
    /// No receipt in the log names it.
    #[error(
        "no receipt of late names this evidence, and it is not here; append the receipt first, or name one that is older with `receipt`"
    )]
    Unknown,
    /// It is not what the receipt says.
    #[error("these are not the bytes that the receipt names: their hash or length differs")]
    Other,
    /// A receipt names it, and nobody has put it here.
    #[error("a receipt names this evidence, and nobody has put it here yet")]
    NotHere,
    /// Its time is over.
    #[error("the evidence was kept for as long as its receipt said, and is gone")]
    Expired,
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Until when a piece of evidence of a receipt of then is kept, Unix seconds.
pub(super) fn kept_until_s(issued_at_s: u64, piece: &Evidence) -> u64 {
    let least = issued_at_s.saturating_add(DISPUTE_S);
    let most = issued_at_s.saturating_add(KEPT_S_MAX);
    piece.kept_until_s.clamp(least, most)
}

impl Receipts {
    /// Keeps a piece of evidence that a receipt names: one of the newest, or that with this leaf.
    pub(crate) async fn put_evidence(
        &self,
        digest: &str,
        leaf: Option<&str>,
        bytes: Vec<u8>,
    ) -> Result<(), EvidenceError> {
        let known = self.row(digest).await?;
        let named = match (leaf, &known) {
            (Some(leaf), _) => self.named_by(leaf, digest).await?,
            (None, Some(_)) => self.recent.find(digest),
            (None, None) => self.named_of_late(digest).await?,
        };
        let rows = known.iter().chain(&named);
        let row = rows.max_by_key(|row| row.kept_until_s);
        let row = row.ok_or(EvidenceError::Unknown)?.clone();
        if self.is_over(&row) {
            return Err(EvidenceError::Expired);
        }
        let digest = hex(&sha256(&[&bytes]));
        if row.sha256 != digest || row.bytes != bytes.len() as u64 {
            return Err(EvidenceError::Other);
        }
        self.shares.room(&self.store, self.clock.now()).await?;
        let object = Object::new(path(&digest), bytes);
        let put = move |store: &dyn Store| store.put(&[object]);
        blocking(&self.store, put).await.map_err(LogError::from)?;
        self.came.fetch_add(1, Ordering::AcqRel);
        if known.is_none_or(|known| known.kept_until_s < row.kept_until_s) {
            self.note(row).await?;
        }
        Ok(())
    }

    /// How many pieces have come to this broker since it began.
    pub(crate) fn evidence_came(&self) -> u64 {
        self.came.load(Ordering::Acquire)
    }

    /// A piece of evidence, by its SHA-256 in hex.
    pub(crate) async fn evidence(&self, digest: &str) -> Result<Vec<u8>, EvidenceError> {
        let row = self.row(digest).await?;
        let row = row.or_else(|| self.recent.find(digest));
        if row.as_ref().is_some_and(|row| self.is_over(row)) {
            return Err(EvidenceError::Expired);
        }
        // A ledger that went back knows less than the store has.
        let read = match is_digest(digest) {
            true => self.stored(digest).await?,
            false => None,
        };
        read.ok_or(match row {
            Some(_) => EvidenceError::NotHere,
            None => EvidenceError::Unknown,
        })
    }

    async fn stored(&self, digest: &str) -> Result<Option<Vec<u8>>, LogError> {
        let at = path(digest);
        let read = move |store: &dyn Store| store.get(&at);
        Ok(blocking(&self.store, read).await?)
    }

    async fn sweep(&self, part: u8) -> Result<(), LogError> {
        let folder = folder(&hex(&[part]));
        let list = move |store: &dyn Store| store.list(&folder);
        for digest in blocking(&self.store, list).await? {
            match self.row(&digest).await? {
                Some(row) if self.is_over(&row) => {
                    let remove = move |store: &dyn Store| store.remove(&path(&digest));
                    blocking(&self.store, remove).await?;
                }
                Some(_) => {}
                None => self.readmit(digest).await?,
            }
        }
        Ok(())
    }

    /// What is here and has no row, as after a ledger that went back: for how long is not known, so for the longest time.
    async fn readmit(&self, digest: String) -> Result<(), LogError> {
        if let Some(bytes) = self.stored(&digest).await? {
            self.note(EvidenceRow {
                sha256: digest,
                bytes: bytes.len() as u64,
                kept_until_s: self.now_s().saturating_add(KEPT_S_MAX),
            })
            .await?;
        }
        Ok(())
    }

    async fn note(&self, row: EvidenceRow) -> Result<(), LogError> {
        let op = Op::Log {
            change: LogChange::Evidence(row),
            audit: None,
        };
        self.ledger.write(vec![op]).await?;
        Ok(())
    }

    async fn row(&self, digest: &str) -> Result<Option<EvidenceRow>, LogError> {
        Ok(self.ledger.evidence(digest.to_owned()).await?)
    }

    fn is_over(&self, row: &EvidenceRow) -> bool {
        row.kept_until_s <= self.now_s()
    }
}

/// Whether this is a hash as it is written: anything else is no name of an object.
fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn path(digest: &str) -> String {
    format!("{}/{digest}", folder(digest.get(..2).unwrap_or_default()))
}

fn folder(first: &str) -> String {
    format!("evidence/{first}")
}

/// Takes away what is over, a part of it at a time.
pub(super) async fn keep(receipts: Arc<Receipts>, stop: CancellationToken) {
    let mut pause = tokio::time::interval(SWEEP_EVERY);
    for part in (0..=u8::MAX).cycle() {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = pause.tick() => {}
        }
        if let Err(error) = receipts.sweep(part).await {
            tracing::warn!(%error, "evidence that is over was not taken away");
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_proof::key::KeyId;

    #[test]
    fn evidence_is_kept_for_the_time_of_disputes_at_least() {
        let piece = |kept_until_s| Evidence {
            sha256: KeyId([1; 32]),
            bytes: 1,
            kept_until_s,
        };
        let issued = 1_800_000_000;
        let day = 24 * 3600;
        assert_eq!(kept_until_s(issued, &piece(0)), issued + 90 * day);
        let asked = issued + 100 * day;
        assert_eq!(kept_until_s(issued, &piece(asked)), asked);
        assert_eq!(kept_until_s(issued, &piece(u64::MAX)), issued + 400 * day);
    }
}
