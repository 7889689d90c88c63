// g = grad + l2·param + l1·sign(param);  velocity = momentum·velocity + g;  param −= lr·velocity, or lr·(g + momentum·velocity)

override X: u32; // dtype of grad
override VELOCITY: u32; // whether there is one
override NESTEROV: u32;

struct Params {
    lattices: array<Lattice, 1>, // grad, velocity, param in w
    lr: f32,
    momentum: f32,
    l2: f32,
    l1: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> grad: array<u32>;
@group(0) @binding(2) var<storage, read_write> velocity: array<f32>;
@group(0) @binding(3) var<storage, read_write> param: array<f32>;

fn update(i: u32) {
    let at = places(i);
    let p = param[at.w];
    let g = params.l2 * p + (params.l1 * sign_of(p) + unpack(X, grad[word_of(X, at.x)], at.x));
    var direction = g;
    if (VELOCITY != 0u) {
        let v = params.momentum * velocity[at.y] + g;
        velocity[at.y] = v;
        direction = v;
        if (NESTEROV != 0u) { direction = params.momentum * v + g; }
    }
    param[at.w] = p - params.lr * direction;
}

@compute @workgroup_size(64)
fn sgd(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    each_update(group_index(group, groups), lane);
}
