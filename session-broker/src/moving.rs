//! A broker whose ledger is a file goes on with one in PostgreSQL: with every session, key and bill.
//!
//! What moves is the ledger alone. Its keys, the CA and the log of receipts are files of the broker, and stay.

use crate::config::Config;
use crate::ledger::{LedgerAt, move_file};
use anyhow::{anyhow, bail, ensure};

/// Moves the ledger of `config`, a file, into the empty database at `to`. What to do next.
///
/// # Errors
/// What keeps it from being moved, with what to do; nothing is moved then.
pub async fn move_ledger(config: &Config, to: &str) -> anyhow::Result<String> {
    let LedgerAt::File(file) = &config.ledger else {
        bail!(
            "the ledger is no file, but {}: name it in no --ledger, and in no `ledger` of --config",
            config.ledger.name()
        );
    };
    let to = LedgerAt::parse(to, &config.data).map_err(|what| anyhow!("--move-ledger {what}"))?;
    ensure!(
        matches!(to, LedgerAt::Postgres(_)),
        "--move-ledger wants the URL of an empty database"
    );
    let moved = move_file(file, &to).await?;
    let rows: i64 = moved.values().sum();
    Ok(format!(
        "{rows} rows of {} tables are at {}. Set `ledger` to it, keep the data directory for its keys, and start the \
         broker; {} is as it was, and a broker on it would be another one.",
        moved.len(),
        to.name(),
        file.display()
    ))
}
