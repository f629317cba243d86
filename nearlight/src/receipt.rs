//! `nearlight receipt`: fetches receipts from a broker, and verifies them without one.

mod audit;
mod revoke;

use crate::cli::{Broker, ReceiptCommand, ReceiptList, ReceiptRerun};
use crate::client::Client;
use crate::command::{CommandError, show};
use crate::{table, terminal};
use nearlight_protocol::limits::PAGE_ENTRIES_MAX;
use nearlight_protocol::receipt::{Directory, Receipt, ReceiptList as Listed};
use nearlight_verifier::Ask;
use nearlight_verifier::rerun::Wanted;
use std::path::Path;

/// Lists, fetches, shows, verifies or audits receipts. The exit status: that of the outcome, for `verify` and `audit`.
///
/// # Errors
/// [`CommandError`].
pub fn receipt(command: &ReceiptCommand, broker: &Broker) -> Result<u8, CommandError> {
    match command {
        ReceiptCommand::List(asked) => list(broker, asked)?,
        ReceiptCommand::Get { index, to } => {
            let client = Client::for_anyone(broker)?;
            let shown: Receipt = client.get(&format!("/v1/receipts/{index}"))?;
            write(to, &shown)?;
        }
        ReceiptCommand::Directory { to } => {
            let shown: Directory = Client::for_anyone(broker)?.get("/v1/directory")?;
            write(to, &shown)?;
        }
        ReceiptCommand::Show { file } => {
            let envelope = Ask::envelope(file).map_err(CommandError::Receipt)?;
            let text = nearlight_verifier::statement(&envelope).ok_or(CommandError::NoReceipt)?;
            terminal::result(format_args!("{}", text.trim_end()));
        }
        ReceiptCommand::Verify(ask) => return verify(ask, broker.json),
        ReceiptCommand::Revoke(asked) => revoke::revoke(asked, broker)?,
        ReceiptCommand::Audit(asked) => return audit::audit(asked, broker),
        ReceiptCommand::Rerun(asked) => return rerun(asked, broker),
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

/// Computes a check anew. The receipt is a file or the broker's; its evidence the broker's.
fn rerun(asked: &ReceiptRerun, broker: &Broker) -> Result<u8, CommandError> {
    let client = Client::for_anyone(broker)?;
    let envelope = match asked.what.parse::<u64>() {
        Ok(index) => {
            let shown: Receipt = client.get(&format!("/v1/receipts/{index}"))?;
            shown.envelope.into_bytes()
        }
        Err(_) => Ask::envelope(Path::new(&asked.what))?,
    };
    let wanted = Wanted {
        rows_max: asked.rows,
        whole: asked.whole,
    };
    let found =
        nearlight_verifier::rerun::rerun(&envelope, &mut audit::Served::new(client), wanted)?;
    let text = match broker.json {
        true => serde_json::to_string_pretty(&found).unwrap_or_default(),
        false => nearlight_verifier::rerun::text(&found),
    };
    terminal::result(format_args!("{}", text.trim_end()));
    Ok(found.verdict.exit_code())
}

/// As many pages as it takes.
fn list(broker: &Broker, asked: &ReceiptList) -> Result<(), CommandError> {
    let client = Client::for_anyone(broker)?;
    let mut list = Listed {
        receipts: Vec::new(),
        next_before: asked.before,
    };
    while list.receipts.len() < asked.limit {
        let left = asked.limit - list.receipts.len();
        let page: Listed = client.get(&path(asked, list.next_before, left))?;
        list.receipts.extend(page.receipts);
        list.next_before = page.next_before;
        if page.next_before.is_none() {
            break;
        }
    }
    show(broker, &list, || {
        let rows: Vec<_> = list
            .receipts
            .iter()
            .map(|of| {
                [
                    of.index.to_string(),
                    of.kind.clone(),
                    issued(of.issued_at_s),
                    short(&of.issuer),
                    short(&of.about),
                ]
            })
            .collect();
        let table = table::lay_out(["INDEX", "KIND", "ISSUED", "BY", "ABOUT"], &rows);
        match list.next_before {
            Some(before) => format!("{table}\nthere are older ones: --before {before}"),
            None => table,
        }
    });
    Ok(())
}

fn path(asked: &ReceiptList, before: Option<u64>, left: usize) -> String {
    let mut path = format!("/v1/receipts?limit={}", left.min(PAGE_ENTRIES_MAX as usize));
    if let Some(key) = &asked.node {
        path.push_str(&format!("&node={key}"));
    }
    if let Some(about) = &asked.about {
        path.push_str(&format!("&about={about}"));
    }
    if let Some(before) = before {
        path.push_str(&format!("&before={before}"));
    }
    path
}

/// When it was issued; older logs do not say it of editions of the directory.
fn issued(unix_s: u64) -> String {
    match unix_s {
        0 => "-".to_owned(),
        _ => nearlight_protocol::unit::rfc3339(unix_s.saturating_mul(1000)),
    }
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
