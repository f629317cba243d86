//! Filters and score of one node: what the index does to all of them at once, said plainly.

use crate::node::NodeView;
use crate::policy::Policy;
use crate::reason::Reason;
use crate::request::SessionRequest;
use crate::score::{DESKTOP, GPU, IMAGE, Standing, Why, rtt_points, spread};
use nearlight_protocol::app::GpuClass;

/// Whether `node` can run `request` now, and how well it suits it. This is the specification of
/// [`decide`](crate::decide()), which counts and ranks a fleet by exactly this.
///
/// # Errors
/// The first [`Reason`] why not.
pub fn check(node: &NodeView, request: &SessionRequest, policy: &Policy) -> Result<Why, Reason> {
    let rtt_ms = request.rtts.to(&node.region);
    let counts_as_ms = rtt_ms.unwrap_or(policy.rtt_ms_unknown);
    let step = policy.step(request.waited_ms);
    let (reach, state) = (policy.rtt_ms_max(), &node.state);
    let cpu = request.cpu_milli.max(1);
    let encode = request.encode_cpu_milli(node.encode_cpu_milli);
    let room = |cpu_milli: u32| cpu_milli.saturating_sub(encode);
    let narrow = |uplink: Option<u32>| uplink.is_some_and(|kbps| kbps < request.kbps);
    let too_small = room(node.cpu_milli_total) < cpu
        || node.mem_mib_total < request.mem_mib
        || narrow(node.uplink_kbps_total);
    let dear = request.is_dear(node.price_permille, node.encode_cpu_milli);
    let needs_image = policy.image_required || request.needs_image_here();
    let has_image = node.images.contains(&request.image);
    let no_job = request.job.as_ref();
    let no_job = no_job.and_then(|job| job.lasting(node.jobs.as_ref()));
    let has_gpus_free = request.job.as_ref().is_none_or(|job| {
        let host = node.jobs.as_ref();
        host.is_none_or(|host| job.has_free(&host.gpus, state.gpus_free()))
    });
    let checks = [
        (!request.may_run_in(&node.region), Reason::Region),
        (counts_as_ms > reach, Reason::OutOfReach),
        (node.gpu < request.gpu, Reason::GpuClass),
        (node.vram_mib < request.vram_mib, Reason::Vram),
        (request.job.is_none() && !node.encodes, Reason::NoEncoder),
        (no_job == Some(Reason::NoJobs), Reason::NoJobs),
        (no_job == Some(Reason::Runtime), Reason::Runtime),
        (
            request.runtime.as_ref().is_some_and(|r| *r != node.runtime),
            Reason::Runtime,
        ),
        (
            node.vram_mib_to_place() < request.vram_mib,
            Reason::GpuMemoryUnproved,
        ),
        (no_job == Some(Reason::Gpus), Reason::Gpus),
        (no_job == Some(Reason::GpuModel), Reason::GpuModel),
        (no_job == Some(Reason::GpuMemory), Reason::GpuMemory),
        (
            no_job == Some(Reason::GpuMemoryUnproved),
            Reason::GpuMemoryUnproved,
        ),
        (no_job == Some(Reason::GpuCapability), Reason::GpuCapability),
        (no_job == Some(Reason::GpusSick), Reason::GpusSick),
        (no_job == Some(Reason::Disk), Reason::Disk),
        (no_job == Some(Reason::Price), Reason::Price),
        (node.trust < request.trust, Reason::Trust),
        (too_small, Reason::TooSmall),
        (dear, Reason::Price),
        (needs_image && !has_image, Reason::ImageMissing),
        (!state.attached, Reason::Offline),
        (state.draining, Reason::Draining),
        (state.failing, Reason::FailedChecks),
        (state.outbox_full, Reason::OutboxFull),
        (state.slots_free == 0, Reason::SlotsTaken),
        (room(state.cpu_milli_free) < cpu, Reason::CpuTaken),
        (state.mem_mib_free < request.mem_mib, Reason::MemoryTaken),
        (narrow(state.uplink_kbps_free), Reason::UplinkTaken),
        (
            state.disk_mib_free < request.disk_new_mib(),
            Reason::DiskTaken,
        ),
        (!has_gpus_free, Reason::GpusTaken),
        (
            state.rank == Some(0) && state.sessions >= policy.unproven_sessions_max,
            Reason::Unproven,
        ),
        (request.refused.contains(&node.id), Reason::Refused),
        (request.held_against.contains(&node.id), Reason::Held),
        (
            step.is_some_and(|step| counts_as_ms > step.rtt_ms_max),
            Reason::TooFar,
        ),
    ];
    if let Some((_, reason)) = checks.into_iter().find(|(fails, _)| *fails) {
        return Err(reason);
    }
    Ok(why(node, request, (rtt_ms, counts_as_ms)))
}

/// How well a node that can suits the request.
fn why(node: &NodeView, request: &SessionRequest, rtt: (Option<u32>, u32)) -> Why {
    let (rtt_ms, counts_as_ms) = rtt;
    let mut wanted = request.assets().iter().chain([&request.image]);
    let has_all = wanted.all(|of| node.images.contains(of));
    let wastes_gpu = request.wastes_gpus() && node.gpu > GpuClass::None;
    let desktop = request.desktop.as_ref();
    let starts_desktop = desktop.is_some_and(|app| !node.desktops.contains(app));
    let operator = spread(request).find(|(name, _)| *name == node.operator);
    let price = request.price_on(
        (node.price_permille, node.encode_cpu_milli),
        node.state.gpus_free(),
        || node.jobs.as_ref(),
    );
    Why {
        rtt_ms,
        rtt: rtt_points(counts_as_ms),
        image: if has_all { 0 } else { IMAGE },
        desktop: if starts_desktop { DESKTOP } else { 0 },
        gpu: if wastes_gpu { GPU } else { 0 },
        price,
        spread: operator.map_or(0, |(_, points)| points),
        ..Standing::of(node).why(request.cpu_milli, request.kbps)
    }
}

impl SessionRequest {
    /// Whether a region was asked for, or any will do, and none that is ruled out.
    pub(crate) fn may_run_in(&self, region: &str) -> bool {
        let named = |regions: &[String]| regions.iter().any(|name| name == region);
        (self.regions.is_empty() || named(&self.regions)) && !named(&self.regions_not)
    }
}
