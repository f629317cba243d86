//! What a node reads of its GPUs while it runs. What a GPU *is* stands in the inventory
//! ([`crate::control::Gpu`]), is written to the ledger, and is told when it changes; what is read of it is told
//! with a heartbeat now and then, kept in memory by the broker that hears it, and by nobody else.
//!
//! Every value is optional by itself: a MIG slice has no utilisation, a card for games no ECC.
//!
//! **What it does not know:** whether a GPU is well. The node decides that, from more than this.

use crate::limits::{GPU_PROCESSES_MAX, GPU_XIDS_MAX, NODE_GPUS_MAX};
use serde::{Deserialize, Serialize};

/// Longest UUID of a GPU that is kept, bytes: NVML's have forty.
pub const GPU_UUID_BYTES_MAX: usize = 96;

/// Whether this can be the UUID of a GPU.
#[must_use]
pub fn is_gpu_uuid(uuid: &str) -> bool {
    (1..=GPU_UUID_BYTES_MAX).contains(&uuid.len())
}

/// One look at a GPU, or at a MIG slice of one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct GpuReading {
    /// Memory that is allocated, MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vram_mib_used: Option<u32>,
    /// Share of the last moments in which something was computed, per cent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busy_percent: Option<u32>,
    /// Errors that ECC could not correct since the driver was loaded; absent where there is no ECC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ecc_uncorrected: Option<u32>,
    /// The same since the GPU was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ecc_uncorrected_ever: Option<u32>,
    /// The driver's error numbers (XIDs) since the node's agent started, each once, lowest first; at most
    /// [`GPU_XIDS_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub xids: Vec<u32>,
    /// The processes that compute on it, most memory first; at most [`GPU_PROCESSES_MAX`]. Absent where the driver
    /// does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<Vec<GpuProcess>>,
}

/// A process that computes on a GPU: of the session that has the GPU, if one has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct GpuProcess {
    /// As the node's host numbers it.
    pub pid: u32,
    /// Memory that it has there, MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vram_mib_used: Option<u32>,
}

/// What was read of which GPU.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuSeen {
    /// Its UUID, as the inventory has it.
    pub uuid: String,
    /// What was read.
    #[serde(flatten)]
    pub reading: GpuReading,
}

/// As much as is kept of what a node says it has read.
#[must_use]
pub fn within_bounds(mut seen: Vec<GpuSeen>) -> Vec<GpuSeen> {
    seen.retain(|gpu| is_gpu_uuid(&gpu.uuid));
    seen.truncate(NODE_GPUS_MAX);
    for gpu in &mut seen {
        gpu.reading.xids.truncate(GPU_XIDS_MAX);
        if let Some(processes) = &mut gpu.reading.processes {
            processes.truncate(GPU_PROCESSES_MAX);
        }
    }
    seen
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::control::{FromEdge, Gpu, Heartbeat};

    fn seen(uuid: &str, reading: GpuReading) -> GpuSeen {
        let uuid = uuid.to_owned();
        GpuSeen { uuid, reading }
    }

    #[test]
    fn what_is_not_known_is_not_written_and_what_is_comes_back() {
        let plain = serde_json::to_value(seen("GPU-1", GpuReading::default())).unwrap();
        assert_eq!(plain, serde_json::json!({ "uuid": "GPU-1" }));
        let all = seen(
            "MIG-1",
            GpuReading {
                vram_mib_used: Some(9_000),
                busy_percent: Some(0),
                ecc_uncorrected: Some(0),
                ecc_uncorrected_ever: Some(3),
                xids: vec![31, 94],
                processes: Some(vec![GpuProcess {
                    pid: 7,
                    vram_mib_used: None,
                }]),
            },
        );
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(serde_json::from_str::<GpuSeen>(&text).unwrap(), all);
    }

    #[test]
    fn nodes_of_before_say_less_and_newer_ones_more() {
        let before = r#"{"type":"heartbeat","cpu_milli_used":1,"mem_mib_available":2}"#;
        let FromEdge::Heartbeat(heartbeat) = serde_json::from_str(before).unwrap() else {
            panic!("a heartbeat");
        };
        assert!(heartbeat.gpus.is_empty());
        // A heartbeat without readings is the one that it always was.
        let text = serde_json::to_string(&FromEdge::Heartbeat(Heartbeat::default())).unwrap();
        assert!(!text.contains("gpus"), "{text}");
        let gpu: Gpu = serde_json::from_str(r#"{"uuid":"a","model":"b","vram_mib":1}"#).unwrap();
        assert_eq!((gpu.encodes, gpu.slice_of), (None, None));
        let newer = r#"{"uuid":"a","fan_percent":3,"processes":[{"pid":1,"name":"x"}]}"#;
        let seen: GpuSeen = serde_json::from_str(newer).unwrap();
        assert_eq!(seen.reading.processes.unwrap()[0].pid, 1);
    }

    #[test]
    fn a_node_that_says_too_much_is_kept_in_bounds() {
        let much = GpuReading {
            xids: (0..100).collect(),
            processes: Some(vec![
                GpuProcess {
                    pid: 1,
                    vram_mib_used: None
                };
                100
            ]),
            ..GpuReading::default()
        };
        let names = (0..100).map(|n| format!("GPU-{n}"));
        let names = ["", &"x".repeat(97)]
            .map(str::to_owned)
            .into_iter()
            .chain(names);
        let kept = within_bounds(names.map(|name| seen(&name, much.clone())).collect());
        assert_eq!(
            (kept.len(), kept[0].uuid.as_str()),
            (NODE_GPUS_MAX, "GPU-0")
        );
        assert_eq!(kept[0].reading.xids.len(), GPU_XIDS_MAX);
        assert_eq!(
            kept[0].reading.processes.as_ref().unwrap().len(),
            GPU_PROCESSES_MAX
        );
    }
}
