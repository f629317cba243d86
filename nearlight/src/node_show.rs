//! `nearlight node show`: one node for its operator, with its GPUs and what keeps it from work.

use crate::client::{Client, ClientError};
use crate::table;
use nearlight_protocol::api::{Node, NodeGpu, NodeList};
use nearlight_protocol::id::NodeId;
use nearlight_protocol::unit::rfc3339;

/// The node, if it is there for whoever asks.
///
/// # Errors
/// If the broker does not answer.
pub(crate) fn find(client: &Client, id: &NodeId) -> Result<Option<Node>, ClientError> {
    let list: NodeList = client.get("/v1/nodes")?;
    Ok(list.nodes.into_iter().find(|node| node.id == *id))
}

/// For people.
pub(crate) fn lines(node: &Node) -> String {
    let vetted = if node.vetted { "vetted" } else { "not vetted" };
    let mut out = format!(
        "{}  {}  {}  {}, {vetted}, {} of {} slots free, build {}\n",
        node.id,
        table::cell_of(&node.name),
        table::cell_of(&node.region),
        crate::command::wire_name(&node.status),
        node.slots_free,
        node.slots_total,
        table::cell_of(&node.build),
    );
    if !node.receipt_key.is_empty() {
        let by = table::cell_of(&node.operator);
        out += &format!("run by {by}\nreceipt key {}\n", node.receipt_key);
        out += &format!("receipts are about {}\n", node.receipt_key_id);
    }
    if let Some(at) = node.reclaim_at {
        out += &format!("what it runs ends at {}\n", rfc3339(at));
    }
    if !node.fault.is_empty() {
        out += &format!("starts nothing: {}\n", table::cell_of(&node.fault));
    }
    for fault in &node.image_faults {
        let said = format!("cannot fetch {}: {}", fault.image, fault.detail);
        out += &(table::cell_of(&said) + "\n");
    }
    if node.gpus.is_empty() {
        return out + "no GPU for jobs\n";
    }
    let rows: Vec<_> = node.gpus.iter().map(row).collect();
    out + &table::lay_out(["GPU", "MODEL", "MIB", "STATE"], &rows)
}

fn row(gpu: &NodeGpu) -> [String; 4] {
    let state = match (gpu.sick.is_empty(), gpu.taken) {
        (true, false) => "free".to_owned(),
        (true, true) => "a job has it".to_owned(),
        (false, false) => format!("takes no job: {}", gpu.sick),
        (false, true) => format!("a job has it, and no further one: {}", gpu.sick),
    };
    [
        gpu.uuid.clone(),
        gpu.model.clone(),
        gpu.vram_mib.to_string(),
        state,
    ]
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_gpu_is_said_to_be_free_taken_or_sick_and_why() {
        let gpu = |taken, sick: &str| NodeGpu {
            uuid: "GPU-1".to_owned(),
            model: "NVIDIA L4".to_owned(),
            vram_mib: 23_034,
            taken,
            sick: sick.to_owned(),
        };
        let state = |taken, sick| row(&gpu(taken, sick))[3].clone();
        assert_eq!(state(false, ""), "free");
        assert_eq!(state(true, ""), "a job has it");
        assert_eq!(state(false, "XID 79"), "takes no job: XID 79");
        let both = "a job has it, and no further one: XID 48";
        assert_eq!(state(true, "XID 48"), both);
    }
}
