//! A 32-bit mixer, and hashes with labels.

use crate::log::tree::Hash;

/// A bijection of 32-bit words ("lowbias32"): multiplications, shifts and exclusive ors, so that it
/// is the same three lines in WGSL.
#[must_use]
#[inline]
pub const fn mix(word: u32) -> u32 {
    let word = (word ^ (word >> 16)).wrapping_mul(0x7feb_352d);
    let word = (word ^ (word >> 15)).wrapping_mul(0x846c_a68b);
    word ^ (word >> 16)
}

/// The upper half of the product of two words: a word drawn evenly below `limit`.
#[must_use]
#[inline]
pub const fn below(word: u32, limit: u32) -> u32 {
    ((word as u64 * limit as u64) >> 32) as u32
}

/// BLAKE3 of a label and parts, each after its length (4 bytes, little endian).
#[must_use]
pub fn hash(label: &str, parts: &[&[u8]]) -> Hash {
    let mut hasher = blake3::Hasher::new();
    for part in std::iter::once(&label.as_bytes()).chain(parts) {
        hasher.update(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

/// A hash as eight words, little endian.
#[must_use]
pub fn words(hash: &Hash) -> [u32; 8] {
    let (chunks, _) = hash.as_chunks::<4>();
    std::array::from_fn(|i| u32::from_le_bytes(chunks[i]))
}

/// The digest of words: BLAKE3 of their bytes, little endian.
#[must_use]
pub fn digest(words: &[u32]) -> Hash {
    let mut hasher = blake3::Hasher::new();
    let mut bytes = [0; 1024];
    for chunk in words.chunks(256) {
        for (place, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(chunk) {
            *place = word.to_le_bytes();
        }
        hasher.update(&bytes[..chunk.len() * 4]);
    }
    *hasher.finalize().as_bytes()
}
