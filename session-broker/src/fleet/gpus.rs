//! The GPUs of a node that its jobs claim one by one, and which of them are free.
//!
//! Placement counts them as bits, in the order of the inventory. The names are the ledger's: which of
//! them a claim has is written with it.

use super::node::FleetNode;
use nearlight_kit::endpoint::site::is_domain;
use nearlight_placement::{NodeState, SessionRequest, choose_gpus};
use nearlight_protocol::api::NodeGpu;
use nearlight_protocol::control::{Gpu, JobHost};
use nearlight_protocol::gpu::is_gpu_uuid;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::limits::NODE_GPUS_MAX;
use nearlight_protocol::unit::MonoTime;
use std::collections::BTreeSet;

impl FleetNode {
    /// The GPUs that claims have, or that are left alone, a bit each. A claim that does not name its own, of a broker that knew
    /// no names, has all of them.
    pub(super) fn gpus_held(&self, now: MonoTime) -> u64 {
        let with_gpus = || self.claims().filter(|held| held.gpus > 0);
        if with_gpus().any(|held| held.gpu_uuids.is_empty()) {
            return u64::MAX;
        }
        let is_held = |gpu: &Gpu| {
            let cooling = self.cooling_gpus.get(&gpu.uuid);
            cooling.is_some_and(|until| *until > now)
                || with_gpus().any(|held| held.gpu_uuids.contains(&gpu.uuid))
        };
        bits(self.gpus(), is_held)
    }

    /// The GPUs that the node gives to jobs.
    fn gpus(&self) -> &[Gpu] {
        let jobs = self.row.inventory.jobs.as_ref();
        jobs.map_or(&[], of)
    }

    /// The same, with what receipts stand for of their memory.
    pub(super) fn gpus_proved(&self) -> Vec<Gpu> {
        let memory = self.proven.memory.as_deref();
        let proved = |gpu: &Gpu| Gpu {
            proved_mib: memory.and_then(|of| of.get(&gpu.uuid)).copied(),
            ..gpu.clone()
        };
        self.gpus().iter().map(proved).collect()
    }

    /// How much memory receipts stand for of the largest GPU that is not jobs'; `None` where none says anything of one.
    pub(super) fn vram_mib_proved(&self) -> Option<u32> {
        let jobs = self.row.inventory.jobs.as_ref();
        let is_jobs = |uuid: &str| {
            let mut gpus = jobs.into_iter().flat_map(|jobs| &jobs.gpus);
            gpus.any(|gpu| gpu.uuid == uuid)
        };
        let memory = self.proven.memory.as_deref()?;
        let of_apps = memory.iter().filter(|(uuid, _)| !is_jobs(uuid));
        of_apps.map(|(_, mib)| *mib).max()
    }

    /// As the node's operator may see them.
    pub(super) fn public_gpus(&self) -> Vec<NodeGpu> {
        let free = self.state().gpus_free();
        let numbered = self.gpus().iter().enumerate();
        let shown = numbered.map(|(at, gpu)| NodeGpu {
            uuid: gpu.uuid.clone(),
            model: gpu.model.clone(),
            vram_mib: gpu.vram_mib,
            taken: (free >> at) & 1 == 0,
            sick: gpu.sick.clone(),
            compute_capability: Some(gpu.compute_capability).filter(|known| *known > 0),
            encodes: gpu.encodes,
            slice_of: gpu.slice_of.clone(),
            session: self.holder_of(gpu),
            // Told by [`crate::sessions`], of one node.
            reading: None,
            read_at: None,
        });
        shown.collect()
    }

    /// The session whose claim names it.
    fn holder_of(&self, gpu: &Gpu) -> Option<SessionId> {
        let mut held = self
            .claims()
            .filter(|held| held.gpu_uuids.contains(&gpu.uuid));
        held.next().map(|held| held.session.clone())
    }

    /// The UUIDs of the GPUs that a session gets here; `None` if they are too few.
    pub(super) fn gpus_for(&self, request: &SessionRequest) -> Option<Vec<String>> {
        let Some(job) = &request.job else {
            return Some(Vec::new());
        };
        let gpus = self.gpus_proved();
        let chosen = choose_gpus(&gpus, self.state().gpus_free(), job)?;
        Some(chosen.into_iter().map(|gpu| gpu.uuid.clone()).collect())
    }
}

/// What is held of another broker's node once a session is there that is given to it: what its holder is
/// going to choose, as it does.
pub(super) fn held_with(
    host: Option<&JobHost>,
    state: &NodeState,
    request: &SessionRequest,
) -> u64 {
    let job = request.job.as_ref().filter(|job| job.gpu.is_some());
    let Some((host, job)) = host.zip(job) else {
        return state.gpus_held;
    };
    let chosen = choose_gpus(&host.gpus, state.gpus_free(), job).unwrap_or_default();
    let is_chosen = |gpu: &Gpu| chosen.iter().any(|other| other.uuid == gpu.uuid);
    !state.gpus_free() | bits(&host.gpus, is_chosen)
}

/// Those that can be claimed. An agent that does not know what a grant says of them gives none.
pub(super) fn of(jobs: &JobHost) -> &[Gpu] {
    match jobs.gives_gpus {
        true => &jobs.gpus[..jobs.gpus.len().min(NODE_GPUS_MAX)],
        false => &[],
    }
}

/// Leaves of what a node says it has what can be told apart, and as much as is kept.
pub(crate) fn keep_distinct(jobs: &mut JobHost) {
    jobs.direct.take_if(|direct| !is_domain(&direct.domain));
    let mut seen = BTreeSet::new();
    jobs.gpus.retain_mut(|gpu| {
        gpu.slice_of.take_if(|whole| !is_gpu_uuid(whole));
        gpu.proved_mib = None;
        is_gpu_uuid(&gpu.uuid) && seen.insert(gpu.uuid.clone())
    });
    jobs.gpus.truncate(NODE_GPUS_MAX);
}

/// A bit for each that is so.
fn bits(gpus: &[Gpu], is_so: impl Fn(&Gpu) -> bool) -> u64 {
    let so = gpus.iter().enumerate().filter(|(_, gpu)| is_so(gpu));
    so.fold(0, |bits, (at, _)| bits | (1 << at))
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_placement::JobNeed;
    use nearlight_protocol::job::GpuNeed;

    fn host(uuids: &[&str]) -> JobHost {
        let gpus = uuids.iter().map(|uuid| Gpu {
            uuid: (*uuid).to_owned(),
            ..Gpu::default()
        });
        JobHost {
            gpus: gpus.collect(),
            gives_gpus: true,
            ..JobHost::default()
        }
    }

    #[test]
    fn an_agent_of_before_gives_none_and_what_cannot_be_told_apart_counts_once() {
        let mut jobs = host(&["GPU-1", "", "GPU-1", "GPU-2"]);
        jobs.gpus.extend(host(&[&"x".repeat(97)]).gpus);
        jobs.gpus[0].slice_of = Some("x".repeat(97));
        keep_distinct(&mut jobs);
        assert_eq!(of(&jobs).len(), 2);
        assert_eq!(of(&jobs)[0].slice_of, None);
        jobs.gives_gpus = false;
        assert!(of(&jobs).is_empty());
        let many: Vec<String> = (0..100).map(|n| format!("GPU-{n}")).collect();
        let mut many = host(&many.iter().map(String::as_str).collect::<Vec<_>>());
        keep_distinct(&mut many);
        assert_eq!(many.gpus.len(), NODE_GPUS_MAX);
    }

    #[test]
    fn a_session_that_was_given_away_takes_what_its_holder_will_choose() {
        let host = host(&["GPU-2", "GPU-1", "GPU-0"]);
        let request = SessionRequest {
            job: Some(JobNeed {
                gpu: Some(GpuNeed {
                    count: 1,
                    model: None,
                    vram_mib: 0,
                    compute_capability: 0,
                }),
                ..JobNeed::default()
            }),
            ..SessionRequest::default()
        };
        let state = NodeState {
            gpus_taken: true,
            gpus_held: 0b100,
            ..NodeState::default()
        };
        assert_eq!(held_with(Some(&host), &state, &request), 0b110);
        let plain = SessionRequest::default();
        assert_eq!(held_with(Some(&host), &state, &plain), 0b100);
    }
}
