// Blocks of the fill, one a thread: a chain forward, then one backward that takes in another word of the block.

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
    for (var j = 0u; j < 16384u; j += 1u) {
        word = mix(word ^ seed(j)) + key;
        out[base + j] = word;
    }
    for (var j = 16384u; j > 0u; j -= 1u) {
        let elsewhere = out[base + (word & 16383u)];
        word = mix(word ^ out[base + j - 1u] ^ rotate(elsewhere, 7u)) + key;
        out[base + j - 1u] = word;
    }
}
