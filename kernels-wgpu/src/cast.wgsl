// out[i] = x[i] in another dtype.

override X: u32;
override OUT: u32;

struct Params {
    x: Walk,
    out: Walk,
    x_first: u32,
    out_first: u32,
    count: u32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<atomic<u32>>;

@compute @workgroup_size(64)
fn cast_elements(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 64u + lane;
    if (i >= params.count) { return; }
    let source = params.x_first + place(params.x, i);
    let bits = (x[word_of(X, source)] >> shift_of(X, source)) & mask_of(X);
    store(OUT, params.out_first + place(params.out, i), bits_of(OUT, f32_of(X, bits)));
}
