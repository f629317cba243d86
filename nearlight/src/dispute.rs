//! `nearlight node dispute`: contests a receipt of a check, with its evidence.

use crate::cli::Broker;
use crate::client::Client;
use crate::command::{CommandError, show};
use nearlight_kit::digest::sha256_hex;
use nearlight_protocol::dispute::{CreateDispute, Dispute, EvidenceName};
use nearlight_protocol::unit::rfc3339;
use std::path::{Path, PathBuf};

/// Bytes of a piece: what the broker takes at once.
const PIECE_BYTES: usize = 60_000;

/// Files the dispute, and puts its evidence beside the log. Each file is cut into pieces, in order.
///
/// # Errors
/// [`CommandError`].
pub(crate) fn file(
    broker: &Broker,
    receipt: u64,
    reason: &str,
    evidence: &[PathBuf],
) -> Result<(), CommandError> {
    let mut pieces = Vec::new();
    for path in evidence {
        pieces.extend(read(path)?.chunks(PIECE_BYTES).map(<[u8]>::to_vec));
    }
    let named = pieces.iter().map(|piece| EvidenceName {
        sha256: sha256_hex(piece),
        bytes: piece.len() as u64,
    });
    let wanted = CreateDispute {
        receipt,
        reason: reason.to_owned(),
        evidence: named.collect(),
    };
    let client = Client::new(broker)?;
    let dispute: Dispute = client.post("/v1/disputes", &wanted)?;
    for (piece, named) in pieces.iter().zip(&wanted.evidence) {
        client.put_bytes(&format!("/v1/evidence/{}", named.sha256), piece)?;
    }
    show(broker, &dispute, || {
        let until = rfc3339(dispute.deadline_s.saturating_mul(1_000));
        format!(
            "dispute {} over receipt {receipt}, decided by {until}\n",
            dispute.index
        )
    });
    Ok(())
}

/// A dispute as it is.
///
/// # Errors
/// [`CommandError`].
pub(crate) fn look(broker: &Broker, index: u64) -> Result<(), CommandError> {
    let dispute: Dispute = Client::new(broker)?.get(&format!("/v1/disputes/{index}"))?;
    show(broker, &dispute, || {
        let state = match dispute.verdict {
            Some(verdict) => format!("decided by receipt {verdict}"),
            None => {
                let until = rfc3339(dispute.deadline_s.saturating_mul(1_000));
                format!("open until {until} at most")
            }
        };
        format!(
            "dispute {index} over receipt {}: {state}\n",
            dispute.receipt
        )
    });
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, CommandError> {
    std::fs::read(path).map_err(|source| CommandError::NotRead {
        file: path.to_owned(),
        source,
    })
}
