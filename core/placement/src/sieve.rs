//! The filters over the index: what [`check`](crate::check()) says of one node, of 64 at once.

use crate::index::FleetIndex;
use crate::index::block::{Column, Head, lanes};
use crate::index::cell::{Block, Wanted};
use crate::job::JobNeed;
use crate::policy::{Policy, Step};
use crate::price::{Place, WHOLE};
use crate::reason::Reason;
use crate::request::SessionRequest;
use crate::score::{DESKTOP, IMAGE, rtt_points, spread};
use nearlight_protocol::id::NodeId;
use std::collections::BTreeSet;

/// A request and a policy as the index reads them: names are numbers.
#[derive(Debug)]
pub(crate) struct Rules<'a> {
    pub(crate) request: &'a SessionRequest,
    pub(crate) policy: &'a Policy,
    /// The step in force.
    pub(crate) step: Option<Step>,
    /// The image's number, if any node has it.
    image: Option<u32>,
    /// The assets' numbers.
    assets: Vec<Option<u32>>,
    /// The number of the app of which a desktop would do, if any node has one ready; `None` where
    /// none would do.
    desktop: Option<Option<u32>>,
    /// Points for operators, by their number.
    pub(crate) spread: Vec<(u32, u32)>,
    /// The runtime's number, if any node has it; `None` where any will do.
    runtime: Option<Option<u32>>,
    /// Points for its price on any node, at least.
    pub(crate) price_least: u32,
    /// The greatest share of the card's prices with which a node may be within its limit.
    permille_max: u32,
}

impl<'a> Rules<'a> {
    pub(crate) fn new(index: &FleetIndex, request: &'a SessionRequest, policy: &'a Policy) -> Self {
        let operators = spread(request).filter_map(|(name, points)| {
            let id = index.operators.id(name)?;
            Some((id, points))
        });
        Self {
            request,
            policy,
            step: policy.step(request.waited_ms),
            image: index.images.id(&request.image),
            assets: (request.assets().iter())
                .map(|asset| index.images.id(asset))
                .collect(),
            desktop: request.desktop.as_ref().map(|app| index.desktops.id(app)),
            spread: operators.collect(),
            runtime: request.runtime.as_ref().map(|name| index.runtimes.id(name)),
            price_least: request.rates.points(Place {
                permille: index.price_least(),
                ..Place::default()
            }),
            permille_max: permille_max(request),
        }
    }

    /// The names that blocks are asked for by who only sifts.
    pub(crate) fn wanted_to_sift(&self) -> Wanted {
        Wanted {
            runtime: self.runtime.flatten(),
            image: self.image.filter(|_| self.needs_image()),
            desktop: None,
        }
    }

    fn needs_image(&self) -> bool {
        self.policy.image_required || self.request.needs_image_here()
    }

    /// The names that blocks are asked for.
    pub(crate) fn wanted(&self) -> Wanted {
        Wanted {
            runtime: self.runtime.flatten(),
            image: self.image,
            desktop: self.desktop.flatten(),
        }
    }

    /// Points that every node at this distance has, unless the step in force leaves it out.
    pub(crate) fn within_step(&self, counts_as_ms: u32) -> Option<u32> {
        let too_far = self.step.is_some_and(|step| counts_as_ms > step.rtt_ms_max);
        (!too_far).then(|| rtt_points(counts_as_ms))
    }

    /// Why a whole cell is out, whatever its nodes have.
    pub(crate) fn cell_is_out(&self, region: &str, counts_as_ms: u32) -> Option<Reason> {
        if !self.request.may_run_in(region) {
            Some(Reason::Region)
        } else if counts_as_ms > self.policy.rtt_ms_max() {
            Some(Reason::OutOfReach)
        } else {
            None
        }
    }

    /// Whether a node has the runtime that is asked for, if one is.
    pub(crate) fn runtime_exists(&self) -> bool {
        self.runtime != Some(None)
    }

    /// Whether some lane may have enough of everything that is free.
    pub(crate) fn may_hold(&self, head: &Head) -> bool {
        let request = self.request;
        head.least(Column::Price) <= self.permille_max
            // What an encoder takes is off the column; no job needs that.
            && (request.job.is_some()
                || head.greatest(Column::CpuFree) >= request.cpu_milli.max(1))
            && head.greatest(Column::MemFree) >= request.mem_mib
            && head.greatest(Column::UplinkFree) >= request.kbps
            && head.greatest(Column::Vram) >= request.vram_mib
    }

    /// Lanes that do not cost too much, unless their encoder does. Others than `asked` may be anything.
    pub(crate) fn may_be_affordable(&self, block: &Block<'_>, asked: u64) -> u64 {
        let above = self.permille_max.checked_add(1);
        above.map_or(u64::MAX, |above| {
            !block.at_least(Column::Price, above, asked)
        })
    }

    /// Lanes of `asked` that do not cost too much.
    fn affordable(&self, block: &Block<'_>, asked: u64) -> u64 {
        let asked = asked & self.may_be_affordable(block, asked);
        match self.request.price_micro_h_max {
            None => asked,
            Some(_) => block.lanes_where(asked, |row| {
                let node = &row.standing;
                !self
                    .request
                    .is_dear(node.price_permille(), node.cpu_encode())
            }),
        }
    }

    /// Lanes of `asked` where nothing has to be fetched first: they have the image, and every asset.
    pub(crate) fn warm(&self, block: &Block<'_>, asked: u64) -> u64 {
        let image = asked & block.image();
        match self.assets.is_empty() {
            true => image,
            false => block.with_images(image, &self.assets),
        }
    }

    /// Lanes of `asked` where no desktop has to be started that a ready one would do for.
    pub(crate) fn ready(&self, block: &Block<'_>, asked: u64) -> u64 {
        match self.desktop {
            None => asked,
            Some(_) => asked & block.desktop(),
        }
    }

    /// Points that each lane of `asked` has at least for what has to be fetched or started first.
    pub(crate) fn waits_at_least(&self, block: &Block<'_>, asked: u64) -> u32 {
        let image = if self.warm(block, asked) == 0 {
            IMAGE
        } else {
            0
        };
        let desktop = if self.ready(block, asked) == 0 {
            DESKTOP
        } else {
            0
        };
        image + desktop
    }

    /// Lanes of `asked` that pass every filter on nodes. `out` hears of each reason and the lanes
    /// whose first one it is.
    pub(crate) fn sift(
        &self,
        block: &Block<'_>,
        asked: u64,
        mut out: impl FnMut(Reason, u64),
    ) -> u64 {
        let left = self.sift_lasting(block, asked, &mut out);
        if left == 0 {
            return 0;
        }
        self.sift_passing(block, left, &mut out)
    }

    /// The filters whose answer does not change with time.
    pub(crate) fn sift_lasting(
        &self,
        block: &Block<'_>,
        asked: u64,
        mut out: impl FnMut(Reason, u64),
    ) -> u64 {
        let head = block.head;
        let request = self.request;
        let mut left = asked;
        let mut keep = |left: &mut u64, lanes, reason| keep(left, lanes, reason, &mut out);
        let column = |left, column, need| block.at_least(column, need, left);
        keep(&mut left, head.gpu(request.gpu), Reason::GpuClass);
        let enough = column(left, Column::Vram, request.vram_mib);
        let says_so = block.say_more_vram(left & !enough, request.vram_mib);
        keep(&mut left, enough | says_so, Reason::Vram);
        match &request.job {
            None => keep(&mut left, head.encodes, Reason::NoEncoder),
            Some(job) => {
                keep(&mut left, head.hosts, Reason::NoJobs);
                let has = lacking(block, left, job, Reason::Runtime);
                keep(&mut left, !has, Reason::Runtime);
            }
        }
        if self.runtime.is_some() {
            keep(&mut left, block.runtime(), Reason::Runtime);
        }
        keep(&mut left, enough, Reason::GpuMemoryUnproved);
        if let Some(job) = &request.job {
            for reason in LASTING {
                let lack = lacking(block, left, job, reason);
                keep(&mut left, !lack, reason);
            }
        }
        keep(&mut left, head.trust(request.trust), Reason::Trust);
        // Each column is read only for lanes that have enough of the ones before it.
        let cpu = request.cpu_milli.max(1);
        let mut large = left
            & match request.job {
                None => column(left, Column::CpuTotal, cpu),
                Some(_) => block.lanes_where(left, |row| row.standing.cpu_total() >= cpu),
            };
        large &= column(large, Column::MemTotal, request.mem_mib);
        large &= column(large, Column::UplinkTotal, request.kbps);
        keep(&mut left, large, Reason::TooSmall);
        let affordable = self.affordable(block, left);
        keep(&mut left, affordable, Reason::Price);
        left
    }

    /// The filters whose answer may be another one later.
    fn sift_passing(&self, block: &Block<'_>, asked: u64, mut out: impl FnMut(Reason, u64)) -> u64 {
        let head = block.head;
        let request = self.request;
        let mut left = asked;
        let mut keep = |left: &mut u64, lanes, reason| keep(left, lanes, reason, &mut out);
        let column = |left, column, need| block.at_least(column, need, left);
        if self.needs_image() {
            let has_it = left & block.image();
            keep(&mut left, has_it, Reason::ImageMissing);
        }
        keep(&mut left, head.attached, Reason::Offline);
        keep(&mut left, !head.draining, Reason::Draining);
        keep(&mut left, !head.failing, Reason::FailedChecks);
        keep(&mut left, !head.outbox_full, Reason::OutboxFull);
        keep(&mut left, head.slot, Reason::SlotsTaken);
        let cpu = request.cpu_milli.max(1);
        let enough = match request.job {
            None => column(left, Column::CpuFree, cpu),
            Some(_) => block.lanes_where(left, |row| row.standing.cpu_free() >= cpu),
        };
        keep(&mut left, enough, Reason::CpuTaken);
        let enough = column(left, Column::MemFree, request.mem_mib);
        keep(&mut left, enough, Reason::MemoryTaken);
        let enough = column(left, Column::UplinkFree, request.kbps);
        keep(&mut left, enough, Reason::UplinkTaken);
        if let Some(job) = &request.job {
            let enough = block.lanes_where(left, |row| row.disk_free >= job.disk_new_mib());
            keep(&mut left, enough, Reason::DiskTaken);
            if job.gpu.is_some() {
                let free = lanes(left).filter(|lane| {
                    let gpus = block.jobs(*lane).map_or(&[][..], |host| &host.gpus);
                    job.has_free(gpus, block.row(*lane).gpus_free)
                });
                let free = free.fold(0, |free, lane| free | (1 << lane));
                keep(&mut left, free, Reason::GpusTaken);
            }
        }
        let max = self.policy.unproven_sessions_max;
        let full = lanes(left & head.unproven)
            .filter(|lane| block.row(*lane).sessions >= max)
            .fold(0, |full, lane| full | (1 << lane));
        keep(&mut left, !full, Reason::Unproven);
        let those = |asked, named| named_lanes(block, asked, named);
        let refused = those(left, &request.refused);
        keep(&mut left, !refused, Reason::Refused);
        let held = those(left, &request.held_against);
        keep(&mut left, !held, Reason::Held);
        left
    }
}

/// The greatest share of the card's prices with which a request is within its limit on a node whose encoder takes
/// nothing.
fn permille_max(request: &SessionRequest) -> u32 {
    let (Some(max), own @ 1..) = (request.price_micro_h_max, request.rates.own) else {
        return u32::MAX;
    };
    let below = (u128::from(max) + 1) * u128::from(WHOLE) - 1;
    u32::try_from(below / u128::from(own)).unwrap_or(u32::MAX)
}

/// Lanes of `asked` whose nodes are among these.
pub(crate) fn named_lanes(block: &Block<'_>, asked: u64, named: &BTreeSet<NodeId>) -> u64 {
    if named.is_empty() {
        return 0;
    }
    let those = lanes(asked).filter(|lane| named.contains(block.id(*lane)));
    those.fold(0, |those, lane| those | (1 << lane))
}

/// What a job's node lacks for good, after a runtime.
const LASTING: [Reason; 8] = [
    Reason::Gpus,
    Reason::GpuModel,
    Reason::GpuMemory,
    Reason::GpuMemoryUnproved,
    Reason::GpuCapability,
    Reason::GpusSick,
    Reason::Disk,
    Reason::Price,
];

/// Lanes of `asked` whose node never takes `job`, for this reason first.
fn lacking(block: &Block<'_>, asked: u64, job: &JobNeed, reason: Reason) -> u64 {
    let lack = lanes(asked).filter(|lane| job.lasting(block.jobs(*lane)) == Some(reason));
    lack.fold(0, |lack, lane| lack | (1 << lane))
}

/// Leaves those of `left` that are in `lanes`, and tells which are not.
fn keep(left: &mut u64, lanes: u64, reason: Reason, out: &mut impl FnMut(Reason, u64)) {
    if *left & !lanes != 0 {
        out(reason, *left & !lanes);
        *left &= lanes;
    }
}
