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
    rows: Vec<Option<Row>>,
}

/// The names that lanes of a block have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BlockTags {
    pub(crate) runtimes: Tags,
    pub(crate) images: Tags,
}

/// What is only looked at where a node is scored or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) id: NodeId,
    pub(crate) key: Key,
    pub(crate) standing: Standing,
    pub(crate) sessions: u32,
    pub(crate) names: RowNames,
    encode_cpu_milli: u32,
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
    rows: &'a [Option<Row>],
}

impl<'a> Block<'a> {
    /// The node on a lane that is used.
    pub(crate) fn row(&self, lane: usize) -> &'a Row {
        self.rows[lane]
            .as_ref()
            .expect("a lane in `used` has a node")
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
        self.rows[at] = Some(Row {
            id: node.id.clone(),
            key: block::key(&node.id),
            standing: Standing::of(node),
            sessions: 0,
            names,
            encode_cpu_milli: node.encode_cpu_milli,
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
        let Some(row) = self.rows[at].as_mut() else {
            debug_assert!(false, "only a lane with a node has a state");
            return;
        };
        row.standing.set(state);
        row.sessions = state.sessions;
        let was_open = (self.heads[b].open >> lane) & 1;
        let floor = row.standing.floor();
        BlockMut {
            head: &mut self.heads[b],
            columns: &mut self.columns[b],
        }
        .set_state(lane, state, row.encode_cpu_milli, floor);
        let is_open = (self.heads[b].open >> lane) & 1;
        let open = &mut self.open[row.gpu as usize];
        match (was_open, is_open) {
            (0, 1) => *open += 1,
            (1, 0) => *open -= 1,
            _ => {}
        }
    }

    /// Lets the node on a lane go; its names are to be released.
    pub(crate) fn clear(&mut self, at: usize) -> Option<RowNames> {
        let (b, lane) = (at / LANES, at % LANES);
        let row = self.rows[at].take()?;
        if (self.heads[b].open >> lane) & 1 == 1 {
            self.open[row.gpu as usize] -= 1;
        }
        let others = self.rows[b * LANES..(b + 1) * LANES].iter().flatten();
        let key = others.map(|row| row.key).min().unwrap_or(Key::MAX);
        BlockMut {
            head: &mut self.heads[b],
            columns: &mut self.columns[b],
        }
        .clear(lane, key);
        self.tags[b].runtimes.clear(row.names.runtime, lane);
        for image in &row.names.images {
            self.tags[b].images.clear(*image, lane);
        }
        self.nodes -= 1;
        self.classes[row.gpu as usize] -= 1;
        let most = self
            .heads
            .iter()
            .map(|head| head.greatest(block::Column::Vram));
        self.vram_mib = most.max().unwrap_or(0);
        Some(row.names)
    }

    fn free_lane(&mut self) -> usize {
        let with_room = self.heads.iter().position(|head| head.used != u64::MAX);
        let b = with_room.unwrap_or_else(|| {
            let (head, columns) = block::empty();
            self.heads.push(head);
            self.columns.push(columns);
            self.tags.push(BlockTags::default());
            self.rows.resize_with(self.rows.len() + LANES, || None);
            self.heads.len() - 1
        });
        b * LANES + self.heads[b].used.trailing_ones() as usize
    }
}

#[cfg(test)]
impl Cell {
    /// Asserts that everything that is kept beside the nodes follows from them.
    pub(crate) fn audit(&self) {
        let rows = || self.rows.iter().flatten();
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
            let used = (0..LANES).filter(|lane| block.rows[*lane].is_some());
            assert_eq!(
                block.head.used,
                used.fold(0, |used, lane| used | (1 << lane))
            );
            let keys = block.rows.iter().flatten().map(|row| row.key);
            assert_eq!(block.head.key, keys.min().unwrap_or(Key::MAX));
            for lane in 0..LANES {
                let open = (block.head.open >> lane) & 1 == 1;
                let row = block.rows[lane].as_ref();
                let floor = row.filter(|_| open).map(|row| row.standing.floor());
                assert_eq!(block.columns.floor(lane), floor.unwrap_or(u32::MAX));
            }
            block::audit(&self.heads[at], &self.columns[at]);
        }
    }
}
