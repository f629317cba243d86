//! What moves stakes: the one door to whoever keeps them. Here that is the ledger; a chain could.
//!
//! **What it does not know:** why something moves. Verdicts and administrators do.

use crate::ledger::{AccountRow, Applied, AuditRow, Ledger, LogChange, Op, StoreError, Transfer};
use futures_util::future::BoxFuture;
use std::sync::Arc;

/// Whoever keeps accounts.
pub(crate) trait Settlement: Send + Sync {
    /// Carries a transfer out, once; what came of it as [`Transfer`] says.
    fn carry_out(
        &self,
        transfer: Transfer,
        audit: Option<Box<AuditRow>>,
    ) -> BoxFuture<'_, Result<Applied, StoreError>>;

    /// All accounts as they are.
    fn balances(&self) -> BoxFuture<'_, Result<Vec<AccountRow>, StoreError>>;
}

impl Settlement for Arc<dyn Ledger> {
    fn carry_out(
        &self,
        transfer: Transfer,
        audit: Option<Box<AuditRow>>,
    ) -> BoxFuture<'_, Result<Applied, StoreError>> {
        Box::pin(async move {
            let change = LogChange::Transfer(Box::new(transfer));
            let applied = self.write(vec![Op::Log { change, audit }]).await?;
            Ok(applied.into_iter().next().unwrap_or(Applied::Skipped))
        })
    }

    fn balances(&self) -> BoxFuture<'_, Result<Vec<AccountRow>, StoreError>> {
        self.accounts()
    }
}
