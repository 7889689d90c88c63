// Linear layers in integers where reading the weight is most of the work, and over weights that tiles do not take: `lanes`
// invocations for four outputs of one column.

fn signed(four: u32, i: u32) -> i32 { return bitcast<i32>(four << (24u - 8u * i)) >> 24u; }

fn dot_of_four(a: u32, b: u32) -> i32 {
    if (DOT4 != 0u) { return dot4I8Packed(a, b); }
    return signed(a, 0u) * signed(b, 0u) + signed(a, 1u) * signed(b, 1u) + signed(a, 2u) * signed(b, 2u) + signed(a, 3u) * signed(b, 3u);
}

// Sums of four rows of x over one part of a row of codes.
struct Part {
    products: vec4<i32>, // x · (code − zero)
    x: vec4<i32>,
}

// From place `first` to `end` of a column of codes, all of one group.
fn part_of(row: u32, column: u32, first: u32, end: u32, zero: i32) -> Part {
    let rows = min(vec4(row) + vec4(0u, 1u, 2u, 3u), vec4(params.m - 1u)) * params.x_row + params.x_first;
    var sum = vec4<i32>();
    var x_sum = vec4<i32>();
    for (var p = first & ~3u; p < end; p += 4u) {
        let code = codes(column, p) ^ 0x80808080u;
        let x0 = x_bytes(rows.x + p, p, first, end);
        let x1 = x_bytes(rows.y + p, p, first, end);
        let x2 = x_bytes(rows.z + p, p, first, end);
        let x3 = x_bytes(rows.w + p, p, first, end);
        sum += vec4(dot_of_four(x0, code), dot_of_four(x1, code), dot_of_four(x2, code), dot_of_four(x3, code));
        let ones = 0x01010101u;
        x_sum += vec4(dot_of_four(x0, ones), dot_of_four(x1, ones), dot_of_four(x2, ones), dot_of_four(x3, ones));
    }
    // Codes less 128 are signed bytes: x · (code − zero) = x · (code − 128) + (128 − zero) · x.
    return Part(sum + (128i - zero) * x_sum, x_sum);
}

var<workgroup> products: array<vec4<i32>, 64>; // of parts
var<workgroup> of_x: array<vec4<i32>, 64>;
var<workgroup> scales: array<vec2<f32>, 64>; // and minima

@compute @workgroup_size(64)
fn linear_int8(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let columns = 64u / params.lanes;
    let across = (params.n + columns - 1u) / columns;
    let index = group_index(group, groups);
    let row = index / across * 4u;
    if (row >= params.m) { return; }
    let column = min(index % across * columns + lane / params.lanes, params.n - 1u);
    let place = lane % params.lanes;
    let before = lane - place;
    var total = vec4<f32>();
    if (params.groups == 1u) {
        // A channel is cut anywhere: sums are exact.
        let size = ((params.k + params.lanes - 1u) / params.lanes + 3u) & ~3u;
        let first = min(place * size, params.k);
        let zero = i32(group_of(column, 0u).zero);
        products[lane] = part_of(row, column, first, min(first + size, params.k), zero).products;
        workgroupBarrier();
        var sum = vec4<i32>();
        for (var i = 0u; i < params.lanes; i++) { sum += products[before + i]; }
        total = vec4(of_channel(column, sum.x), of_channel(column, sum.y), of_channel(column, sum.z), of_channel(column, sum.w));
    } else {
        for (var begin = 0u; begin < params.groups; begin += params.lanes) {
            let g = begin + place;
            if (g < params.groups) {
                let first = g * params.group_size;
                let coded = group_of(column, first);
                let part = part_of(row, column, first, min(first + params.group_size, params.k), i32(coded.zero));
                products[lane] = part.products;
                of_x[lane] = part.x;
                scales[lane] = vec2(coded.scale, coded.minimum);
            }
            workgroupBarrier();
            for (var i = before; i < before + min(params.lanes, params.groups - begin); i++) {
                total = fma(vec4(scales[i].x), vec4<f32>(products[i]), total);
                if (FORM == Q4_K || FORM == Q5_K) { total = fma(vec4(-scales[i].y), vec4<f32>(of_x[i]), total); }
            }
            workgroupBarrier();
        }
    }
    // Four invocations finish an output each.
    let own = row + place;
    if (place >= 4u || own >= params.m || index % across * columns + lane / params.lanes >= params.n) { return; }
    finish_total(own, column, total[place]);
}
