// Products of 8-bit integers: sums in i32, exact and wrapping. beta is 0 or 1.

alias Value = i32;

fn value_of(dtype: u32, bits: u32) -> i32 { return bitcast<i32>(bits << 24u) >> 24u; }

fn four_values(dtype: u32, words: vec4<u32>, i: u32) -> vec4<i32> {
    let four = words[(i >> 2u) & 3u];
    return bitcast<vec4<i32>>(vec4(four << 24u, four << 16u, four << 8u, four)) >> vec4(24u);
}

fn mac(l: i32, r: vec4<i32>, sum: vec4<i32>) -> vec4<i32> { return l * r + sum; }

fn blend(dtype: u32, sum: i32, former: u32) -> u32 { return bitcast<u32>(sum) + former; }
