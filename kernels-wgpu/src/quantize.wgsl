// scale[i] = max over p of |x[i, p]| / 127, q[i, p] = round(x[i, p] / scale[i]): one workgroup per row.

override X: u32;

struct Params {
    m: u32,
    k: u32,
    x_first: u32,
    x_row: u32,
    q_first: u32,
    q_row: u32,
    scale_first: u32,
    scale_step: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>; // [M, K]
@group(0) @binding(2) var<storage, read_write> out: array<atomic<u32>>; // q: [M, K]
@group(0) @binding(3) var<storage, read_write> scale: array<u32>; // [M]

const INFINITY = 0x7f800000u;
const NOT_A_NUMBER = 0x7fc00000u;
var<workgroup> largest: array<u32, 64>;

fn x_at(at: u32) -> f32 { return f32_of(X, (x[word_of(X, at)] >> shift_of(X, at)) & mask_of(X)); }

@compute @workgroup_size(64)
fn quantize(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group_index(group, groups);
    if (row >= params.m) { return; }
    let x_row = params.x_first + row * params.x_row;
    // Absolute values order as their bits do, with infinities and NaN above all numbers.
    var bits = 0u;
    for (var p = lane; p < params.k; p += 64u) { bits = max(bits, bitcast<u32>(x_at(x_row + p)) & 0x7fffffffu); }
    largest[lane] = bits;
    workgroupBarrier();
    for (var i = 0u; i < 64u; i++) { bits = max(bits, largest[i]); }

    // WGSL bounds the error of a quotient only for divisors within 2^±126, and a GPU may flush the reciprocal of a greater one to
    // zero: maxima beyond 2^±100 are first brought nearer to 1 by 2^±100.
    let raise = select(select(1.0, 7.8886091e-31, bits >= 0x71800000u), 1.2676506e30, bits < 0x0d800000u);
    let limit = bitcast<f32>(bits);
    let factor = 127.0 / (limit * raise);
    let usable = bits != 0u && bits < INFINITY;
    for (var p = lane; p < params.k; p += 64u) {
        var code = 0i;
        if (usable) { code = i32(round(x_at(x_row + p) * raise * factor)); }
        store(I8, params.q_first + row * params.q_row + p, bitcast<u32>(clamp(code, -127i, 127i)));
    }
    if (lane == 0u) {
        scale[params.scale_first + row * params.scale_step] = select(NOT_A_NUMBER, bitcast<u32>(limit / 127.0), bits < INFINITY);
    }
}
