//! Merkle trees as RFC 6962 section 2.1 has them: hashes, inclusion and consistency.
//!
//! The hash function is a parameter ([`Hasher`]): logs use SHA-256 over `0x00 || entry` and
//! `0x01 || left || right`, and the commitments of a proof of capacity use BLAKE3 in the same
//! shape. Proofs are verified with their exact length: one hash too many or too few is refused.
//!
//! [`Frontier`] appends without holding the leaves.

/// A node of the tree.
pub type Hash = [u8; 32];

/// How two nodes become one, and what the root of nothing is.
pub trait Hasher {
    /// The parent of two nodes.
    fn parent(left: &Hash, right: &Hash) -> Hash;
    /// The root of a tree with no leaves.
    fn empty() -> Hash;
}

/// The hash of logs: SHA-256, RFC 6962.
#[derive(Clone, Copy, Debug)]
pub struct LogHasher;

impl Hasher for LogHasher {
    fn parent(left: &Hash, right: &Hash) -> Hash {
        crate::encoding::sha256(&[&[1], left, right])
    }

    fn empty() -> Hash {
        crate::encoding::sha256(&[])
    }
}

/// The leaf of a log's entry.
#[must_use]
pub fn leaf(entry: &[u8]) -> Hash {
    crate::encoding::sha256(&[&[0], entry])
}

/// The root over these leaves.
#[must_use]
pub fn root<H: Hasher>(leaves: &[Hash]) -> Hash {
    let mut frontier = Frontier::<H>::default();
    leaves.iter().for_each(|leaf| frontier.push(*leaf));
    frontier.root()
}

/// The path of leaf `index`, from its sibling up, or `None` if there is no such leaf.
#[must_use]
pub fn path<H: Hasher>(leaves: &[Hash], index: usize) -> Option<Vec<Hash>> {
    let (mut below, mut index) = (leaves, index);
    if index >= leaves.len() {
        return None;
    }
    let mut upwards = Vec::new();
    while below.len() > 1 {
        let (left, right) = below.split_at(split(below.len()));
        if index < left.len() {
            upwards.push(root::<H>(right));
            below = left;
        } else {
            upwards.push(root::<H>(left));
            index -= left.len();
            below = right;
        }
    }
    upwards.reverse();
    Some(upwards)
}

/// Whether `path` leads from `leaf` at `index` to the root of a tree of `size` leaves.
#[must_use]
pub fn includes<H: Hasher>(root: &Hash, size: u64, index: u64, leaf: &Hash, path: &[Hash]) -> bool {
    if index >= size {
        return false;
    }
    let (mut index, mut last, mut hash) = (index, size - 1, *leaf);
    // RFC 9162 section 2.1.3.2: `last` is the index of the level's last node.
    for sibling in path {
        if last == 0 {
            return false;
        }
        if index & 1 == 1 || index == last {
            hash = H::parent(sibling, &hash);
            while index & 1 == 0 && index != 0 {
                (index, last) = (index >> 1, last >> 1);
            }
        } else {
            hash = H::parent(&hash, sibling);
        }
        (index, last) = (index >> 1, last >> 1);
    }
    last == 0 && hash == *root
}

/// The consistency proof from the first `old` leaves to all of them, or `None` if there are fewer.
#[must_use]
pub fn consistency<H: Hasher>(leaves: &[Hash], old: usize) -> Option<Vec<Hash>> {
    if old > leaves.len() {
        return None;
    }
    if old == 0 || old == leaves.len() {
        return Some(Vec::new());
    }
    let (mut below, mut old, mut whole, mut upwards) = (leaves, old, true, Vec::new());
    while old != below.len() {
        let (left, right) = below.split_at(split(below.len()));
        if old <= left.len() {
            upwards.push(root::<H>(right));
            below = left;
        } else {
            upwards.push(root::<H>(left));
            old -= left.len();
            below = right;
            whole = false;
        }
    }
    if !whole {
        upwards.push(root::<H>(below));
    }
    upwards.reverse();
    Some(upwards)
}

/// Whether a tree of `size` leaves under `root` begins with the `old_size` leaves under `old_root`.
#[must_use]
pub fn extends<H: Hasher>(
    (old_size, old_root): (u64, &Hash),
    (size, root): (u64, &Hash),
    proof: &[Hash],
) -> bool {
    if old_size > size {
        return false;
    }
    if old_size == size || old_size == 0 {
        let known = if old_size == 0 {
            *old_root == H::empty()
        } else {
            old_root == root
        };
        return known && proof.is_empty();
    }
    // RFC 9162 section 2.1.4.2.
    let (mut old, mut last) = (old_size - 1, size - 1);
    while old & 1 == 1 {
        (old, last) = (old >> 1, last >> 1);
    }
    let (first, rest) = if old_size.is_power_of_two() {
        (old_root, proof)
    } else if let Some((first, rest)) = proof.split_first() {
        (first, rest)
    } else {
        return false;
    };
    let (mut before, mut now) = (*first, *first);
    for node in rest {
        if last == 0 {
            return false;
        }
        if old & 1 == 1 || old == last {
            before = H::parent(node, &before);
            now = H::parent(node, &now);
            while old & 1 == 0 && old != 0 {
                (old, last) = (old >> 1, last >> 1);
            }
        } else {
            now = H::parent(&now, node);
        }
        (old, last) = (old >> 1, last >> 1);
    }
    last == 0 && before == *old_root && now == *root
}

/// The right edge of a growing tree: one root for each full subtree, the largest first.
#[derive(Clone, Debug)]
pub struct Frontier<H> {
    size: u64,
    roots: Vec<Hash>,
    hasher: std::marker::PhantomData<H>,
}

impl<H> Default for Frontier<H> {
    fn default() -> Self {
        Self {
            size: 0,
            roots: Vec::new(),
            hasher: std::marker::PhantomData,
        }
    }
}

impl<H: Hasher> Frontier<H> {
    /// Appends a leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut node = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.roots.pop() {
                node = H::parent(&left, &node);
            }
        }
        self.roots.push(node);
        self.size += 1;
    }

    /// How many leaves there are.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root over all of them.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut upwards = self.roots.iter().rev();
        let Some(last) = upwards.next() else {
            return H::empty();
        };
        upwards.fold(*last, |right, left| H::parent(left, &right))
    }
}

/// The greatest power of two below `size`, which is 2 at least.
const fn split(size: usize) -> usize {
    1 << (usize::BITS - 1 - (size - 1).leading_zeros())
}

#[cfg(test)]
#[path = "tree/test.rs"]
mod test;
