//! What receipts rest on, beside the log by its hash: taken once a receipt names it, kept as long as that
//! says and at least for the time in which one can dispute, and then taken away.

use super::store::{Object, Store};
use super::{LogError, Receipts, blocking};
use nearlight_proof::encoding::{hex, sha256};
use nearlight_proof::receipt::statement::Evidence;
use std::sync::Arc;
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
    #[error("no receipt in the log names this evidence; append the receipt first")]
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
    /// Keeps a piece of evidence that a receipt names.
    pub(crate) async fn put_evidence(
        &self,
        digest: &str,
        bytes: Vec<u8>,
    ) -> Result<(), EvidenceError> {
        let row = self.named(digest).await?;
        let digest = hex(&sha256(&[&bytes]));
        if row.sha256 != digest || row.bytes != bytes.len() as u64 {
            return Err(EvidenceError::Other);
        }
        let object = Object::new(path(&digest), bytes);
        let put = move |store: &dyn Store| store.put(&[object]);
        Ok(blocking(&self.store, put).await.map_err(LogError::from)?)
    }

    /// A piece of evidence, by its SHA-256 in hex.
    pub(crate) async fn evidence(&self, digest: &str) -> Result<Vec<u8>, EvidenceError> {
        let row = self.named(digest).await?;
        let at = path(&row.sha256);
        let read = move |store: &dyn Store| store.get(&at);
        let read = blocking(&self.store, read).await.map_err(LogError::from)?;
        read.ok_or(EvidenceError::NotHere)
    }

    async fn sweep(&self, part: u8) -> Result<(), LogError> {
        let folder = folder(&hex(&[part]));
        let list = move |store: &dyn Store| store.list(&folder);
        for digest in blocking(&self.store, list).await? {
            if let Err(EvidenceError::Expired) = self.named(&digest).await {
                let remove = move |store: &dyn Store| store.remove(&path(&digest));
                blocking(&self.store, remove).await?;
            }
        }
        Ok(())
    }

    /// What the log has of it, unless its time is over.
    async fn named(&self, digest: &str) -> Result<crate::ledger::EvidenceRow, EvidenceError> {
        let row = self.ledger.evidence(digest.to_owned()).await;
        let row = row.map_err(LogError::from)?.ok_or(EvidenceError::Unknown)?;
        if row.kept_until_s <= self.clock.unix_ms() / 1000 {
            return Err(EvidenceError::Expired);
        }
        Ok(row)
    }
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
