// Products of floating-point elements: sums in f32, one rounding.

alias Value = f32;

fn value_of(dtype: u32, bits: u32) -> f32 { return f32_of(dtype, bits); }

fn blend(dtype: u32, sum: f32, former: u32) -> u32 {
    let scaled = params.alpha * sum;
    if (params.beta == 0.0) { return bits_of(dtype, scaled); }
    return bits_of(dtype, scaled + params.beta * f32_of(dtype, former));
}
