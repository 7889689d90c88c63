// m = β₁·m + (1 − β₁)·grad;  v = β₂·v + (1 − β₂)·grad²;
// param −= lr·(correction·m / (√v + eps) + weight_decay·param + l1·sign(param)), with the corrections of both moments in two factors

override X: u32; // dtype of grad

struct Params {
    lattices: array<Lattice, 1>, // grad, m, v, param in w
    lr: f32,
    beta1: f32,
    rest1: f32, // 1 − β₁
    beta2: f32,
    rest2: f32, // 1 − β₂
    eps: f32,
    correction: f32,
    weight_decay: f32,
    l1: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> grad: array<u32>;
@group(0) @binding(2) var<storage, read_write> m: array<f32>;
@group(0) @binding(3) var<storage, read_write> v: array<f32>;
@group(0) @binding(4) var<storage, read_write> param: array<f32>;

fn update(i: u32) {
    let at = places(i);
    let p = param[at.w];
    let g = unpack(X, grad[word_of(X, at.x)], at.x);
    let first = params.beta1 * m[at.y] + params.rest1 * g;
    let second = params.beta2 * v[at.z] + params.rest2 * g * g;
    m[at.y] = first;
    v[at.z] = second;
    let adaptive = quotient(first * params.correction, root(second) + params.eps);
    param[at.w] = p - params.lr * (params.weight_decay * p + (params.l1 * sign_of(p) + adaptive));
}

@compute @workgroup_size(64)
fn adamw(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    each_update(group_index(group, groups), lane);
}
