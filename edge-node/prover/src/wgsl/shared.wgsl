// The arithmetic that all legs share: core/proof's mixer, word for word.

const P: u32 = 0x7fffffffu;

fn mix(start: u32) -> u32 {
    var word = start;
    word = (word ^ (word >> 16u)) * 0x7feb352du;
    word = (word ^ (word >> 15u)) * 0x846ca68bu;
    return word ^ (word >> 16u);
}

// The product of two words: its upper and its lower half.
fn wide(a: u32, b: u32) -> vec2<u32> {
    let al = a & 0xffffu;
    let ah = a >> 16u;
    let bl = b & 0xffffu;
    let bh = b >> 16u;
    let low = al * bl;
    let one = al * bh + (low >> 16u);
    let two = ah * bl + (one & 0xffffu);
    return vec2<u32>(ah * bh + (one >> 16u) + (two >> 16u), (two << 16u) | (low & 0xffffu));
}

fn rotate(word: u32, by: u32) -> u32 {
    return (word << by) | (word >> (32u - by));
}
