//! The fleet as placement reads it, kept up to date change by change.

use crate::node::{NodeState, NodeView};
use crate::request::{NearestFirst, Rtts};
use cell::{Cell, RowNames};
use foldhash::HashMap;
use names::Names;
use nearlight_protocol::id::NodeId;
use std::iter::Peekable;

pub(crate) mod block;
pub(crate) mod cell;
pub(crate) mod names;

/// All nodes, by region, ready for [`decide`](crate::decide()).
///
/// A change of one node's state costs well below a microsecond; a node that comes, goes or changes
/// what it has costs some. Memory follows the nodes, a few hundred bytes each where regions have
/// many.
#[derive(Clone, Debug, Default)]
pub struct FleetIndex {
    revision: u64,
    /// Some of them empty, to be used again.
    pub(crate) cells: Vec<Cell>,
    by_name: HashMap<String, u32>,
    empty: Vec<u32>,
    lanes: HashMap<Id, Lane>,
    /// A share of the card's prices that no node is below; `None` before the first one.
    price_least: Option<u32>,
    pub(crate) operators: Names,
    pub(crate) runtimes: Names,
    pub(crate) images: Names,
    pub(crate) desktops: Names,
}

/// A node's id without its prefix: in place, so that looking a node up reads one line of memory less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Id([u8; 26]);

impl From<&NodeId> for Id {
    fn from(id: &NodeId) -> Self {
        let body = id.as_str().as_bytes().last_chunk();
        Self(*body.expect("a node's id has 26 characters after its prefix"))
    }
}

/// Where a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lane {
    cell: u32,
    at: usize,
}

/// A cell on the way outwards from a player.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Near {
    pub(crate) cell: u32,
    /// The estimated round trip, milliseconds, if it is known.
    pub(crate) rtt_ms: Option<u32>,
    /// What it counts as.
    pub(crate) counts_as_ms: u32,
}

impl FleetIndex {
    /// Rises with every change.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Nodes.
    pub fn len(&self) -> usize {
        self.lanes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// A share of the card's prices that no node is below, thousandths. One that has left may have been.
    pub(crate) fn price_least(&self) -> u32 {
        self.price_least.unwrap_or(0)
    }

    /// Whether nodes have more than one operator.
    pub fn has_operators(&self) -> bool {
        self.operators.len() > 1
    }

    /// Takes a node in, or all of it anew.
    pub fn put(&mut self, node: &NodeView) {
        if let Some(lane) = self.lanes.remove(&Id::from(&node.id)) {
            self.clear(lane);
        }
        let least = self.price_least.unwrap_or(u32::MAX);
        self.price_least = Some(least.min(node.price_permille));
        let cell = self.cell_named(&node.region);
        let names = RowNames {
            operator: self.operators.take(&node.operator),
            runtime: self.runtimes.take(&node.runtime),
            images: node.images.iter().map(|i| self.images.take(i)).collect(),
            desktops: node
                .desktops
                .iter()
                .map(|app| self.desktops.take(app))
                .collect(),
        };
        let at = self.cells[cell as usize].fill(node, names);
        self.lanes.insert(Id::from(&node.id), Lane { cell, at });
        self.revision += 1;
    }

    /// Takes what changed of a node. Returns whether it is here.
    pub fn set_state(&mut self, node: &NodeId, state: &NodeState) -> bool {
        let Some(lane) = self.lanes.get(&Id::from(node)) else {
            return false;
        };
        self.cells[lane.cell as usize].set_state(lane.at, state);
        self.revision += 1;
        true
    }

    /// Lets a node go. Returns whether it was here.
    pub fn remove(&mut self, node: &NodeId) -> bool {
        let Some(lane) = self.lanes.remove(&Id::from(node)) else {
            return false;
        };
        self.clear(lane);
        self.revision += 1;
        true
    }

    /// The cells from the nearest to the farthest; those that nobody has measured stand where
    /// `unknown_ms` puts them.
    pub(crate) fn nearest_first<'a>(&'a self, rtts: &'a Rtts, unknown_ms: u32) -> Walk<'a> {
        Walk {
            index: self,
            all: rtts.nearest_first(),
            left: rtts.nearest_first().peekable(),
            unknown_ms,
            unknown: None,
        }
    }

    fn cell_named(&mut self, region: &str) -> u32 {
        if let Some(cell) = self.by_name.get(region) {
            return *cell;
        }
        let cell = self.empty.pop().unwrap_or_else(|| {
            self.cells.push(Cell::default());
            u32::try_from(self.cells.len() - 1).expect("fewer cells than memory holds")
        });
        region.clone_into(&mut self.cells[cell as usize].name);
        self.by_name.insert(region.to_owned(), cell);
        cell
    }

    fn clear(&mut self, lane: Lane) {
        let cell = &mut self.cells[lane.cell as usize];
        if let Some(names) = cell.clear(lane.at) {
            self.operators.release(names.operator);
            self.runtimes.release(names.runtime);
            let images = names.images.iter();
            images.for_each(|image| self.images.release(*image));
            let desktops = names.desktops.iter();
            desktops.for_each(|app| self.desktops.release(*app));
        }
        if cell.nodes == 0 {
            let name = std::mem::take(cell).name;
            self.by_name.remove(&name);
            self.empty.push(lane.cell);
        }
    }

    /// The cells that no estimate is about.
    fn unmeasured(&self, rtts: NearestFirst<'_>) -> Vec<u32> {
        let mut measured = vec![false; self.cells.len()];
        for (region, _) in rtts {
            if let Some(cell) = self.by_name.get(region) {
                measured[*cell as usize] = true;
            }
        }
        let cells = (0..).zip(&self.cells).zip(measured);
        let unmeasured = cells.filter(|((_, cell), measured)| cell.nodes > 0 && !measured);
        unmeasured.map(|((at, _), _)| at).collect()
    }
}

/// The way outwards. Lazy: who finds a node nearby never looks up the rest.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    index: &'a FleetIndex,
    all: NearestFirst<'a>,
    left: Peekable<NearestFirst<'a>>,
    unknown_ms: u32,
    /// Cells whose round trip is not known, once it is their turn.
    unknown: Option<Vec<u32>>,
}

impl Iterator for Walk<'_> {
    type Item = Near;

    fn next(&mut self) -> Option<Near> {
        loop {
            let next = self.left.peek();
            if self.unknown.is_none() && next.is_none_or(|(_, ms)| *ms > self.unknown_ms) {
                self.unknown = Some(self.index.unmeasured(self.all.clone()));
            }
            if let Some(cell) = self.unknown.as_mut().and_then(Vec::pop) {
                return Some(Near {
                    cell,
                    rtt_ms: None,
                    counts_as_ms: self.unknown_ms,
                });
            }
            let (region, ms) = self.left.next()?;
            if let Some(cell) = self.index.by_name.get(region) {
                return Some(Near {
                    cell: *cell,
                    rtt_ms: Some(ms),
                    counts_as_ms: ms,
                });
            }
        }
    }
}

#[cfg(test)]
#[path = "index/test.rs"]
mod test;
