// a · b in 64 bits: (high, low).
fn wide_product(a: u32, b: u32) -> vec2<u32> {
    let a_low = a & 0xffffu;
    let b_low = b & 0xffffu;
    let low = a_low * b_low;
    let first = (a >> 16u) * b_low + (low >> 16u); // below 2³²
    let second = a_low * (b >> 16u) + (first & 0xffffu);
    return vec2((a >> 16u) * (b >> 16u) + (first >> 16u) + (second >> 16u), a * b);
}
