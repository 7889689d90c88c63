// Elements in words of 32 bits. Conversions are integer arithmetic: exact, and the same on devices that flush subnormals.

const F32 = 0u;
const BF16 = 1u;
const F16 = 2u;
const I8 = 3u;
const U8 = 4u;
const I32 = 5u;
const U32 = 6u;

// log₂ of the bytes of an element.
fn size_log2(dtype: u32) -> u32 {
    if (dtype == BF16 || dtype == F16) { return 1u; }
    if (dtype == I8 || dtype == U8) { return 0u; }
    return 2u;
}

// Word that holds element i, the element's first bit in it, and the bits of an element.
fn word_of(dtype: u32, i: u32) -> u32 { return i >> (2u - size_log2(dtype)); }
fn shift_of(dtype: u32, i: u32) -> u32 { return (i << (3u + size_log2(dtype))) & 31u; }
fn mask_of(dtype: u32) -> u32 { return 0xffffffffu >> (32u - (8u << size_log2(dtype))); }

fn f32_of(dtype: u32, bits: u32) -> f32 {
    switch (dtype) {
        case BF16: { return bitcast<f32>(bits << 16u); }
        case F16: { return f32_of_half(bits); }
        case I8: { return f32(bitcast<i32>(bits << 24u) >> 24u); }
        case U8: { return f32(bits); }
        case U32: { return f32_of_u32(bits); }
        case I32: { return select(f32_of_u32(bits), -f32_of_u32(0u - bits), (bits >> 31u) == 1u); }
        default: { return bitcast<f32>(bits); }
    }
}

// Element i, of the word that holds it.
fn unpack(dtype: u32, word: u32, i: u32) -> f32 { return f32_of(dtype, (word >> shift_of(dtype, i)) & mask_of(dtype)); }

// To nearest, ties to even. For floating-point types. Of NaN there is one, whose sign and payload depend on no order of operands.
fn bits_of(dtype: u32, value: f32) -> u32 {
    var bits = bitcast<u32>(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) { bits = 0x7fc00000u; }
    if (dtype == BF16) { return (bits + 0x7fffu + ((bits >> 16u) & 1u)) >> 16u; }
    if (dtype == F16) { return half_of(bits); }
    return bits;
}

// To nearest, ties to even; the conversion of WGSL may round either way.
fn f32_of_u32(n: u32) -> f32 {
    if (n < 0x1000000u) { return f32(n); }
    let shift = firstLeadingBit(n) - 23u;
    return f32(rounded(n, shift)) * f32(1u << shift);
}

// n / 2^shift, to nearest, ties to even, for shift from 1 to 31.
fn rounded(n: u32, shift: u32) -> u32 {
    let low = n & ((1u << shift) - 1u);
    let half = 1u << (shift - 1u);
    let kept = n >> shift;
    return kept + select(0u, 1u, low > half || (low == half && (kept & 1u) == 1u));
}

fn f32_of_half(bits: u32) -> f32 {
    let sign = (bits & 0x8000u) << 16u;
    let rest = bits & 0x7fffu;
    if (rest >= 0x7c00u) { return bitcast<f32>(sign | 0x7f800000u | (rest << 13u)); }
    if (rest >= 0x400u) { return bitcast<f32>(sign | ((rest << 13u) + 0x38000000u)); }
    // Subnormal: a multiple of 2⁻²⁴, normal in f32.
    let tiny = f32(rest) * bitcast<f32>(0x33800000u);
    return bitcast<f32>(sign | bitcast<u32>(tiny));
}

fn half_of(bits: u32) -> u32 {
    let sign = (bits >> 16u) & 0x8000u;
    let rest = bits & 0x7fffffffu;
    if (rest > 0x7f800000u) { return sign | 0x7e00u; }
    // 65,520 and above round to infinity.
    if (rest >= 0x477ff000u) { return sign | 0x7c00u; }
    if (rest >= 0x38800000u) {
        return sign | ((rest + 0xfffu + ((rest >> 13u) & 1u) - 0x38000000u) >> 13u);
    }
    // Subnormal: the significand counted in multiples of 2⁻²⁴.
    let shift = 126u - (rest >> 23u);
    if (shift > 24u) { return sign; }
    let significand = (rest & 0x7fffffu) | 0x800000u;
    return sign | rounded(significand, shift);
}
