//! What an envelope is to the log: whether it is taken, and by what it is found again.

use crate::ledger::{EvidenceRow, ReceiptRow};
use nearlight_proof::beacon::anchor::CHAIN;
use nearlight_proof::beacon::used::BEACON;
use nearlight_proof::encoding::hex;
use nearlight_proof::key::KeyId;
use nearlight_proof::log::tree::leaf;
use nearlight_proof::porc::exchange::exam::PIECE_BYTES_MAX;
use nearlight_proof::receipt::directory::{self, Directory};
use nearlight_proof::receipt::envelope::{Envelope, EnvelopeError};
use nearlight_proof::receipt::report::Outcome;
use nearlight_proof::receipt::statement::{EVIDENCE_MAX, Statement, StatementError, issued_at_s};
use nearlight_proof::receipt::verify::{SKEW_S, admit};

/// Why an envelope is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAdmitted {
    /// It is no receipt.
    #[error("{0}")]
    Form(String),
    /// Its keys are not known, or did not sign it.
    #[error("{0}")]
    Keys(String),
}

/// An envelope that may stand in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(super) bytes: Vec<u8>,
    /// Its place is not known yet.
    pub(super) row: ReceiptRow,
    pub(super) evidence: Vec<EvidenceRow>,
}

impl Entry {
    /// A receipt that somebody hands in, checked against `directory` and the time of day.
    pub(crate) fn admitted(
        bytes: Vec<u8>,
        directory: &Directory,
        now_s: u64,
    ) -> Result<Self, NotAdmitted> {
        let statement = admit(&bytes, directory).map_err(|report| {
            let found = report.checks.last().map(|check| check.found.clone());
            let found = found.unwrap_or_default();
            match report.outcome {
                Outcome::Malformed => NotAdmitted::Form(found),
                _ => NotAdmitted::Keys(found),
            }
        })?;
        if statement.head.issued_at_s > now_s.saturating_add(SKEW_S) {
            let why = "the receipt says that it was issued later than now; set the issuer's clock";
            return Err(NotAdmitted::Form(why.to_owned()));
        }
        if statement.head.evidence.len() > EVIDENCE_MAX {
            let why = format!("a receipt names at most {EVIDENCE_MAX} pieces of evidence");
            return Err(NotAdmitted::Form(why));
        }
        let largest = statement
            .head
            .evidence
            .iter()
            .map(|piece| piece.bytes)
            .max();
        if largest.is_some_and(|bytes| bytes > PIECE_BYTES_MAX as u64) {
            let why = format!(
                "a piece of evidence has at most {PIECE_BYTES_MAX} bytes; cut it into more"
            );
            return Err(NotAdmitted::Form(why));
        }
        Ok(Self::of_statement(bytes, &statement))
    }

    /// What stands in a log already, or is the broker's own.
    pub(super) fn read(bytes: Vec<u8>) -> Result<Self, NotAdmitted> {
        let form = |error: EnvelopeError| NotAdmitted::Form(error.to_string());
        let envelope = Envelope::parse(&bytes).map_err(form)?;
        let own = [
            (directory::DIRECTORY, "directory/v1"),
            (directory::DIRECTORY_PAGED, "directory/v2"),
            (directory::DIRECTORY_PAGE, "directory-page/v1"),
            (CHAIN, "chain/v1"),
            (BEACON, "beacon/v1"),
        ];
        let own = own.into_iter().find(|(of, _)| envelope.payload_type == *of);
        if let Some((_, kind)) = own {
            let signer = envelope.signatures.first().map(|(id, _)| *id);
            let issued_at_s = issued_at_s(&envelope);
            let signer = signer.unwrap_or(KeyId([0; 32]));
            return Ok(Self::of_network(bytes, kind, (signer, issued_at_s)));
        }
        let form = |error: StatementError| NotAdmitted::Form(error.to_string());
        let statement = Statement::parse(&envelope).map_err(form)?;
        Ok(Self::of_statement(bytes, &statement))
    }

    fn of_statement(bytes: Vec<u8>, statement: &Statement) -> Self {
        let head = &statement.head;
        let mut evidence: Vec<EvidenceRow> = Vec::new();
        for piece in head.evidence.iter().take(EVIDENCE_MAX) {
            let sha256 = piece.sha256.to_string();
            if evidence.iter().all(|known| known.sha256 != sha256) {
                evidence.push(EvidenceRow {
                    sha256,
                    bytes: piece.bytes,
                    kept_until_s: super::evidence::kept_until_s(head.issued_at_s, piece),
                });
            }
        }
        Self {
            row: ReceiptRow {
                place: 0,
                leaf: hex(&leaf(&bytes)),
                kind: statement.predicate.kind().to_owned(),
                issuer: head.issuer.to_string(),
                about: statement.subject.sha256.to_string(),
                issued_at_s: head.issued_at_s,
            },
            bytes,
            evidence,
        }
    }

    /// What is said of the network itself: the directory, the chain of rounds, and their beacons.
    fn of_network(bytes: Vec<u8>, kind: &str, (signer, issued_at_s): (KeyId, u64)) -> Self {
        Self {
            row: ReceiptRow {
                place: 0,
                leaf: hex(&leaf(&bytes)),
                kind: kind.to_owned(),
                issuer: signer.to_string(),
                about: signer.to_string(),
                issued_at_s,
            },
            bytes,
            evidence: Vec::new(),
        }
    }

    /// Whether it is one of this kind.
    pub(crate) fn is_of_kind(&self, kind: &str) -> bool {
        self.row.kind == kind
    }

    /// Whether it contests another one.
    pub(crate) fn is_dispute(&self) -> bool {
        self.is_of_kind("dispute/v1")
    }

    /// Who issued it, and what it is about, hex.
    pub(crate) fn said_of(&self) -> (&str, &str) {
        (&self.row.issuer, &self.row.about)
    }

    /// The key id of who signed it.
    pub(crate) fn issuer(&self) -> &str {
        &self.row.issuer
    }

    /// Its leaf, hex.
    pub(crate) fn leaf(&self) -> &str {
        &self.row.leaf
    }
}
