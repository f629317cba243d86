//! `nearlight receipt revoke`: by the broker's key, for whoever runs the network.

use crate::cli::{Broker, ReceiptRevoke};
use crate::client::Client;
use crate::command::{CommandError, show};
use nearlight_protocol::receipt::ReceiptList;
use nearlight_protocol::revocation::{CreateRevocation, Revocation};

/// Says in the log that it is void, and what that does.
///
/// # Errors
/// [`CommandError`].
pub(super) fn revoke(asked: &ReceiptRevoke, broker: &Broker) -> Result<(), CommandError> {
    let client = Client::new(broker)?;
    let receipt = match &asked.what {
        Some(what) => Some(place(&client, what)?),
        None => None,
    };
    let wanted = CreateRevocation {
        receipt,
        key: asked.key.clone(),
        from_s: asked.from,
        reason: asked.reason.clone(),
    };
    let made: Revocation = client.post("/v1/revocations", &wanted)?;
    show(broker, &made, || {
        let what = match receipt {
            Some(place) => format!("receipt {place} is"),
            None => format!("what key {} signed is", made.subject),
        };
        format!(
            "{what} void, by receipt {}: its checks weigh nothing from now on; this cannot be undone\n",
            made.index
        )
    });
    Ok(())
}

/// The place of a receipt that is named by it, or by its leaf.
fn place(client: &Client, what: &str) -> Result<u64, CommandError> {
    if let Ok(place) = what.parse() {
        return Ok(place);
    }
    let list: ReceiptList = client.get(&format!("/v1/receipts?leaf={what}"))?;
    let found = list.receipts.first().map(|of| of.index);
    found.ok_or_else(|| CommandError::NoSuchReceipt(what.to_owned()))
}
