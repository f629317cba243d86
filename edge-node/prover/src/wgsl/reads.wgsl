// One segment of the lanes' reads, a lane a thread. `word` is put before it: the fill lies in as many buffers as the
// device asks for.

struct Params {
    segment: u32,
    turns: u32,
    lanes: u32,
    blocks: u32,
    key: array<vec4<u32>, 2>,
}

@group(0) @binding(0) var<uniform> params: Params;
// The lanes' values after each segment, all lanes of the first one first.
@group(0) @binding(1) var<storage, read_write> values: array<u32>;

fn key(n: u32) -> u32 {
    return params.key[(n >> 2u) & 1u][n & 3u];
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let lane = id.x;
    if (lane >= params.lanes) {
        return;
    }
    var value = mix(mix(lane ^ key(0u)) + key(1u));
    if (params.segment > 0u) {
        value = values[(params.segment - 1u) * params.lanes + lane];
    }
    let first = params.segment * 1000u;
    for (var n = 0u; n < params.turns; n += 1u) {
        let turn = first + n;
        let block = wide(mix(value ^ key(2u)), params.blocks).x;
        let found = word(block, value & 16383u);
        value = mix(value ^ found ^ key(turn)) + turn;
    }
    values[params.segment * params.lanes + lane] = value;
}
