// Linear layers of up to four rows, where reading the weight is all the work: each invocation reads CHUNK terms of four rows of
// the weight at a time, `lanes` invocations a row; the first ones add the sums of chunks in rising order.

var<workgroup> sums: array<vec4<f32>, 256>; // [4 rows of x, 64 invocations] × 4 rows of the weight

// What elements p to p + 15 of a row of a coded weight stand for, where they are of one group.
fn right_group(row: u32, p: u32) -> Group {
    if (FORM == 0u) { return Group(); }
    return group_of(min(row, params.n - 1u), min(p, params.k - 1u));
}

fn right_four_of(group: Group, row: u32, p: u32) -> vec4<f32> {
    if (FORM != 0u && (WHOLE & 2u) != 0u) { return decoded(group, codes(min(row, params.n - 1u), p)); }
    let one_group = FORM > INT4 || params.groups == 1u || (params.group_size & 15u) == 0u;
    if (FORM == 0u || !one_group || row >= params.n || p + 3u >= params.k) { return right_four(row, p); }
    return decoded(group, codes(row, p));
}

// Adds four terms.
fn four_terms(x: vec4<f32>, w: array<vec4<f32>, 4>, sum: vec4<f32>) -> vec4<f32> {
    var s = fma(vec4(x.x), vec4(w[0].x, w[1].x, w[2].x, w[3].x), sum);
    s = fma(vec4(x.y), vec4(w[0].y, w[1].y, w[2].y, w[3].y), s);
    s = fma(vec4(x.z), vec4(w[0].z, w[1].z, w[2].z, w[3].z), s);
    return fma(vec4(x.w), vec4(w[0].w, w[1].w, w[2].w, w[3].w), s);
}

@compute @workgroup_size(64)
fn linear_few(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first_row = group_index(group, groups) * (64u / params.lanes) * 4u;
    if (first_row >= params.n) { return; }
    let place = lane % params.lanes; // of the chunk, and of the row of x whose sums this invocation adds
    let row = first_row + lane / params.lanes * 4u;
    var total = vec4<f32>();
    for (var begin = 0u; begin < params.k; begin += CHUNK * params.lanes) {
        let first = begin + place * CHUNK;
        var s0 = vec4<f32>();
        var s1 = vec4<f32>();
        var s2 = vec4<f32>();
        var s3 = vec4<f32>();
        for (var p = first; p < min(first + CHUNK, params.k); p += 16u) {
            let g0 = right_group(row, p);
            let g1 = right_group(row + 1u, p);
            let g2 = right_group(row + 2u, p);
            let g3 = right_group(row + 3u, p);
            // Zeros beyond K, as tiles have them.
            for (var q = p; q < p + 16u; q += 4u) {
                let w = array(
                    right_four_of(g0, row, q),
                    right_four_of(g1, row + 1u, q),
                    right_four_of(g2, row + 2u, q),
                    right_four_of(g3, row + 3u, q),
                );
                s0 = four_terms(left_four(0u, q), w, s0);
                if (params.m > 1u) { s1 = four_terms(left_four(1u, q), w, s1); }
                if (params.m > 2u) { s2 = four_terms(left_four(2u, q), w, s2); }
                if (params.m > 3u) { s3 = four_terms(left_four(3u, q), w, s3); }
            }
        }
        sums[lane] = s0;
        if (params.m > 1u) { sums[64u + lane] = s1; }
        if (params.m > 2u) { sums[128u + lane] = s2; }
        if (params.m > 3u) { sums[192u + lane] = s3; }
        workgroupBarrier();
        if (place < params.m) {
            let chunks = min(params.lanes, (params.k - begin + CHUNK - 1u) / CHUNK);
            let at = place * 64u + lane - place;
            for (var i = 0u; i < chunks; i++) { total += sums[at + i]; }
        }
        workgroupBarrier();
    }
    if (place < params.m) {
        finish(place, row, total.x);
        finish(place, row + 1u, total.y);
        finish(place, row + 2u, total.z);
        finish(place, row + 3u, total.w);
    }
}
