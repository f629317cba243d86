// Rows of C = A * B over the field of 2^31 - 1. A group makes 16 x 16 elements, 16 products of each at a time.

struct Params {
    size: u32,
    rows: u32,
    unused: vec2<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;
// Row and column keys of A, then of B.
@group(0) @binding(1) var<storage, read> keys: array<u32>;
// Which rows.
@group(0) @binding(2) var<storage, read> numbers: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<u32>;

var<workgroup> left: array<u32, 256>;
var<workgroup> right: array<u32, 256>;

// Of two elements, each at most p; less than p.
fn times(a: u32, b: u32) -> u32 {
    let product = wide(a, b);
    var sum = (product.y & P) + ((product.x << 1u) | (product.y >> 31u));
    sum = (sum & P) + (sum >> 31u);
    return select(sum, sum - P, sum >= P);
}

// Of two elements less than p.
fn plus(a: u32, b: u32) -> u32 {
    let sum = a + b;
    return select(sum, sum - P, sum >= P);
}

@compute @workgroup_size(16, 16)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_id) at: vec3<u32>) {
    let n = params.size;
    let row = min(numbers[min(id.y, params.rows - 1u)], n - 1u);
    let column = min(id.x, n - 1u);
    let place = at.y * 16u + at.x;
    var sum = 0u;
    for (var base = 0u; base < n; base += 16u) {
        let across = base + at.x;
        let down = base + at.y;
        let a = mix(keys[row] ^ keys[n + min(across, n - 1u)]) & P;
        let b = mix(keys[2u * n + min(down, n - 1u)] ^ keys[3u * n + column]) & P;
        left[place] = select(0u, a, across < n);
        right[place] = select(0u, b, down < n);
        workgroupBarrier();
        for (var k = 0u; k < 16u; k += 1u) {
            sum = plus(sum, times(left[at.y * 16u + k], right[k * 16u + at.x]));
        }
        workgroupBarrier();
    }
    if (id.y < params.rows && id.x < n) {
        out[id.y * n + id.x] = sum;
    }
}
