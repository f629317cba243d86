//! The nodes of one region, in blocks.

use super::block::{self, BlockMut, Column, Columns, Head, Key, LANES, lanes};
use super::names::{Tagged, Tags};
use crate::node::{NodeState, NodeView, Trust};
use crate::score::Standing;
use nearlight_protocol::app::GpuClass;
use nearlight_protocol::control::JobHost;
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
    /// The most VRAM that a session may be placed on, MiB.
    pub(crate) vram_mib: u32,
    heads: Vec<Head>,
    /// The floor of each head, close together: most searches read no more of most blocks.
    floors: Vec<u32>,
    columns: Vec<Columns>,
    tags: CellTags,
    /// One a lane.
    rows: Vec<Row>,
    keys: Vec<Key>,
    cards: Vec<Option<Card>>,
    /// Of each block: the one kind of node that it takes, or any.
    kinds: Vec<Option<Kind>>,
    /// Nodes by kind.
    of_kind: [u32; KINDS],
}

/// What rare demands ask for first. A region's nodes of one kind stand together once they are many, so
/// that who wants something rare looks at few blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind(u8);

const KINDS: usize = 5;
/// Once a region has so many of a kind, further ones have blocks of their own. The others share, so
/// that small regions stay small.
const OF_KIND_MIN: u32 = 16;
/// From so much VRAM on a GPU that encodes is a large one, MiB.
const LARGE_VRAM_MIB: u32 = 16 * 1024;

impl Kind {
    fn of(node: &NodeView) -> Self {
        Self(match (node.trust, node.gpu) {
            (Trust::Own, _) => 4,
            (_, GpuClass::None) => 0,
            (_, GpuClass::Render) => 1,
            (_, GpuClass::RenderEncode) if node.vram_mib < LARGE_VRAM_MIB => 2,
            (_, GpuClass::RenderEncode) => 3,
        })
    }

    const fn at(self) -> usize {
        self.0 as usize
    }
}

/// The names that lanes have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct CellTags {
    runtimes: Tags,
    images: Tags,
    desktops: Tags,
}

/// The names that a request asks for; `None` where it asks for none, or nobody has it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) runtime: Option<u32>,
    pub(crate) image: Option<u32>,
    pub(crate) desktop: Option<u32>,
}

/// Where these names are in a cell.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Names<'a> {
    runtime: Tagged<'a>,
    image: Tagged<'a>,
    desktop: Tagged<'a>,
}

/// All numbers of one node, for where few are asked or one is scored or changed: one line of memory.
/// Default on a lane without a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[repr(align(64))]
pub(crate) struct Row {
    pub(crate) standing: Standing,
    pub(crate) sessions: u32,
    pub(crate) operator: u32,
    vram_mib: u32,
    mem_total: u32,
    mem_free: u32,
    pub(crate) disk_free: u32,
    /// A bit for each GPU that no job has.
    pub(crate) gpus_free: u64,
}

impl Row {
    /// What the block's column has of it.
    fn value(&self, column: Column) -> u32 {
        match column {
            Column::Vram => self.vram_mib,
            Column::CpuTotal => self.standing.cpu_room_total(),
            Column::MemTotal => self.mem_total,
            Column::UplinkTotal => self.standing.uplink_total(),
            Column::Price => self.standing.price_permille(),
            Column::CpuFree => self.standing.cpu_room_free(),
            Column::MemFree => self.mem_free,
            Column::UplinkFree => self.standing.uplink_free(),
        }
    }
}

/// Up to so many nodes are quicker looked at one by one, each in its line of memory, than all at once.
const FEW: u32 = 8;

/// What is only looked at where a node is placed on, comes or goes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Card {
    id: NodeId,
    names: RowNames,
    gpu: GpuClass,
    kind: Kind,
    /// VRAM as it says itself, MiB.
    vram_mib: u32,
    jobs: Option<Box<JobHost>>,
}

/// A node of which nothing was read yet: its key and its id have a line of memory each, and most candidates
/// need neither.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whose<'a> {
    key: &'a Key,
    card: &'a Option<Card>,
}

impl<'a> Whose<'a> {
    /// Where it stands among equals.
    pub(crate) fn key(self) -> Key {
        *self.key
    }

    pub(crate) fn id(self) -> &'a NodeId {
        let card = self.card.as_ref();
        &card.expect("a lane in `used` has a node").id
    }
}

/// The numbers of a node's names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RowNames {
    pub(crate) operator: u32,
    pub(crate) runtime: u32,
    pub(crate) images: Vec<u32>,
    pub(crate) desktops: Vec<u32>,
}

/// A block, to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block<'a> {
    pub(crate) head: &'a Head,
    pub(crate) columns: &'a Columns,
    at: usize,
    names: Names<'a>,
    rows: &'a [Row],
    keys: &'a [Key],
    cards: &'a [Option<Card>],
}

impl<'a> Block<'a> {
    /// What is scored of the node on a lane that is used.
    pub(crate) fn row(&self, lane: usize) -> &'a Row {
        &self.rows[lane]
    }

    /// The node on a lane that is used.
    pub(crate) fn whose(&self, lane: usize) -> Whose<'a> {
        Whose {
            key: &self.keys[lane],
            card: &self.cards[lane],
        }
    }

    /// Lanes whose value is at least `need`. Others than `asked` may be anything.
    pub(crate) fn at_least(&self, column: Column, need: u32, asked: u64) -> u64 {
        if asked == 0 || self.head.least(column) >= need {
            u64::MAX
        } else if self.head.greatest(column) < need {
            0
        } else if asked.count_ones() <= FEW {
            let enough = lanes(asked).filter(|lane| self.rows[*lane].value(column) >= need);
            enough.fold(0, |enough, lane| enough | (1 << lane))
        } else {
            self.columns.at_least(column, need)
        }
    }

    /// The block, where these names are where they are.
    pub(crate) fn with(self, names: Names<'a>) -> Self {
        Self { names, ..self }
    }

    /// Lanes with the runtime that is asked for.
    pub(crate) fn runtime(&self) -> u64 {
        self.names.runtime.lanes(self.at)
    }

    /// Lanes of `asked` that have all of these images.
    pub(crate) fn with_images(&self, asked: u64, images: &[Option<u32>]) -> u64 {
        let has_all = |lane: &usize| {
            let card = self.cards[*lane].as_ref();
            let has = |image: &u32| card.is_some_and(|card| card.names.images.contains(image));
            images.iter().all(|image| image.as_ref().is_some_and(has))
        };
        let lanes = lanes(asked).filter(has_all);
        lanes.fold(0, |lanes, lane| lanes | (1 << lane))
    }

    /// Lanes with the image that is asked for.
    pub(crate) fn image(&self) -> u64 {
        self.names.image.lanes(self.at)
    }

    /// Lanes with a ready desktop of the app that is asked for.
    pub(crate) fn desktop(&self) -> u64 {
        self.names.desktop.lanes(self.at)
    }

    /// What the node on a lane offers to jobs.
    pub(crate) fn jobs(&self, lane: usize) -> Option<&'a JobHost> {
        self.cards[lane].as_ref()?.jobs.as_deref()
    }

    /// Lanes of `asked` whose node says that it has so much VRAM, and receipts stand for less than it has.
    pub(crate) fn say_more_vram(&self, asked: u64, need: u32) -> u64 {
        let says_so = |lane: &usize| {
            let card = self.cards[*lane].as_ref();
            card.is_some_and(|card| card.vram_mib >= need)
        };
        let more = lanes(asked & self.head.short).filter(says_so);
        more.fold(0, |more, lane| more | (1 << lane))
    }

    /// Lanes of `asked` whose node is so.
    pub(crate) fn lanes_where(&self, asked: u64, is_so: impl Fn(&'a Row) -> bool) -> u64 {
        let so = lanes(asked).filter(|lane| is_so(self.row(*lane)));
        so.fold(0, |so, lane| so | (1 << lane))
    }

    /// The node on a lane that is used.
    pub(crate) fn id(&self, lane: usize) -> &'a NodeId {
        self.whose(lane).id()
    }
}

impl Cell {
    /// Its blocks, where nobody has any name until [`Block::with`] says who.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = Block<'_>> {
        (0..self.heads.len()).map(|at| self.block(at))
    }

    /// The floor of each of its blocks; the greatest number where none is open.
    pub(crate) fn floors(&self) -> impl Iterator<Item = (usize, u32)> {
        self.floors.iter().copied().enumerate()
    }

    /// Where these names are.
    pub(crate) fn names(&self, wanted: Wanted) -> Names<'_> {
        Names {
            runtime: self.tags.runtimes.of(wanted.runtime),
            image: self.tags.images.of(wanted.image),
            desktop: self.tags.desktops.of(wanted.desktop),
        }
    }

    pub(crate) fn block(&self, at: usize) -> Block<'_> {
        Block {
            head: &self.heads[at],
            columns: &self.columns[at],
            at,
            names: Names::default(),
            rows: &self.rows[at * LANES..(at + 1) * LANES],
            keys: &self.keys[at * LANES..(at + 1) * LANES],
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

    /// Whether of some node receipts stand for less VRAM than it says it has.
    pub(crate) fn has_short(&self) -> bool {
        self.heads.iter().any(|head| head.short != 0)
    }

    /// Takes a node in, and says on which lane.
    pub(crate) fn fill(&mut self, node: &NodeView, names: RowNames) -> usize {
        let kind = Kind::of(node);
        let at = self.free_lane(kind);
        let (b, lane) = (at / LANES, at % LANES);
        BlockMut {
            head: &mut self.heads[b],
            columns: &mut self.columns[b],
        }
        .fill(lane, node);
        self.tags.runtimes.set(names.runtime, b, lane);
        for image in &names.images {
            self.tags.images.set(*image, b, lane);
        }
        for app in &names.desktops {
            self.tags.desktops.set(*app, b, lane);
        }
        self.rows[at] = Row {
            standing: Standing::of(node),
            sessions: 0,
            operator: names.operator,
            vram_mib: node.vram_mib_to_place(),
            mem_total: node.mem_mib_total,
            mem_free: 0,
            disk_free: 0,
            gpus_free: 0,
        };
        self.keys[at] = block::key(&node.id);
        self.cards[at] = Some(Card {
            id: node.id.clone(),
            names,
            gpu: node.gpu,
            kind,
            vram_mib: node.vram_mib,
            jobs: node.jobs.clone().map(Box::new),
        });
        self.nodes += 1;
        self.of_kind[kind.at()] += 1;
        self.classes[node.gpu as usize] += 1;
        self.vram_mib = self.vram_mib.max(node.vram_mib_to_place());
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
        row.mem_free = state.mem_mib_free;
        row.disk_free = state.disk_mib_free;
        row.gpus_free = state.gpus_free();
        let was_open = (head.open >> lane) & 1;
        let (encode, floor) = (row.standing.cpu_encode(), row.standing.floor());
        let columns = &mut self.columns[b];
        BlockMut { head, columns }.set_state(lane, state, encode, floor);
        let head = &self.heads[b];
        self.floors[b] = head.floor;
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
        self.keys[at] = Key::MAX;
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
        self.floors[b] = self.heads[b].floor;
        self.tags.runtimes.clear(card.names.runtime, b, lane);
        for image in &card.names.images {
            self.tags.images.clear(*image, b, lane);
        }
        for app in &card.names.desktops {
            self.tags.desktops.clear(*app, b, lane);
        }
        self.nodes -= 1;
        self.of_kind[card.kind.at()] -= 1;
        self.classes[card.gpu as usize] -= 1;
        let most = self.heads.iter().map(|head| head.greatest(Column::Vram));
        self.vram_mib = most.max().unwrap_or(0);
        Some(card.names)
    }

    fn free_lane(&mut self, kind: Kind) -> usize {
        let with_room = |wanted: Option<Kind>| {
            let blocks = self.heads.iter().zip(&self.kinds);
            let mut at = blocks.enumerate().filter(|(_, (_, kind))| **kind == wanted);
            at.find(|(_, (head, _))| head.used != u64::MAX)
                .map(|(at, _)| at)
        };
        let many = self.of_kind[kind.at()] >= OF_KIND_MIN;
        let wanted = many.then_some(kind);
        let own = with_room(Some(kind));
        let b = own.or_else(|| with_room(wanted)).unwrap_or_else(|| {
            self.kinds.push(wanted);
            let (head, columns) = block::empty();
            self.floors.push(head.floor);
            self.heads.push(head);
            self.columns.push(columns);
            self.rows.resize(self.rows.len() + LANES, Row::default());
            self.keys.resize(self.rows.len(), Key::MAX);
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
        for (kind, nodes) in self.of_kind.iter().enumerate() {
            let of_kind = rows().filter(|card| card.kind.at() == kind).count();
            assert_eq!(*nodes as usize, of_kind);
        }
        for (at, kind) in self.kinds.iter().enumerate() {
            let cards = self.cards[at * LANES..(at + 1) * LANES].iter().flatten();
            let mut others = cards.filter(|card| kind.is_some_and(|kind| kind != card.kind));
            assert!(others.next().is_none(), "a block of one kind has no other");
        }
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
                if let Some(card) = &block.cards[lane] {
                    assert_eq!(block.whose(lane).key(), block::key(&card.id));
                    for column in Column::ALL {
                        let value = block.columns.value(column, lane);
                        assert_eq!(block.rows[lane].value(column), value, "{column:?}");
                    }
                }
            }
            block::audit(&self.heads[at], &self.columns[at]);
            assert_eq!(self.floors[at], self.heads[at].floor);
        }
    }
}
