// (sin φ, cos φ) of φ = 2π · (turn + fraction · 2⁻³²) · 2⁻³², within 2 ULP of 1.
fn sin_cos_of_turn(turn: u32, fraction: u32) -> vec2<f32> {
    // The nearest quarter, and what is left of it: |r| ≤ π/4.
    let quarter = (turn + 0x20000000u) >> 30u;
    let left = bitcast<i32>(turn - (quarter << 30u));
    let r = (f32(left) + f32(fraction) * 2.3283064e-10) * 1.4629181e-9; // 2⁻³², 2π · 2⁻³²
    let y = r * r;
    // (sin(r)/r − 1)/r² to 2⁻³⁷ and (cos(r) − 1 + r²/2)/r⁴ to 2⁻⁴³
    var sin = 2.7183116e-6;
    sin = sin * y - 0.00019839335;
    sin = sin * y + 0.008333329;
    sin = sin * y - 0.16666667;
    sin = r * y * sin + r;
    var cos = -2.721024e-7;
    cos = cos * y + 2.479952e-5;
    cos = cos * y - 0.0013888883;
    cos = cos * y + 0.041666668;
    cos = y * y * cos + (1.0 - 0.5 * y);
    switch (quarter & 3u) {
        case 0u: { return vec2(sin, cos); }
        case 1u: { return vec2(cos, -sin); }
        case 2u: { return vec2(-sin, -cos); }
        default: { return vec2(-cos, sin); }
    }
}
