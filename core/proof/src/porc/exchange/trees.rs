//! The tree of one who holds its leaves: every path at the cost of its length.

use super::super::commit::CommitHasher;
use crate::log::tree::{Hash, Hasher as _};

/// A tree with all its nodes, level by level. Its root and paths are those of [`crate::log::tree`]: a node
/// without a sibling goes up as it is.
#[derive(Clone, Debug)]
pub struct Tree(Vec<Vec<Hash>>);

impl Tree {
    /// Over these leaves.
    #[must_use]
    pub fn new(leaves: Vec<Hash>) -> Self {
        let mut levels = vec![leaves];
        while let Some(below) = levels.last().filter(|level| level.len() > 1) {
            let parent = |pair: &[Hash]| match pair {
                [left, right] => CommitHasher::parent(left, right),
                // Pairs have one or two.
                _ => pair[0],
            };
            let above = below.chunks(2).map(parent).collect();
            levels.push(above);
        }
        Self(levels)
    }

    /// Its root.
    #[must_use]
    pub fn root(&self) -> Hash {
        let top = self.0.last().and_then(|level| level.first());
        top.copied().unwrap_or_else(CommitHasher::empty)
    }

    /// From the sibling of a leaf up.
    #[must_use]
    pub fn path(&self, index: u32) -> Vec<Hash> {
        let mut index = index as usize;
        let mut path = Vec::new();
        for level in &self.0 {
            path.extend(level.get(index ^ 1));
            index >>= 1;
        }
        path
    }
}

/// How many hashes the path of a leaf has.
#[must_use]
pub fn path_len(mut index: u32, mut leaves: u32) -> usize {
    let mut len = 0;
    while leaves > 1 {
        len += usize::from(index ^ 1 < leaves);
        (index, leaves) = (index >> 1, leaves.div_ceil(2));
    }
    len
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::log::tree;

    #[test]
    fn it_is_the_tree_of_the_log() {
        for size in 1..40_u32 {
            let leaves: Vec<Hash> = (0..size).map(|leaf| [leaf as u8; 32]).collect();
            let held = Tree::new(leaves.clone());
            assert_eq!(held.root(), tree::root::<CommitHasher>(&leaves));
            for index in 0..size {
                let path = tree::path::<CommitHasher>(&leaves, index as usize).unwrap();
                assert_eq!(held.path(index), path, "{index} of {size}");
                assert_eq!(path_len(index, size), path.len());
            }
        }
        assert_eq!(Tree::new(Vec::new()).root(), CommitHasher::empty());
    }
}
