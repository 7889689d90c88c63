// Dimensions and strides of up to 8 axes, the last in `inner.w`.

struct Walk {
    outer_dims: vec4<u32>,
    inner_dims: vec4<u32>,
    outer_strides: vec4<u32>,
    inner_strides: vec4<u32>,
}

// Place of element i, counted row-major, from the first element.
fn place(walk: Walk, i: u32) -> u32 {
    var rest = i;
    var at = 0u;
    for (var axis = 3i; axis >= 0i; axis--) {
        at += (rest % walk.inner_dims[axis]) * walk.inner_strides[axis];
        rest /= walk.inner_dims[axis];
    }
    for (var axis = 3i; axis >= 0i && rest > 0u; axis--) {
        at += (rest % walk.outer_dims[axis]) * walk.outer_strides[axis];
        rest /= walk.outer_dims[axis];
    }
    return at;
}
