//! 64 nodes: a bit each for what is yes or no, a column each for what is a number.

use crate::node::{NodeState, NodeView, Trust};
use crate::score::UNKNOWN;
use nearlight_protocol::app::GpuClass;
use nearlight_protocol::id::NodeId;

/// Nodes of a block.
pub(crate) const LANES: usize = 64;

/// The numbers that a session asks a minimum (or, of a price, a maximum) of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    /// What a session may be placed on, MiB.
    Vram,
    /// In all, less what an encoder takes; thousandths of a core.
    CpuTotal,
    /// MiB.
    MemTotal,
    /// kbit/s; the greatest number where it is not known.
    UplinkTotal,
    /// The share of the card's prices, thousandths.
    Price,
    /// Free, less what an encoder takes; thousandths of a core.
    CpuFree,
    /// MiB.
    MemFree,
    /// kbit/s; the greatest number where it is not known.
    UplinkFree,
}

const COLUMNS: usize = 8;

impl Column {
    /// All of them.
    #[cfg(test)]
    pub(crate) const ALL: [Self; COLUMNS] = [
        Self::Vram,
        Self::CpuTotal,
        Self::MemTotal,
        Self::UplinkTotal,
        Self::Price,
        Self::CpuFree,
        Self::MemFree,
        Self::UplinkFree,
    ];
}

/// Where a node stands among equals: its id's first characters, which sort as the id does.
pub(crate) type Key = u128;

pub(crate) fn key(id: &NodeId) -> Key {
    // Past the prefix, which all have.
    let body = id.as_str().as_bytes().get(4..20);
    body.and_then(|body| body.try_into().ok())
        .map_or(0, Key::from_be_bytes)
}

/// What most decisions need of a block. Kept apart from its columns, so that a search reads little.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Lanes that have a node. In every other mask a lane without one is zero.
    pub(crate) used: u64,
    renders: u64,
    render_encodes: u64,
    /// Of a known operator, or better.
    known: u64,
    own: u64,
    pub(crate) encodes: u64,
    /// It takes jobs.
    pub(crate) hosts: u64,
    /// Receipts stand for less VRAM than it says it has.
    pub(crate) short: u64,
    pub(crate) attached: u64,
    pub(crate) draining: u64,
    pub(crate) outbox_full: u64,
    /// Some slot is free.
    pub(crate) slot: u64,
    /// It failed its checks.
    pub(crate) failing: u64,
    /// No rank, where nodes are checked.
    pub(crate) unproven: u64,
    /// Attached, answering, not draining nor failing, with a free slot.
    pub(crate) open: u64,
    /// The least and the greatest of each column.
    least: [u32; COLUMNS],
    greatest: [u32; COLUMNS],
    /// The least of the floors.
    pub(crate) floor: u32,
    /// The least of the keys.
    pub(crate) key: Key,
}

impl Head {
    const EMPTY: Self = Self {
        used: 0,
        renders: 0,
        render_encodes: 0,
        known: 0,
        own: 0,
        encodes: 0,
        hosts: 0,
        short: 0,
        attached: 0,
        draining: 0,
        outbox_full: 0,
        slot: 0,
        failing: 0,
        unproven: 0,
        open: 0,
        least: [u32::MAX; COLUMNS],
        greatest: [0; COLUMNS],
        floor: u32::MAX,
        key: Key::MAX,
    };

    /// Lanes with this GPU class or a better one.
    pub(crate) fn gpu(&self, class: GpuClass) -> u64 {
        match class {
            GpuClass::None => self.used,
            GpuClass::Render => self.renders,
            GpuClass::RenderEncode => self.render_encodes,
        }
    }

    /// The GPU class of one lane.
    pub(crate) fn class(&self, lane: usize) -> GpuClass {
        match (
            (self.renders >> lane) & 1,
            (self.render_encodes >> lane) & 1,
        ) {
            (_, 1) => GpuClass::RenderEncode,
            (1, _) => GpuClass::Render,
            _ => GpuClass::None,
        }
    }

    /// Lanes of this trust class or a better one.
    pub(crate) fn trust(&self, class: Trust) -> u64 {
        match class {
            Trust::Open => self.used,
            Trust::Known => self.known,
            Trust::Own => self.own,
        }
    }

    pub(crate) fn least(&self, column: Column) -> u32 {
        self.least[column as usize]
    }

    pub(crate) fn greatest(&self, column: Column) -> u32 {
        self.greatest[column as usize]
    }
}

/// The numbers of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Columns {
    values: [[u32; LANES]; COLUMNS],
    /// The least score that any session has on the lane; the greatest number where none may.
    floors: [u32; LANES],
}

impl Columns {
    /// Lanes whose value is at least `need`; those without a node may be anything.
    pub(crate) fn at_least(&self, column: Column, need: u32) -> u64 {
        lanes_at_least(&self.values[column as usize], need)
    }

    #[cfg(test)]
    pub(crate) fn value(&self, column: Column, lane: usize) -> u32 {
        self.values[column as usize][lane]
    }

    pub(crate) fn floor(&self, lane: usize) -> u32 {
        self.floors[lane]
    }

    /// Lanes whose floor is at most `points`.
    pub(crate) fn floors_up_to(&self, points: u32) -> u64 {
        match points.checked_add(1) {
            Some(above) => !lanes_at_least(&self.floors, above),
            None => u64::MAX,
        }
    }
}

/// A block, to be written.
#[derive(Debug)]
pub(crate) struct BlockMut<'a> {
    pub(crate) head: &'a mut Head,
    pub(crate) columns: &'a mut Columns,
}

/// An empty block.
pub(crate) fn empty() -> (Head, Columns) {
    let columns = Columns {
        values: [[0; LANES]; COLUMNS],
        floors: [u32::MAX; LANES],
    };
    (Head::EMPTY, columns)
}

impl BlockMut<'_> {
    /// Takes a node in on a free lane. Its state and floor follow.
    pub(crate) fn fill(&mut self, lane: usize, node: &NodeView) {
        let head = &mut *self.head;
        debug_assert_eq!((head.used >> lane) & 1, 0, "the lane is free");
        head.used |= 1 << lane;
        head.key = head.key.min(key(&node.id));
        put(&mut head.renders, lane, node.gpu >= GpuClass::Render);
        put(
            &mut head.render_encodes,
            lane,
            node.gpu >= GpuClass::RenderEncode,
        );
        put(&mut head.known, lane, node.trust >= Trust::Known);
        put(&mut head.own, lane, node.trust >= Trust::Own);
        put(&mut head.encodes, lane, node.encodes);
        put(&mut head.hosts, lane, node.jobs.is_some());
        let vram = node.vram_mib_to_place();
        put(&mut head.short, lane, vram < node.vram_mib);
        let cpu = node.cpu_milli_total.saturating_sub(node.encode_cpu_milli);
        self.enter(Column::Vram, lane, vram);
        self.enter(Column::CpuTotal, lane, cpu);
        self.enter(Column::MemTotal, lane, node.mem_mib_total);
        self.enter(
            Column::UplinkTotal,
            lane,
            node.uplink_kbps_total.unwrap_or(UNKNOWN),
        );
        self.enter(Column::Price, lane, node.price_permille);
        let state = &node.state;
        let cpu = state.cpu_milli_free.saturating_sub(node.encode_cpu_milli);
        self.enter(Column::CpuFree, lane, cpu);
        self.enter(Column::MemFree, lane, state.mem_mib_free);
        self.enter(
            Column::UplinkFree,
            lane,
            state.uplink_kbps_free.unwrap_or(UNKNOWN),
        );
    }

    /// Takes what changed. `floor` is of the node's standing.
    pub(crate) fn set_state(&mut self, lane: usize, state: &NodeState, encode: u32, floor: u32) {
        let head = &mut *self.head;
        put(&mut head.attached, lane, state.attached);
        put(&mut head.draining, lane, state.draining);
        put(&mut head.outbox_full, lane, state.outbox_full);
        put(&mut head.slot, lane, state.slots_free > 0);
        put(&mut head.failing, lane, state.failing);
        put(&mut head.unproven, lane, state.rank == Some(0));
        let answers = state.attached && !state.outbox_full;
        let open = answers && !state.draining && !state.failing && state.slots_free > 0;
        put(&mut head.open, lane, open);
        self.set(
            Column::CpuFree,
            lane,
            state.cpu_milli_free.saturating_sub(encode),
        );
        self.set(Column::MemFree, lane, state.mem_mib_free);
        self.set(
            Column::UplinkFree,
            lane,
            state.uplink_kbps_free.unwrap_or(UNKNOWN),
        );
        self.set_floor(lane, if open { floor } else { u32::MAX });
    }

    /// Lets a lane's node go. `key` is the least of those that stay.
    pub(crate) fn clear(&mut self, lane: usize, key: Key) {
        let head = &mut *self.head;
        for mask in [
            &mut head.used,
            &mut head.renders,
            &mut head.render_encodes,
            &mut head.known,
            &mut head.own,
            &mut head.encodes,
            &mut head.hosts,
            &mut head.short,
            &mut head.attached,
            &mut head.draining,
            &mut head.outbox_full,
            &mut head.slot,
            &mut head.failing,
            &mut head.unproven,
            &mut head.open,
        ] {
            put(mask, lane, false);
        }
        head.key = key;
        for column in 0..COLUMNS {
            self.bound(column);
        }
        self.set_floor(lane, u32::MAX);
    }

    /// A value on a lane that had none.
    fn enter(&mut self, column: Column, lane: usize, value: u32) {
        let at = column as usize;
        self.columns.values[at][lane] = value;
        self.head.least[at] = self.head.least[at].min(value);
        self.head.greatest[at] = self.head.greatest[at].max(value);
    }

    fn set(&mut self, column: Column, lane: usize, value: u32) {
        let at = column as usize;
        let was = std::mem::replace(&mut self.columns.values[at][lane], value);
        let (least, greatest) = (&mut self.head.least[at], &mut self.head.greatest[at]);
        // Only where an outermost value moves inwards another one may be the outermost now.
        if (was == *least && value > was) || (was == *greatest && value < was) {
            self.bound(at);
        } else {
            *least = value.min(*least);
            *greatest = value.max(*greatest);
        }
    }

    fn set_floor(&mut self, lane: usize, floor: u32) {
        let was = std::mem::replace(&mut self.columns.floors[lane], floor);
        if was == self.head.floor && floor > was {
            self.head.floor = self.columns.floors.iter().copied().fold(u32::MAX, u32::min);
        } else {
            self.head.floor = self.head.floor.min(floor);
        }
    }

    /// Looks for a column's outermost values.
    fn bound(&mut self, at: usize) {
        let (mut least, mut greatest) = (u32::MAX, 0);
        for (lane, value) in self.columns.values[at].iter().enumerate() {
            // All ones where the lane has a node.
            let used = 0_u32.wrapping_sub(((self.head.used >> lane) & 1) as u32);
            least = least.min(value | !used);
            greatest = greatest.max(value & used);
        }
        (self.head.least[at], self.head.greatest[at]) = (least, greatest);
    }
}

/// The lanes of a mask.
pub(crate) fn lanes(mut mask: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lane = mask.trailing_zeros() as usize;
        mask &= mask.wrapping_sub(1);
        (lane < LANES).then_some(lane)
    })
}

/// Times eight bytes of 0 or 1, this moves each to a bit of its own in the uppermost byte.
const GATHER: u64 = 0x0102_0408_1020_4080;

fn lanes_at_least(values: &[u32; LANES], need: u32) -> u64 {
    let mut is = [0_u8; LANES];
    for (is, value) in is.iter_mut().zip(values) {
        *is = u8::from(*value >= need);
    }
    let mut lanes = 0;
    for (at, eight) in is.as_chunks::<8>().0.iter().enumerate() {
        lanes |= (u64::from_le_bytes(*eight).wrapping_mul(GATHER) >> 56) << (8 * at);
    }
    lanes
}

fn put(mask: &mut u64, lane: usize, on: bool) {
    *mask = (*mask & !(1 << lane)) | (u64::from(on) << lane);
}

/// Asserts that the outermost values are those of the lanes in use.
#[cfg(test)]
pub(crate) fn audit(head: &Head, columns: &Columns) {
    let lanes: Vec<usize> = (0..LANES)
        .filter(|lane| (head.used >> lane) & 1 == 1)
        .collect();
    for (column, values) in columns.values.iter().enumerate() {
        let values = || lanes.iter().map(|lane| values[*lane]);
        assert_eq!(head.least[column], values().min().unwrap_or(UNKNOWN));
        assert_eq!(head.greatest[column], values().max().unwrap_or(0));
    }
    let floors = columns.floors.iter().copied();
    assert_eq!(Some(head.floor), floors.min());
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_comparison_of_64_is_64_comparisons() {
        let mut values = [0; LANES];
        for (lane, value) in values.iter_mut().enumerate() {
            *value = [0, 7, 8, 9, u32::MAX][lane * lane % 5];
        }
        for need in [0, 1, 8, 10, u32::MAX] {
            let each = (0..LANES).fold(0, |m, lane| m | (u64::from(values[lane] >= need) << lane));
            assert_eq!(lanes_at_least(&values, need), each, "{need}");
        }
    }

    #[test]
    fn keys_sort_as_ids_do() {
        let ids: Vec<NodeId> = [(1, 0), (1, 200), (2, 0), (1 << 40, 3)]
            .map(|(ms, byte)| NodeId::from_parts(ms, [byte; 10]))
            .into();
        assert!(ids.is_sorted());
        assert!(ids.iter().map(key).is_sorted());
    }
}
