// Four neighbouring floating-point elements, the first at a multiple of four, from the vector of words that holds them.

// Vector that holds element i.
fn vector_of(dtype: u32, i: u32) -> u32 { return i >> (4u - size_log2(dtype)); }

fn four_of(dtype: u32, words: vec4<u32>, i: u32) -> vec4<f32> {
    if (dtype == F32) { return bitcast<vec4<f32>>(words); }
    let two = select(words.xy, words.zw, (i & 4u) != 0u);
    return vec4(
        f32_of(dtype, two.x & 0xffffu),
        f32_of(dtype, two.x >> 16u),
        f32_of(dtype, two.y & 0xffffu),
        f32_of(dtype, two.y >> 16u),
    );
}
