//! The nodes of one region, in blocks.

use super::block::{self, BlockMut, Columns, Head, Key, LANES};
use super::names::Tags;
use crate::node::{NodeState, NodeView};
use crate::score::Standing;
use nearlight_protocol::app::GpuClass;
use nearlight_protocol::id::NodeId;

/// A region.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    /// Empty while no node is in it.
    pub(crate) name: String,
    pub(crate) nodes: u32,
    /// Nodes by GPU class, and those of them that are open.
    classes: [u32; 3],
    open: [u32; 3],
    /// The most VRAM that a node has, MiB.
    pub(crate) vram_mib: u32,
    heads: Vec<Head>,
    columns: Vec<Columns>,
    tags: Vec<BlockTags>,
    /// One a lane.
    rows: Vec<Row>,
    cards: Vec<Option<Card>>,
}

/// The names that lanes of a block have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BlockTags {
    pub(crate) runtimes: Tags,
    pub(crate) images: Tags,
}

/// What is only looked at where a node is scored or changed: one line of memory. Default on a lane
/// without a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[repr(align(64))]
pub(crate) struct Row {
    pub(crate) key: Key,
    pub(crate) standing: Standing,
    pub(crate) sessions: u32,
    pub(crate) operator: u32,
}

/// What is only looked at where a node is placed on, comes or goes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Card {
    id: NodeId,
    names: RowNames,
    gpu: GpuClass,
}

/// The numbers of a node's names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RowNames {
    pub(crate) operator: u32,
    pub(crate) runtime: u32,
    pub(crate) images: Vec<u32>,
}

/// A block, to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block<'a> {
    pub(crate) head: &'a Head,
    pub(crate) columns: &'a Columns,
    pub(crate) tags: &'a BlockTags,
    rows: &'a [Row],
    cards: &'a [Option<Card>],
}

impl<'a> Block<'a> {
    /// What is scored of the node on a lane that is used.
    pub(crate) fn row(&self, lane: usize) -> &'a Row {
        &self.rows[lane]
    }

    /// The node on a lane that is used.
    pub(crate) fn id(&self, lane: usize) -> &'a NodeId {
        let card = self.cards[lane].as_ref();
        &card.expect("a lane in `used` has a node").id
    }
}

impl Cell {
    pub(crate) fn blocks(&self) -> impl Iterator<Item = Block<'_>> {
        (0..self.heads.len()).map(|at| self.block(at))
    }

    pub(crate) fn block(&self, at: usize) -> Block<'_> {
        Block {
            head: &self.heads[at],
            columns: &self.columns[at],
            tags: &self.tags[at],
            rows: &self.rows[at * LANES..(at + 1) * LANES],
            cards: &self.cards[at * LANES..(at + 1) * LANES],
        }
    }

    /// Nodes with this GPU class or a better one.
    pub(crate) fn nodes_of(&self, class: GpuClass) -> u32 {
        self.classes[class as usize..].iter().sum()
    }

    /// Those of them that are attached, answer, do not drain and have a free slot.
    pub(crate) fn open_of(&self, class: GpuClass) -> u32 {
        self.open[class as usize..].iter().sum()
    }

    /// Takes a node in, and says on which lane.
    pub(crate) fn fill(&mut self, node: &NodeView, names: RowNames) -> usize {
        let at = self.free_lane();
        let (b, lane) = (at / LANES, at % LANES);
        BlockMut {
            head: &mut self.heads[b],
            columns: &mut self.columns[b],
        }
        .fill(lane, node);
        self.tags[b].runtimes.set(names.runtime, lane);
        for image in &names.images {
            self.tags[b].images.set(*image, lane);
        }
        self.rows[at] = Row {
            key: block::key(&node.id),
            standing: Standing::of(node),
            sessions: 0,
            operator: names.operator,
        };
        self.cards[at] = Some(Card {
            id: node.id.clone(),
            names,
            gpu: node.gpu,
        });
        self.nodes += 1;
        self.classes[node.gpu as usize] += 1;
        self.vram_mib = self.vram_mib.max(node.vram_mib);
        self.set_state(at, &node.state);
        at
    }

    /// Takes what changed of the node on a lane.
    pub(crate) fn set_state(&mut self, at: usize, state: &NodeState) {
        let (b, lane) = (at / LANES, at % LANES);
        let (head, row) = (&mut self.heads[b], &mut self.rows[at]);
        debug_assert_eq!((head.used >> lane) & 1, 1, "only a node has a state");
        row.standing.set(state);
        row.sessions = state.sessions;
        let was_open = (head.open >> lane) & 1;
        let (encode, floor) = (row.standing.cpu_encode(), row.standing.floor());
        let columns = &mut self.columns[b];
        BlockMut { head, columns }.set_state(lane, state, encode, floor);
        let head = &self.heads[b];
        let open = &mut self.open[head.class(lane) as usize];
        match (was_open, (head.open >> lane) & 1) {
            (0, 1) => *open += 1,
            (1, 0) => *open -= 1,
            _ => {}
        }
    }

    /// Lets the node on a lane go; its names are to be released.
    pub(crate) fn clear(&mut self, at: usize) -> Option<RowNames> {
        let (b, lane) = (at / LANES, at % LANES);
        let card = self.cards[at].take()?;
        self.rows[at] = Row::default();
        if (self.heads[b].open >> lane) & 1 == 1 {
            self.open[card.gpu as usize] -= 1;
        }
        let others = &self.cards[b * LANES..(b + 1) * LANES];
        let keys = others.iter().flatten().map(|card| block::key(&card.id));
        let key = keys.min().unwrap_or(Key::MAX);
        BlockMut {
            head: &mut self.heads[b],
            columns: &mut self.columns[b],
        }
        .clear(lane, key);
        self.tags[b].runtimes.clear(card.names.runtime, lane);
        for image in &card.names.images {
            self.tags[b].images.clear(*image, lane);
        }
        self.nodes -= 1;
        self.classes[card.gpu as usize] -= 1;
        let most = self
            .heads
            .iter()
            .map(|head| head.greatest(block::Column::Vram));
        self.vram_mib = most.max().unwrap_or(0);
        Some(card.names)
    }

    fn free_lane(&mut self) -> usize {
        let with_room = self.heads.iter().position(|head| head.used != u64::MAX);
        let b = with_room.unwrap_or_else(|| {
            let (head, columns) = block::empty();
            self.heads.push(head);
            self.columns.push(columns);
            self.tags.push(BlockTags::default());
            self.rows.resize(self.rows.len() + LANES, Row::default());
            self.cards.resize_with(self.rows.len(), || None);
            self.heads.len() - 1
        });
        b * LANES + self.heads[b].used.trailing_ones() as usize
    }
}

#[cfg(test)]
impl Cell {
    /// Asserts that everything that is kept beside the nodes follows from them.
    pub(crate) fn audit(&self) {
        let rows = || self.cards.iter().flatten();
        assert_eq!(self.nodes as usize, rows().count());
        for class in [GpuClass::None, GpuClass::Render, GpuClass::RenderEncode] {
            let of_class = rows().filter(|row| row.gpu >= class).count();
            assert_eq!(self.nodes_of(class) as usize, of_class);
            let open = self
                .heads
                .iter()
                .map(|head| (head.open & head.gpu(class)).count_ones());
            assert_eq!(self.open_of(class), open.sum::<u32>());
        }
        for (at, block) in self.blocks().enumerate() {
            let used = (0..LANES).filter(|lane| block.cards[*lane].is_some());
            assert_eq!(
                block.head.used,
                used.fold(0, |used, lane| used | (1 << lane))
            );
            let keys = block
                .cards
                .iter()
                .flatten()
                .map(|card| block::key(&card.id));
            assert_eq!(block.head.key, keys.min().unwrap_or(Key::MAX));
            for lane in 0..LANES {
                let open = (block.head.open >> lane) & 1 == 1;
                let floor = open.then(|| block.rows[lane].standing.floor());
                assert_eq!(block.columns.floor(lane), floor.unwrap_or(u32::MAX));
            }
            block::audit(&self.heads[at], &self.columns[at]);
        }
    }
}
