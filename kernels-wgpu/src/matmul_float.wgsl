// Products of floating-point elements: sums in f32, one rounding. `former` is 0 where beta is.

alias Value = f32;

fn value_of(dtype: u32, bits: u32) -> f32 { return f32_of(dtype, bits); }

fn four_values(dtype: u32, words: vec4<u32>, i: u32) -> vec4<f32> { return four_of(dtype, words, i); }

fn mac(l: f32, r: vec4<f32>, sum: vec4<f32>) -> vec4<f32> { return fma(vec4(l), r, sum); }

fn blend(dtype: u32, sum: f32, former: u32) -> u32 {
    return bits_of(dtype, params.alpha * sum + params.beta * f32_of(dtype, former));
}
