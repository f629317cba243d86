//! `nearlight node show`: one node for its operator, with its GPUs and what keeps it from work.

use crate::client::{Client, ClientError};
use crate::table;
use nearlight_protocol::api::{Node, NodeGpu, NodeList};
use nearlight_protocol::id::NodeId;
use nearlight_protocol::problem::ProblemType;
use nearlight_protocol::unit::rfc3339;

/// The node, if it is there for whoever asks.
///
/// # Errors
/// If the broker does not answer.
pub(crate) fn find(client: &Client, id: &NodeId) -> Result<Option<Node>, ClientError> {
    match client.get::<Node>(&format!("/v1/nodes/{id}")) {
        Ok(node) => Ok(Some(node)),
        Err(ClientError::Problem(problem)) => match problem.name {
            ProblemType::NotFound => Ok(None),
            // A broker of before has lists alone.
            ProblemType::MethodNotAllowed => {
                let list: NodeList = client.get("/v1/nodes")?;
                Ok(list.nodes.into_iter().find(|node| node.id == *id))
            }
            _ => Err(ClientError::Problem(problem)),
        },
        Err(error) => Err(error),
    }
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
    let head = ["GPU", "MODEL", "MIB", "USED", "BUSY", "ENCODES", "STATE"];
    out += &table::lay_out(head, &rows);
    node.gpus.iter().for_each(|gpu| out += &details(gpu));
    out
}

/// How many are free, of a node in a list: `2/8`, and how many take nothing.
pub(crate) fn in_short(gpus: &[NodeGpu]) -> String {
    if gpus.is_empty() {
        return "-".to_owned();
    }
    let is_free = |gpu: &&NodeGpu| !gpu.taken && gpu.sick.is_empty();
    let free = gpus.iter().filter(is_free).count();
    let sick = gpus.iter().filter(|gpu| !gpu.sick.is_empty()).count();
    let sick = match sick {
        0 => String::new(),
        some => format!(" {some} sick"),
    };
    format!("{free}/{}{sick}", gpus.len())
}

fn row(gpu: &NodeGpu) -> [String; 7] {
    let by = gpu.session.as_ref();
    let by = by.map_or_else(|| "a job".to_owned(), ToString::to_string);
    let state = match (gpu.sick.is_empty(), gpu.taken) {
        (true, false) => "free".to_owned(),
        (true, true) => format!("{by} has it"),
        (false, false) => format!("takes no job: {}", gpu.sick),
        (false, true) => format!("{by} has it, and no further one: {}", gpu.sick),
    };
    let reading = gpu.reading.clone().unwrap_or_default();
    [
        gpu.uuid.clone(),
        gpu.model.clone(),
        gpu.vram_mib.to_string(),
        or_unknown(reading.vram_mib_used, ""),
        or_unknown(reading.busy_percent, "%"),
        match gpu.encodes {
            Some(true) => "yes",
            Some(false) => "no",
            None => "?",
        }
        .to_owned(),
        state,
    ]
}

fn or_unknown(value: Option<u32>, unit: &str) -> String {
    value.map_or_else(|| "?".to_owned(), |value| format!("{value}{unit}"))
}

/// What has no column, a line each, of what is known.
fn details(gpu: &NodeGpu) -> String {
    let reading = gpu.reading.clone().unwrap_or_default();
    let mut all = Vec::new();
    if let Some(whole) = &gpu.slice_of {
        all.push(format!("is a slice of {whole}"));
    }
    if let Some(errors) = reading.ecc_uncorrected {
        let ever = reading.ecc_uncorrected_ever;
        let ever = ever.map_or_else(String::new, |ever| format!(", {ever} ever"));
        all.push(format!(
            "ECC could not correct {errors} errors since the driver was loaded{ever}"
        ));
    }
    if !reading.xids.is_empty() {
        let xids: Vec<String> = reading.xids.iter().map(u32::to_string).collect();
        all.push(format!("XIDs {}", xids.join(", ")));
    }
    for process in reading.processes.iter().flatten() {
        let used = or_unknown(process.vram_mib_used, " MiB");
        all.push(format!("process {} has {used}", process.pid));
    }
    if let Some(at) = gpu.read_at {
        all.push(format!("read at {}", rfc3339(at)));
    }
    let line = |what: &String| table::cell_of(&format!("{}: {what}", gpu.uuid)) + "\n";
    all.iter().map(line).collect()
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_protocol::gpu::{GpuProcess, GpuReading};

    fn gpu(taken: bool, sick: &str) -> NodeGpu {
        NodeGpu {
            uuid: "GPU-1".to_owned(),
            model: "NVIDIA L4".to_owned(),
            vram_mib: 23_034,
            taken,
            sick: sick.to_owned(),
            compute_capability: Some(89),
            encodes: None,
            slice_of: None,
            session: None,
            reading: None,
            read_at: None,
        }
    }

    #[test]
    fn a_gpu_is_said_to_be_free_taken_or_sick_and_why() {
        let state = |taken, sick| row(&gpu(taken, sick))[6].clone();
        assert_eq!(state(false, ""), "free");
        assert_eq!(state(true, ""), "a job has it");
        assert_eq!(state(false, "XID 79"), "takes no job: XID 79");
        let both = "a job has it, and no further one: XID 48";
        assert_eq!(state(true, "XID 48"), both);
        let id = "ses_01kb0000000000000000000000";
        let by = NodeGpu {
            session: Some(id.parse().unwrap()),
            ..gpu(true, "")
        };
        assert_eq!(row(&by)[6], format!("{id} has it"));
    }

    #[test]
    fn what_is_not_known_of_a_gpu_is_not_made_up() {
        let unknown = row(&gpu(false, ""));
        assert_eq!(unknown[3..6], ["?", "?", "?"]);
        assert_eq!(details(&gpu(false, "")), "");
        let known = NodeGpu {
            encodes: Some(false),
            slice_of: Some("GPU-0".to_owned()),
            reading: Some(GpuReading {
                vram_mib_used: Some(0),
                busy_percent: Some(63),
                ecc_uncorrected: Some(0),
                ecc_uncorrected_ever: Some(3),
                xids: vec![31, 94],
                processes: Some(vec![
                    GpuProcess {
                        pid: 71,
                        vram_mib_used: Some(900),
                    },
                    GpuProcess {
                        pid: 72,
                        vram_mib_used: None,
                    },
                ]),
            }),
            read_at: Some(0),
            ..gpu(true, "")
        };
        assert_eq!(row(&known)[3..6], ["0", "63%", "no"]);
        let said = "GPU-1: is a slice of GPU-0\n\
            GPU-1: ECC could not correct 0 errors since the driver was loaded, 3 ever\n\
            GPU-1: XIDs 31, 94\n\
            GPU-1: process 71 has 900 MiB\n\
            GPU-1: process 72 has ?\n\
            GPU-1: read at 1970-01-01T00:00:00.000Z\n";
        assert_eq!(details(&known), said);
    }

    #[test]
    fn a_list_has_how_many_are_free_and_sick() {
        assert_eq!(in_short(&[]), "-");
        assert_eq!(in_short(&[gpu(false, ""), gpu(true, "")]), "1/2");
        let ill = [gpu(false, ""), gpu(false, "XID 79"), gpu(true, "XID 48")];
        assert_eq!(in_short(&ill), "1/3 2 sick");
    }
}
