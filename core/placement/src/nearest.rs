//! The node that comes closest to a session that none will ever run, in words: so that whoever asked for too much
//! hears what there is, instead of waiting for it.
//!
//! **What it does not know:** whether such a node may join one day.

use crate::check::check;
use crate::node::NodeView;
use crate::policy::Policy;
use crate::reason::Reason;
use crate::request::SessionRequest;
use nearlight_protocol::control::Gpu;
use nearlight_protocol::job::GpuNeed;

/// What rules out the node that passes the most checks, as a sentence; `None` where no node is ruled out
/// for good, or there is none.
pub fn nearest(
    nodes: impl Iterator<Item = NodeView>,
    request: &SessionRequest,
    policy: &Policy,
) -> Option<String> {
    let mut best: Option<(Reason, NodeView)> = None;
    for node in nodes {
        let reason = check(&node, request, policy).err()?;
        if reason.passes() {
            return None;
        }
        let rank = (reason, std::cmp::Reverse(&node.id));
        let is_nearer = best
            .as_ref()
            .is_none_or(|(was, best)| rank > (*was, std::cmp::Reverse(&best.id)));
        if is_nearer {
            best = Some((reason, node));
        }
    }
    let (reason, node) = best?;
    let region = match node.region.as_str() {
        "" => String::new(),
        region => format!(", in {region},"),
    };
    let lack = lack(&node, reason, request);
    Some(format!(
        "no node of the fleet can run it, whatever ends; the nearest{region} {lack}"
    ))
}

fn lack(node: &NodeView, reason: Reason, request: &SessionRequest) -> String {
    let need = request.job.as_ref().and_then(|job| job.gpu.as_ref());
    let host = node.jobs.as_ref();
    let gpus = host.map_or(&[][..], |host| &host.gpus);
    match reason {
        Reason::Region => "is in a region that was not asked for".to_owned(),
        Reason::OutOfReach => "is farther away than any latency step allows".to_owned(),
        Reason::GpuClass => "has a GPU of a lower class, or none".to_owned(),
        Reason::Vram => format!(
            "gives a session {} MiB of GPU memory, and {} are asked for",
            node.vram_mib, request.vram_mib
        ),
        Reason::NoEncoder => "has no video encoder that works".to_owned(),
        Reason::NoJobs => "takes no jobs".to_owned(),
        Reason::Runtime => "has no such container runtime".to_owned(),
        Reason::Disk => format!(
            "holds jobs to {} MiB of disk in all, and {} are asked for",
            host.map_or(0, |host| host.disk_mib),
            request.disk_new_mib()
        ),
        Reason::Trust => "is not vetted, and the job asks for one that is".to_owned(),
        Reason::TooSmall => format!(
            "has {} thousandths of a core and {} MiB of memory for sessions in all, and {} and {} are asked for",
            node.cpu_milli_total, node.mem_mib_total, request.cpu_milli, request.mem_mib
        ),
        Reason::Price => "costs more than it may".to_owned(),
        Reason::GpuMemoryUnproved if need.is_none() => format!(
            "gives a session {} MiB of GPU memory of which receipts stand for {}, and {} are asked for",
            node.vram_mib,
            node.vram_mib_to_place(),
            request.vram_mib
        ),
        other => match need {
            Some(need) => lack_of_gpus(gpus, other, need),
            None => "lacks what it asks for".to_owned(),
        },
    }
}

fn lack_of_gpus(gpus: &[Gpu], reason: Reason, need: &GpuNeed) -> String {
    let count = need.count;
    let most = |of: fn(&Gpu) -> u32| gpus.iter().map(of).max().unwrap_or(0);
    match reason {
        Reason::GpuModel => {
            let mut models: Vec<&str> = gpus.iter().map(|gpu| gpu.model.as_str()).collect();
            models.sort_unstable();
            models.dedup();
            let model = need.model.as_deref().unwrap_or_default();
            format!(
                "has {}, and {count} of `{model}` are asked for",
                models.join(", ")
            )
        }
        Reason::GpuMemory => format!(
            "has such GPUs of at most {} MiB, and {count} of {} MiB are asked for",
            most(|gpu| gpu.vram_mib),
            need.vram_mib
        ),
        Reason::GpuMemoryUnproved => format!(
            "has such GPUs of which receipts stand for less memory than they have, and {count} with {} MiB of it proved \
             are asked for",
            need.vram_mib
        ),
        Reason::GpuCapability => format!(
            "has such GPUs of compute capability {} at most (times ten), and {} is asked for",
            most(|gpu| gpu.compute_capability),
            need.compute_capability
        ),
        Reason::GpusSick => {
            format!("has too few such GPUs that are well, and {count} are asked for")
        }
        _ => format!("has {} GPUs, and {count} are asked for", gpus.len()),
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::decide::test::node;
    use crate::job::JobNeed;
    use nearlight_protocol::control::JobHost;
    use nearlight_protocol::job::ContainerRuntime;

    fn host(gpus: &[u32]) -> NodeView {
        let gpu = |vram_mib: &u32| Gpu {
            model: "NVIDIA L4".to_owned(),
            vram_mib: *vram_mib,
            ..Gpu::default()
        };
        let mut node = node(gpus.len() as u64);
        node.jobs = Some(JobHost {
            runtimes: vec![ContainerRuntime::Runc],
            gpus: gpus.iter().map(gpu).collect(),
            ..JobHost::default()
        });
        node
    }

    fn asks(count: u32, vram_mib: u32) -> SessionRequest {
        SessionRequest {
            job: Some(JobNeed {
                gpu: Some(GpuNeed {
                    count,
                    vram_mib,
                    model: None,
                    compute_capability: 0,
                }),
                ..JobNeed::default()
            }),
            ..SessionRequest::default()
        }
    }

    fn said(nodes: &[NodeView], request: &SessionRequest) -> Option<String> {
        nearest(nodes.iter().cloned(), request, &Policy::default())
    }

    #[test]
    fn who_asks_for_what_nobody_has_hears_what_there_is() {
        let nodes = [host(&[]), host(&[24_000, 24_000]), host(&[24_000])];
        let words = said(&nodes, &asks(2, 80_000)).unwrap();
        assert!(
            words.contains("at most 24000 MiB, and 2 of 80000 MiB"),
            "{words}"
        );
        let words = said(&nodes, &asks(8, 0)).unwrap();
        assert!(words.contains("GPUs, and 8 are asked for"), "{words}");
    }

    #[test]
    fn who_only_has_to_wait_hears_nothing_of_it() {
        let mut full = host(&[24_000]);
        full.state.slots_free = 0;
        assert_eq!(said(&[host(&[]), full], &asks(1, 0)), None);
        assert_eq!(said(&[], &asks(1, 0)), None);
    }
}
