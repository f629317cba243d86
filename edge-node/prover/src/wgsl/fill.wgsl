// Blocks of the fill, one a thread: a chain forward, then backward, forward and backward again, each word taking in what
// stood in its place and two other words of the block as they are then.

struct Params {
    first: u32,
    count: u32,
    unused: vec2<u32>,
    seed: array<vec4<u32>, 2>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;

fn seed(j: u32) -> u32 {
    return params.seed[(j >> 2u) & 1u][j & 3u];
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= params.count) {
        return;
    }
    let base = id.x * 16384u;
    let key = mix(mix((params.first + id.x) ^ seed(0u)) + seed(1u));
    var word = key;
    // Two at a time: Mesa's llvmpipe leaves all loops of a program after 65,535 rounds together.
    for (var j = 0u; j < 16384u; j += 2u) {
        word = mix(word ^ seed(j)) + key;
        out[base + j] = word;
        word = mix(word ^ seed(j + 1u)) + key;
        out[base + j + 1u] = word;
    }
    for (var k = 0u; k < 49152u; k += 1u) {
        // Back and forth.
        let turn = k & 16383u;
        let j = select(16383u - turn, turn, (k >> 14u) == 1u);
        let old = out[base + j];
        let a = out[base + (word & 16383u)];
        let b = out[base + (word >> 18u)];
        word = mix(word ^ old ^ rotate(a, 7u) ^ rotate(b, 13u)) + old + a + b;
        out[base + j] = word;
    }
}
