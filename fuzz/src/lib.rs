//! What the targets share.

/// Cuts an input into pieces, as `[flag and length u16 big-endian][bytes]`: the length is the lower
/// 15 bits, and as many bytes as there are.
pub fn pieces(mut bytes: &[u8]) -> Vec<(bool, &[u8])> {
    let mut pieces = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<2>() {
        let head = u16::from_be_bytes(*head);
        let (piece, after) = rest.split_at(rest.len().min(usize::from(head & 0x7fff)));
        pieces.push((head & 0x8000 != 0, piece));
        bytes = after;
    }
    pieces
}
