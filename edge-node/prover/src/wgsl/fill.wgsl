// Some steps of the blocks of a buffer, one block a thread: a chain forward, then backward, forward and backward again,
// each word taking in what stood in its place and two other words of the block as they are then. Nothing is carried from
// one dispatch to the next but the words themselves.

struct Params {
    first: u32,
    count: u32,
    begin: u32,
    end: u32,
    seed: array<vec4<u32>, 2>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;

fn seed(j: u32) -> u32 {
    return params.seed[(j >> 2u) & 1u][j & 3u];
}

// Where step k puts its word: of four passes the second and the fourth go backward.
fn place(k: u32) -> u32 {
    let turn = k & 16383u;
    return select(turn, 16383u - turn, ((k >> 14u) & 1u) == 1u);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= params.count) {
        return;
    }
    let base = id.x * 16384u;
    let key = mix(mix((params.first + id.x) ^ seed(0u)) + seed(1u));
    var word = key;
    if (params.begin > 0u) {
        word = out[base + place(params.begin - 1u)];
    }
    for (var k = params.begin; k < params.end; k += 1u) {
        let j = place(k);
        if (k < 16384u) {
            word = mix(word ^ seed(j)) + key;
        } else {
            let old = out[base + j];
            let a = out[base + (word & 16383u)];
            let b = out[base + (word >> 18u)];
            word = mix(word ^ old ^ rotate(a, 7u) ^ rotate(b, 13u)) + old + a + b;
        }
        out[base + j] = word;
    }
}
