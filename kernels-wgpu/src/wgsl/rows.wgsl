// One workgroup per row. Each of its `LANES` invocations takes every LANES-th element; what they find is joined in two levels, in an
// order that depends on the length of a row alone.

override LANES: u32; // 64 or 256

var<workgroup> of_lanes: array<f32, 256>;
var<workgroup> of_sides: array<f32, 16>;

fn sum_of_lanes(lane: u32, value: f32) -> f32 {
    let side = select(8u, 16u, LANES == 256u);
    of_lanes[lane] = value;
    workgroupBarrier();
    if (lane < side) {
        var sum = of_lanes[lane];
        for (var k = 1u; k < side; k++) { sum += of_lanes[lane + k * side]; }
        of_sides[lane] = sum;
    }
    workgroupBarrier();
    var sum = of_sides[0];
    for (var k = 1u; k < side; k++) { sum += of_sides[k]; }
    return sum;
}

// The largest; a NaN of one invocation is left out.
fn largest_of_lanes(lane: u32, value: f32) -> f32 {
    let side = select(8u, 16u, LANES == 256u);
    of_lanes[lane] = value;
    workgroupBarrier();
    if (lane < side) {
        var top = of_lanes[lane];
        for (var k = 1u; k < side; k++) { top = larger(top, of_lanes[lane + k * side]); }
        of_sides[lane] = top;
    }
    workgroupBarrier();
    var top = of_sides[0];
    for (var k = 1u; k < side; k++) { top = larger(top, of_sides[k]); }
    return top;
}

// The larger, or `top` where `value` is NaN.
fn larger(top: f32, value: f32) -> f32 { return select(top, value, value > top); }
