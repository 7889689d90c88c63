// Linear layers of many rows, by tiles.

fn mac(l: f32, r: vec4<f32>, sum: vec4<f32>) -> vec4<f32> { return fma(vec4(l), r, sum); }

// Both factors are dense along the sum.
fn left_along_p() -> bool { return true; }
fn right_along_p() -> bool { return true; }
fn left_rows(row: u32, p: u32) -> vec4<f32> { return vec4(0.0); }
fn right_columns(column: u32, p: u32) -> vec4<f32> { return vec4(0.0); }

@compute @workgroup_size(INVOCATIONS)
fn linear(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let columns = (params.n + COLUMNS - 1u) / COLUMNS;
    let index = group_index(group, groups);
    let row = index / columns * ROWS;
    if (row >= params.m) { return; }
    product(row, index % columns * COLUMNS, lane, params.k);
}
