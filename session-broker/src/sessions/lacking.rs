//! What those who wait are told they wait for.
//!
//! **Invariants.** Whoever asks for what no node of the fleet has is told so, with what there is, and no time at which it
//! would be its turn.

use super::owner::Owner;
use super::placing::{NotPlaced, with_volumes};
use super::turn::Turn;
use super::{Placement, request_for, request_for_job};
use nearlight_placement::{Reason, Rejection, TooFew, nearest};
use nearlight_protocol::api::WaitsFor;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::work::Work;

impl Owner {
    /// Tells a session what it lacked when it was tried last.
    pub(super) fn tell_lack(&mut self, id: &SessionId, why: NotPlaced, turn: &mut Turn) {
        let (lack, placement) = match why {
            NotPlaced::Rejected(rejection) => {
                let lack = lack(rejection.nearest());
                (lack, self.waits(id, rejection))
            }
            NotPlaced::TooFew(lack) => (waits_for(&lack), Placement::WaitsTogether(lack)),
            NotPlaced::Volume { rejection, detail } => {
                let lack = match rejection.nearest() {
                    Some(reason) => lack(Some(reason)),
                    None => WaitsFor::Volume,
                };
                (lack, Placement::WaitsForVolume(rejection, detail))
            }
            NotPlaced::NoSlot | NotPlaced::Elsewhere { .. } => (WaitsFor::Slot, Placement::Unknown),
        };
        let Some(entry) = self.sessions.get_mut(id) else {
            return;
        };
        if entry.place.waits_for != Some(lack) || entry.placement != placement {
            entry.place.waits_for = Some(lack);
            entry.placement = placement;
            turn.touched.insert(id.clone());
        }
    }

    fn waits(&self, id: &SessionId, rejection: Rejection) -> Placement {
        match self.nowhere(id, &rejection) {
            Some(words) => Placement::Nowhere(rejection, words),
            None => Placement::Waits(rejection),
        }
    }

    /// Why no node can ever run it, and which comes nearest.
    fn nowhere(&self, id: &SessionId, rejection: &Rejection) -> Option<String> {
        let entry = self.sessions.get(id).filter(|_| !rejection.passes())?;
        if let Placement::Nowhere(before, words) = &entry.placement
            && before == rejection
        {
            return Some(words.clone());
        }
        let row = &entry.row;
        let request = match &row.work {
            Work::App(work) => self.priced(row, request_for(row, &work.app, 0)),
            Work::Job(spec) => {
                let plan = self.volume_plan(row).ok()?;
                let request =
                    request_for_job(row, spec, self.price_cap(spec), 0, self.apps.ahead());
                with_volumes(request, &plan)
            }
        };
        let others = self.fleet.remote_views().into_values().flatten();
        nearest(
            self.fleet.views().chain(others),
            &request,
            self.policy_for(row),
        )
    }
}

impl Placement {
    /// Whether no node will ever do, so that there is no turn to wait for.
    pub(super) fn is_nowhere(&self) -> bool {
        match self {
            Self::Nowhere(..) => true,
            Self::WaitsTogether(lack) => lack.most < lack.replicas,
            Self::Unknown | Self::Waits(_) | Self::WaitsForVolume(..) | Self::Placed { .. } => {
                false
            }
        }
    }
}

/// What a cluster waits for: a larger site where none ever has room for all, however busy it is now; else slots, where some
/// node has room for one of it.
fn waits_for(lack_of: &TooFew) -> WaitsFor {
    if lack_of.most < lack_of.replicas {
        WaitsFor::Node
    } else if lack_of.best == 0 {
        lack(lack_of.rejection.nearest())
    } else {
        WaitsFor::Slot
    }
}

/// What the node lacks that comes closest to taking a session.
const fn lack(nearest: Option<Reason>) -> WaitsFor {
    match nearest {
        // Whatever no receipt says has passed takes more once one of its sessions is over.
        Some(Reason::SlotsTaken | Reason::Unproven | Reason::Held) => WaitsFor::Slot,
        Some(Reason::CpuTaken) => WaitsFor::Cpu,
        Some(Reason::MemoryTaken) => WaitsFor::Memory,
        Some(Reason::UplinkTaken) => WaitsFor::Uplink,
        Some(Reason::DiskTaken) => WaitsFor::Disk,
        Some(Reason::GpusTaken) => WaitsFor::Gpus,
        Some(
            Reason::Region
            | Reason::OutOfReach
            | Reason::GpuClass
            | Reason::Vram
            | Reason::NoEncoder
            | Reason::NoJobs
            | Reason::Runtime
            | Reason::Gpus
            | Reason::GpuModel
            | Reason::GpuMemory
            | Reason::GpuMemoryUnproved
            | Reason::GpuCapability
            | Reason::GpusSick
            | Reason::Disk
            | Reason::Trust
            | Reason::TooSmall
            | Reason::Price
            | Reason::ImageMissing
            | Reason::Offline
            | Reason::Draining
            | Reason::FailedChecks
            | Reason::OutboxFull
            | Reason::Refused
            | Reason::TooFar,
        )
        | None => WaitsFor::Node,
    }
}
