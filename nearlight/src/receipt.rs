//! `nearlight receipt`: fetches receipts from a broker, and verifies them without one.

use crate::cli::{Broker, ReceiptCommand};
use crate::client::Client;
use crate::command::{CommandError, show};
use crate::{table, terminal};
use nearlight_protocol::receipt::{Directory, Receipt, ReceiptList};
use nearlight_verifier::Ask;
use std::path::Path;

/// Lists, fetches, shows or verifies receipts. The exit status: that of the receipt's outcome, for `verify`.
///
/// # Errors
/// [`CommandError`].
pub fn receipt(command: &ReceiptCommand, broker: &Broker) -> Result<u8, CommandError> {
    match command {
        ReceiptCommand::List { node, about } => list(broker, node.as_deref(), about.as_deref())?,
        ReceiptCommand::Get { index, to } => {
            let shown: Receipt = Client::new(broker)?.get(&format!("/v1/receipts/{index}"))?;
            write(to, &shown)?;
        }
        ReceiptCommand::Directory { to } => {
            let shown: Directory = Client::new(broker)?.get("/v1/directory")?;
            write(to, &shown)?;
        }
        ReceiptCommand::Show { file } => {
            let envelope = Ask::envelope(file).map_err(CommandError::Receipt)?;
            let text = nearlight_verifier::statement(&envelope).ok_or(CommandError::NoReceipt)?;
            terminal::result(format_args!("{}", text.trim_end()));
        }
        ReceiptCommand::Verify(ask) => return verify(ask, broker.json),
    }
    Ok(0)
}

fn verify(ask: &Ask, json: bool) -> Result<u8, CommandError> {
    let report = nearlight_verifier::report(ask).map_err(CommandError::Receipt)?;
    let text = match json {
        true => serde_json::to_string_pretty(&report).unwrap_or_default(),
        false => nearlight_verifier::text(&report),
    };
    terminal::result(format_args!("{}", text.trim_end()));
    Ok(report.outcome.exit_code())
}

fn list(broker: &Broker, node: Option<&str>, about: Option<&str>) -> Result<(), CommandError> {
    let query = match (node, about) {
        (Some(key), _) => format!("?node={key}"),
        (None, Some(about)) => format!("?about={about}"),
        (None, None) => String::new(),
    };
    let list: ReceiptList = Client::new(broker)?.get(&format!("/v1/receipts{query}"))?;
    show(broker, &list, || {
        let rows: Vec<_> = list
            .receipts
            .iter()
            .map(|of| {
                let issued = nearlight_protocol::unit::rfc3339(of.issued_at_s * 1000);
                [
                    of.index.to_string(),
                    of.kind.clone(),
                    issued,
                    short(&of.issuer),
                    short(&of.about),
                ]
            })
            .collect();
        table::lay_out(["INDEX", "KIND", "ISSUED", "BY", "ABOUT"], &rows)
    });
    Ok(())
}

fn short(hex: &str) -> String {
    hex.get(..16).unwrap_or(hex).to_owned()
}

/// Writes what a verifier takes, for later and elsewhere.
fn write(to: &Path, shown: &impl serde::Serialize) -> Result<(), CommandError> {
    let text = serde_json::to_vec_pretty(shown).unwrap_or_default();
    std::fs::write(to, text).map_err(|source| CommandError::NotWritten {
        file: to.to_owned(),
        source,
    })?;
    terminal::note(format_args!("written to {}", to.display()));
    Ok(())
}
