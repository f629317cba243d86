//! The best few, without a look at most nodes.

use crate::index::FleetIndex;
use crate::index::Near;
use crate::index::block::{Column, Key, lanes};
use crate::index::cell::{Block, Cell, Whose};
use crate::score::{DESKTOP, GPU, IMAGE, Why};
use crate::sieve::Rules;
use nearlight_protocol::app::GpuClass;
use nearlight_protocol::id::NodeId;
use std::cmp::Ordering;

/// A candidate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<'a> {
    pub(crate) why: Why,
    points: u32,
    whose: Whose<'a>,
}

impl<'a> Found<'a> {
    /// The node.
    pub(crate) fn id(&self) -> &'a NodeId {
        self.whose.id()
    }
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

    fn is_full(&self) -> bool {
        self.found.len() >= self.few
    }

    /// Whether nobody with so many points or more, and with such a key or a later one, is wanted. The key is
    /// read where it decides.
    fn beats(&self, points: u32, key: impl FnOnce() -> Key) -> bool {
        match self.found.get(self.few - 1) {
            Some(last) if points == last.points => key() > last.whose.key(),
            Some(last) => points > last.points,
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
    let by_key = || a.whose.key().cmp(&b.whose.key());
    let by_points = a.points.cmp(&b.points).then_with(by_key);
    by_points.then_with(|| a.id().cmp(b.id()))
}

/// The best few for a request. `looked` are the cells that were considered, for whoever goes on.
pub(crate) fn search<'a>(
    index: &'a FleetIndex,
    rules: &Rules<'_>,
    walk: &mut impl Iterator<Item = Near>,
    looked: &mut Vec<Near>,
) -> Best<'a> {
    let mut best = Best::new(rules.policy.best_few);
    if !rules.runtime_exists() {
        return best;
    }
    for near in walk {
        looked.push(near);
        let Some(rtt) = rules.within_step(near.counts_as_ms) else {
            break;
        };
        if rtt.saturating_add(rules.price_least) > best.points_max() {
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
    let request = rules.request;
    // Every node of the cell has so many.
    let least = rtt.saturating_add(rules.price_least);
    let mut names = None;
    for (at, floor) in cell.floors() {
        if floor == u32::MAX || least.saturating_add(floor) > best.points_max() {
            continue;
        }
        let block = cell.block(at);
        let head = block.head;
        // What costs least to ask comes first, and rules out most.
        let able = head.open & head.gpu(request.gpu) & head.trust(request.trust);
        if able == 0 || !rules.may_hold(head) {
            continue;
        }
        let mut named = || block.with(*names.get_or_insert_with(|| cell.names(rules.wanted())));
        // Only where the best few are found does it help to know that a block has nothing ready.
        let waits = match best.is_full() {
            true => rules.waits_at_least(&named(), able),
            false => 0,
        };
        if best.beats(least + waits + head.floor, || head.key) {
            continue;
        }
        let able = able & block.at_least(Column::Vram, request.vram_mib, able);
        let able = able & rules.may_be_affordable(&block, able);
        let able = able & worth_a_look(&block, least + waits, best);
        if able == 0 {
            continue;
        }
        let block = named();
        let (warm, ready) = (rules.warm(&block, able), rules.ready(&block, able));
        let wasted = match request.wastes_gpus() {
            true => able & head.gpu(GpuClass::Render),
            false => 0,
        };
        let groups = [
            (warm & !wasted, 0, 0),
            (warm & wasted, 0, GPU),
            (able & !warm & !wasted, IMAGE, 0),
            (able & !warm & wasted, IMAGE, GPU),
        ];
        for (asked, image, gpu) in groups.into_iter().filter(|(lanes, ..)| *lanes != 0) {
            let known = Why {
                rtt_ms: near.rtt_ms,
                rtt,
                image,
                gpu,
                ..Why::default()
            };
            offer_lanes(&block, (asked, ready), rules, known, best);
        }
    }
}

/// Offers those of `asked` that pass every filter; those that are not in `ready` start a desktop. `known` is
/// what all of them have in common.
fn offer_lanes<'a>(
    block: &Block<'a>,
    (asked, ready): (u64, u64),
    rules: &Rules<'_>,
    known: Why,
    best: &mut Best<'a>,
) {
    let points = known.points() + rules.price_least;
    let worth = |asked: u64, points: u32, best: &Best<'_>| match asked {
        0 => 0,
        _ => asked & worth_a_look(block, points, best),
    };
    let asked = worth(asked & ready, points, best) | worth(asked & !ready, points + DESKTOP, best);
    if asked == 0 {
        return;
    }
    for lane in lanes(rules.sift(block, asked, |_, _| {})) {
        let is_ready = (ready >> lane) & 1 == 1;
        let desktop = if is_ready { 0 } else { DESKTOP };
        let floor = points + desktop + block.columns.floor(lane);
        if !best.beats(floor, || block.whose(lane).key()) {
            let known = Why { desktop, ..known };
            best.offer(score(block, lane, rules, known));
        }
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

fn score<'a>(block: &Block<'a>, lane: usize, rules: &Rules<'_>, known: Why) -> Found<'a> {
    let row = block.row(lane);
    let operator = rules.spread.iter().find(|(id, _)| *id == row.operator);
    let standing = &row.standing;
    let own = standing.why(rules.request.cpu_milli, rules.request.kbps);
    let price = rules.request.price_on(
        (standing.price_permille(), standing.cpu_encode()),
        row.gpus_free,
        || block.jobs(lane),
    );
    let why = Why {
        load: own.load,
        uplink: own.uplink,
        receipts: own.receipts,
        price,
        spread: operator.map_or(0, |(_, points)| *points),
        ..known
    };
    Found {
        points: why.points(),
        whose: block.whose(lane),
        why,
    }
}
