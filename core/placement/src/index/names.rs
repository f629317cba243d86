//! Names as numbers, and which lanes of a block have which.

use foldhash::HashMap;
use std::collections::BTreeMap;

/// Names that some node has. A number is reused once nobody has its name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    ids: HashMap<String, u32>,
    /// Each name, and how many have it.
    entries: Vec<(String, u32)>,
    free: Vec<u32>,
}

impl Names {
    /// The number of a name, if anybody has it.
    pub(crate) fn id(&self, name: &str) -> Option<u32> {
        self.ids.get(name).copied()
    }

    /// One more has this name.
    pub(crate) fn take(&mut self, name: &str) -> u32 {
        if let Some(id) = self.id(name) {
            self.entries[id as usize].1 += 1;
            return id;
        }
        let id = match self.free.pop() {
            Some(id) => {
                self.entries[id as usize] = (name.to_owned(), 1);
                id
            }
            None => {
                self.entries.push((name.to_owned(), 1));
                u32::try_from(self.entries.len() - 1).expect("fewer names than memory holds")
            }
        };
        self.ids.insert(name.to_owned(), id);
        id
    }

    /// One fewer has it.
    pub(crate) fn release(&mut self, id: u32) {
        let (name, uses) = &mut self.entries[id as usize];
        *uses -= 1;
        if *uses == 0 {
            self.ids.remove(&std::mem::take(name));
            self.free.push(id);
        }
    }

    /// Different names.
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }
}

/// Which lanes of a cell have which of some names: of each name the blocks that have it, in order, so that
/// a search looks it up once a cell and not once a block. Only what a lane has takes memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tags(BTreeMap<u32, Vec<(u32, u64)>>);

impl Tags {
    /// Where the name is; nowhere if it is nobody's.
    pub(crate) fn of(&self, id: Option<u32>) -> Tagged<'_> {
        let blocks = id.and_then(|id| self.0.get(&id));
        Tagged(blocks.map_or(&[], Vec::as_slice))
    }

    pub(crate) fn set(&mut self, id: u32, block: usize, lane: usize) {
        let blocks = self.0.entry(id).or_default();
        match position(blocks, block) {
            Ok(at) => blocks[at].1 |= 1 << lane,
            Err(at) => blocks.insert(at, (number(block), 1 << lane)),
        }
    }

    pub(crate) fn clear(&mut self, id: u32, block: usize, lane: usize) {
        let Some(blocks) = self.0.get_mut(&id) else {
            return;
        };
        if let Ok(at) = position(blocks, block) {
            blocks[at].1 &= !(1 << lane);
            if blocks[at].1 == 0 {
                blocks.remove(at);
            }
        }
        if blocks.is_empty() {
            self.0.remove(&id);
        }
    }
}

/// The blocks that have one name, in order, each with its lanes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tagged<'a>(&'a [(u32, u64)]);

impl Tagged<'_> {
    /// The lanes of a block that have it.
    pub(crate) fn lanes(self, block: usize) -> u64 {
        position(self.0, block).map_or(0, |at| self.0[at].1)
    }
}

/// Where a block stands among those that have a name: no later than its number, and no earlier than that
/// less the blocks that have not. So of a name that nearly all have, and a search asks for again and again,
/// it is found at once.
fn position(blocks: &[(u32, u64)], block: usize) -> Result<usize, usize> {
    let block = number(block);
    let Some((last, _)) = blocks.last().filter(|(last, _)| *last >= block) else {
        return Err(blocks.len());
    };
    let without = *last as usize + 1 - blocks.len();
    let from = (block as usize).saturating_sub(without);
    let to = blocks.len().min(block as usize + 1);
    let found = blocks[from..to].binary_search_by_key(&block, |(block, _)| *block);
    found.map(|at| from + at).map_err(|at| from + at)
}

fn number(block: usize) -> u32 {
    u32::try_from(block).expect("fewer blocks than memory holds")
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_number_is_a_names_as_long_as_anybody_has_it() {
        let mut names = Names::default();
        let (a, b) = (names.take("a"), names.take("b"));
        assert_eq!((names.take("a"), names.id("b")), (a, Some(b)));
        names.release(a);
        assert_eq!(names.id("a"), Some(a));
        names.release(a);
        assert_eq!(names.id("a"), None);
        assert_eq!(names.take("c"), a, "the number is used again");
        assert_eq!((names.id("c"), names.len()), (Some(a), 2));
    }

    #[test]
    fn a_block_stands_where_a_search_finds_it() {
        for having in 0_u32..1 << 8 {
            let numbers = (0..8).filter(|block| having >> block & 1 == 1);
            let blocks: Vec<(u32, u64)> = numbers.map(|block| (block, 1)).collect();
            for block in 0..10 {
                let found = blocks.binary_search_by_key(&number(block), |(block, _)| *block);
                assert_eq!(position(&blocks, block), found, "{block} in {blocks:?}");
            }
        }
    }

    #[test]
    fn lanes_come_and_go() {
        let mut tags = Tags::default();
        for (id, block, lane) in [(7, 1, 0), (3, 0, 63), (7, 1, 5), (7, 0, 2)] {
            tags.set(id, block, lane);
        }
        let lanes = |id, block| tags.of(Some(id)).lanes(block);
        assert_eq!((lanes(7, 1), lanes(7, 0), lanes(7, 2)), (0b10_0001, 4, 0));
        assert_eq!((lanes(3, 0), lanes(3, 1), lanes(4, 0)), (1 << 63, 0, 0));
        assert_eq!(tags.of(None).lanes(0), 0);
        for (id, block, lane) in [(7, 1, 0), (3, 0, 63), (7, 1, 5), (7, 0, 2), (9, 1, 1)] {
            tags.clear(id, block, lane);
        }
        assert_eq!(tags, Tags::default());
    }
}
