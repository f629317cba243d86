//! What the broker itself says in the log: it signs first, as the issuer.

use super::{LogError, Receipts};
use crate::ledger::{LogChange, Op, SessionReceiptRow};
use nearlight_proof::key::KeyId;
use nearlight_proof::receipt::envelope::Envelope;

impl Receipts {
    /// The key that the broker issues with, by its id.
    pub(crate) fn issuer(&self) -> KeyId {
        self.keys.broker.public().id()
    }

    /// Signs as the issuer.
    pub(crate) fn sign(&self, envelope: &mut Envelope) {
        envelope.sign(&self.keys.broker);
    }

    /// Whose an entry is that the log has. Once is enough: the first stays.
    pub(crate) async fn note_session(&self, row: SessionReceiptRow) -> Result<(), LogError> {
        let change = LogChange::SessionReceipt(Box::new(row));
        let noted = self.ledger.write(vec![Op::Log {
            change,
            audit: None,
        }]);
        noted.await?;
        Ok(())
    }
}
