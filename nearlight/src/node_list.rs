//! `nearlight node list`: all nodes in a table, and what keeps some from work.

use crate::cli::Broker;
use crate::client::{Client, ClientError};
use crate::{command, node_show, table};
use nearlight_protocol::api::{Node, NodeList};

/// # Errors
/// If the broker does not answer.
pub(crate) fn show(broker: &Broker) -> Result<(), ClientError> {
    let list: NodeList = Client::new(broker)?.get("/v1/nodes")?;
    let rows: Vec<_> = list
        .nodes
        .iter()
        .map(|node| {
            [
                node.id.to_string(),
                node.name.clone(),
                node.region.clone(),
                command::wire_name(&node.status),
                if node.vetted { "yes" } else { "-" }.to_owned(),
                format!("{}/{}", node.slots_free, node.slots_total),
                node.runtime.clone(),
                node.encoders.join(" "),
                node_show::in_short(&node.gpus),
                key_of(node),
            ]
        })
        .collect();
    let faults = list.nodes.iter().map(|node| {
        let of = node.image_faults.iter();
        let own = (!node.fault.is_empty()).then(|| {
            table::cell_of(&format!("{} starts nothing: {}", node.name, node.fault)) + "\n"
        });
        of.map(|f| {
            table::cell_of(&format!(
                "{} cannot fetch {}: {}",
                node.name, f.image, f.detail
            )) + "\n"
        })
        .chain(own)
        .collect::<String>()
    });
    let faults: String = faults.collect();
    let head = [
        "NODE", "NAME", "REGION", "STATUS", "VETTED", "FREE", "RUNTIME", "ENCODERS", "GPUS", "KEY",
    ];
    command::show(broker, &list, || {
        let table = table::lay_out(head, &rows);
        format!("{table}{faults}")
    });
    Ok(())
}

/// The beginning of the id by which receipts name a node.
fn key_of(node: &Node) -> String {
    match node.receipt_key_id.get(..16) {
        Some(id) => id.to_owned(),
        None => "-".to_owned(),
    }
}
