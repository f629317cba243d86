// Tiles of a frame, a pixel a thread: a ray in fixed point through four spheres that bend it.

struct Params {
    key: u32,
    steps: u32,
    first: u32,
    unused: u32,
    spheres: array<vec4<i32>, 4>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;

const HALF: i32 = 4096;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let pixel = id.x;
    let drift = mix(mix((params.first + id.y) ^ params.key) ^ mix(pixel));
    var place = vec3<i32>((i32(pixel & 63u) - 32) * 64, (i32(pixel >> 6u) - 32) * 64, -HALF);
    var speed = vec3<i32>(i32(drift & 31u) - 16, i32((drift >> 5u) & 31u) - 16, 64);
    var colour = drift;
    for (var step = 0u; step < params.steps; step += 1u) {
        for (var n = 0u; n < 4u; n += 1u) {
            let sphere = params.spheres[n];
            let d = sphere.xyz - place;
            let depth = sphere.w - (d.x * d.x + d.y * d.y + d.z * d.z);
            // All ones inside, zero outside.
            let inside = ~(depth >> 31u);
            speed += (d >> vec3<u32>(6u)) & vec3<i32>(inside);
            colour += bitcast<u32>((depth >> 8u) & inside);
        }
        speed = clamp(speed, vec3<i32>(-127), vec3<i32>(127));
        place = ((place + speed + vec3<i32>(HALF)) & vec3<i32>(2 * HALF - 1)) - vec3<i32>(HALF);
        let p = bitcast<vec3<u32>>(place);
        colour = (colour * 0x9e3779b1u) ^ (p.x ^ rotate(p.y, 11u) ^ rotate(p.z, 22u));
    }
    out[id.y * 4096u + pixel] = mix(colour);
}
