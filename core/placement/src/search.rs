//! The best few, without a look at most nodes.

use crate::index::FleetIndex;
use crate::index::Near;
use crate::index::block::Key;
use crate::index::cell::{Block, Cell, Row};
use crate::score::{GPU, IMAGE, Why};
use crate::sieve::{Rules, lanes};
use nearlight_protocol::app::GpuClass;
use nearlight_protocol::id::NodeId;
use std::cmp::Ordering;

/// A candidate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<'a> {
    pub(crate) id: &'a NodeId,
    pub(crate) why: Why,
    points: u32,
    key: Key,
}

/// The best few so far, best first.
#[derive(Debug)]
pub(crate) struct Best<'a> {
    few: usize,
    found: Vec<Found<'a>>,
}

impl<'a> Best<'a> {
    fn new(few: usize) -> Self {
        let few = few.max(1);
        Self {
            few,
            found: Vec::with_capacity(few + 1),
        }
    }

    pub(crate) fn found(&self) -> &[Found<'a>] {
        &self.found
    }

    /// Whether nobody with so many points or more, and with such a key or a later one, is wanted.
    fn beats(&self, points: u32, key: Key) -> bool {
        match self.found.get(self.few - 1) {
            Some(last) => (points, key) > (last.points, last.key),
            None => false,
        }
    }

    /// The most points that may still be wanted.
    fn points_max(&self) -> u32 {
        let last = self.found.get(self.few - 1);
        last.map_or(u32::MAX, |last| last.points)
    }

    fn offer(&mut self, new: Found<'a>) {
        let worse = |other: &Found<'a>| order(other, &new) == Ordering::Less;
        let at = self.found.partition_point(worse);
        if at < self.few {
            self.found.insert(at, new);
            self.found.truncate(self.few);
        }
    }
}

/// Fewest points first. The id decides between equals, so that it does not matter which node came
/// first.
fn order(a: &Found<'_>, b: &Found<'_>) -> Ordering {
    let by_key = a.points.cmp(&b.points).then(a.key.cmp(&b.key));
    by_key.then_with(|| a.id.cmp(b.id))
}

/// The best few for a request. `looked` are the cells that were considered, for whoever goes on.
pub(crate) fn search<'a>(
    index: &'a FleetIndex,
    rules: &Rules<'_>,
    walk: &mut impl Iterator<Item = Near>,
    looked: &mut Vec<Near>,
) -> Best<'a> {
    let mut best = Best::new(rules.policy.best_few);
    for near in walk {
        looked.push(near);
        let Some(rtt) = rules.within_step(near.counts_as_ms) else {
            break;
        };
        if rtt > best.points_max() {
            break;
        }
        let cell = &index.cells[near.cell as usize];
        if cell.open_of(rules.request.gpu) == 0
            || cell.vram_mib < rules.request.vram_mib
            || rules.cell_is_out(&cell.name, near.counts_as_ms).is_some()
        {
            continue;
        }
        search_cell(cell, rules, (near, rtt), &mut best);
    }
    best
}

fn search_cell<'a>(
    cell: &'a Cell,
    rules: &Rules<'_>,
    (near, rtt): (Near, u32),
    best: &mut Best<'a>,
) {
    let needs_none = rules.request.gpu == GpuClass::None;
    for block in cell.blocks() {
        let head = block.head;
        if head.floor == u32::MAX || best.beats(rtt + head.floor, head.key) {
            continue;
        }
        let open = head.open & head.gpu(rules.request.gpu);
        if open == 0 {
            continue;
        }
        let able = rules.sift(&block, open, |_, _| {});
        let warm = rules.warm(&block, able);
        let wasted = if needs_none {
            able & head.gpu(GpuClass::Render)
        } else {
            0
        };
        let known = Known { rtt, warm, wasted };
        for lane in lanes(able & worth_a_look(&block, known.least(able), best)) {
            let row = block.row(lane);
            let floor = known.points(lane) + block.columns.floor(lane);
            if !best.beats(floor, row.key) {
                best.offer(score(row, rules, near, known.parts(lane)));
            }
        }
    }
}

/// What is known of a lane's score before its node is looked at.
struct Known {
    rtt: u32,
    warm: u64,
    wasted: u64,
}

impl Known {
    /// For round trip, image and GPU.
    fn parts(&self, lane: usize) -> (u32, u32, u32) {
        let has = |mask: u64| (mask >> lane) & 1 == 1;
        let image = if has(self.warm) { 0 } else { IMAGE };
        let gpu = if has(self.wasted) { GPU } else { 0 };
        (self.rtt, image, gpu)
    }

    fn points(&self, lane: usize) -> u32 {
        let (rtt, image, gpu) = self.parts(lane);
        rtt + image + gpu
    }

    /// The least points of any lane of `able`.
    fn least(&self, able: u64) -> u32 {
        let image = if self.warm == 0 { IMAGE } else { 0 };
        let gpu = if self.wasted == able { GPU } else { 0 };
        self.rtt + image + gpu
    }
}

/// Lanes that may be wanted by their floor, on top of what each has at `least`.
fn worth_a_look(block: &Block<'_>, least: u32, best: &Best<'_>) -> u64 {
    match best.points_max() {
        u32::MAX => u64::MAX,
        points => match points.checked_sub(least) {
            Some(rest) => block.columns.floors_up_to(rest),
            None => 0,
        },
    }
}

fn score<'a>(
    row: &'a Row,
    rules: &Rules<'_>,
    near: Near,
    (rtt, image, gpu): (u32, u32, u32),
) -> Found<'a> {
    let operator = rules
        .spread
        .iter()
        .find(|(id, _)| *id == row.names.operator);
    let why = Why {
        rtt_ms: near.rtt_ms,
        rtt,
        image,
        gpu,
        spread: operator.map_or(0, |(_, points)| *points),
        ..row
            .standing
            .why(rules.request.cpu_milli, rules.request.kbps)
    };
    Found {
        id: &row.id,
        points: why.points(),
        key: row.key,
        why,
    }
}
