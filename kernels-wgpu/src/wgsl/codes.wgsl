// Weights of integer codes as they are stored: w = scale · (code − zero) − min. The op's own piece defines FORM, `word(i)`, word
// i of the packed weight, and in its parameters k, group_size, groups, scales, zeros and asymmetric.

const INT8 = 1u;
const INT4 = 2u;
const Q8_0 = 3u;
const Q4_0 = 4u;
const Q4_K = 5u;
const Q5_K = 6u;
const Q6_K = 7u;

struct Group {
    scale: f32,
    zero: f32,
    minimum: f32,
}

// The four bytes from byte i.
fn bytes(i: u32) -> u32 {
    let at = i >> 2u;
    let shift = (i & 3u) << 3u;
    let low = word(at);
    if (shift == 0u) { return low; }
    return (low >> shift) | (word(at + 1u) << (32u - shift));
}

fn byte(i: u32) -> u32 { return (word(i >> 2u) >> ((i & 3u) << 3u)) & 255u; }

fn half_at(i: u32) -> f32 { return f32_of_half(bytes(i) & 0xffffu); }

// The first byte of the block of a format of GGUF that holds element (n, p).
fn block_at(n: u32, p: u32) -> u32 {
    switch (FORM) {
        case Q8_0: { return (n * (params.k >> 5u) + (p >> 5u)) * 34u; }
        case Q4_0: { return (n * (params.k >> 5u) + (p >> 5u)) * 18u; }
        case Q4_K: { return (n * (params.k >> 8u) + (p >> 8u)) * 144u; }
        case Q5_K: { return (n * (params.k >> 8u) + (p >> 8u)) * 176u; }
        default: { return (n * (params.k >> 8u) + (p >> 8u)) * 210u; }
    }
}

const NIBBLES = 0x0f0f0f0fu;

// Codes of elements p to p + 3 of row n, a byte each; p is a multiple of 4. Those beyond K are whatever lies there.
fn codes(n: u32, p: u32) -> u32 {
    let i = p & 255u;
    switch (FORM) {
        case INT8: { return bytes(n * params.k + p); }
        case INT4: {
            let four = bytes(n * ((params.k + 1u) >> 1u) + (p >> 1u));
            return (four & 15u) | ((four & 0xf0u) << 4u) | ((four & 0xf00u) << 8u) | ((four & 0xf000u) << 12u);
        }
        // Signed codes count from −128.
        case Q8_0: { return bytes(block_at(n, p) + 2u + (p & 31u)) ^ 0x80808080u; }
        case Q4_0: { return (bytes(block_at(n, p) + 2u + (p & 15u)) >> ((p & 16u) >> 2u)) & NIBBLES; }
        // In the large blocks, 64 inputs share 32 bytes of nibbles, the first 32 of them in the low ones.
        case Q4_K: { return (bytes(block_at(n, p) + 16u + (i >> 6u) * 32u + (i & 31u)) >> ((i & 32u) >> 3u)) & NIBBLES; }
        case Q5_K: {
            let low = (bytes(block_at(n, p) + 48u + (i >> 6u) * 32u + (i & 31u)) >> ((i & 32u) >> 3u)) & NIBBLES;
            return low | (((bytes(block_at(n, p) + 16u + (i & 31u)) >> (i >> 5u)) & 0x01010101u) << 4u);
        }
        // 128 inputs share 64 bytes of nibbles and 32 of upper bits.
        default: {
            let half = i >> 7u;
            let quarter = (i >> 5u) & 3u;
            let low = (bytes(block_at(n, p) + 64u * half + (quarter & 1u) * 32u + (i & 31u)) >> ((quarter >> 1u) << 2u)) & NIBBLES;
            let high = (bytes(block_at(n, p) + 128u + 32u * half + (i & 31u)) >> (2u * quarter)) & 0x03030303u;
            return low | (high << 4u);
        }
    }
}

// Scale and minimum with six-bit factors: in 12 bytes from the fourth, the upper two bits of the last four of each lie above the
// first four.
fn factored(block: u32, j: u32) -> Group {
    let scales = bytes(block);
    var scale: u32;
    var minimum: u32;
    if (j < 4u) {
        scale = byte(block + 4u + j) & 63u;
        minimum = byte(block + 8u + j) & 63u;
    } else {
        let both = byte(block + 8u + j);
        scale = (both & 15u) | ((byte(block + j) >> 6u) << 4u);
        minimum = (both >> 4u) | ((byte(block + 4u + j) >> 6u) << 4u);
    }
    return Group(f32_of_half(scales & 0xffffu) * f32(scale), 0.0, f32_of_half(scales >> 16u) * f32(minimum));
}

// What the code of element p of row n stands for.
fn group_of(n: u32, p: u32) -> Group {
    switch (FORM) {
        case INT8, INT4: {
            let g = n * params.groups + p / params.group_size;
            var zero = select(8.0, 128.0, FORM == INT8);
            if (params.asymmetric != 0u) { zero = f32(byte(params.zeros * 4u + g)); }
            return Group(bitcast<f32>(word(params.scales + g)), zero, 0.0);
        }
        case Q8_0: { return Group(half_at(block_at(n, p)), 128.0, 0.0); }
        case Q4_0: { return Group(half_at(block_at(n, p)), 8.0, 0.0); }
        case Q4_K, Q5_K: { return factored(block_at(n, p), (p & 255u) >> 5u); }
        default: {
            let block = block_at(n, p);
            let factor = bitcast<i32>(byte(block + 192u + ((p & 255u) >> 4u)) << 24u) >> 24u;
            return Group(half_at(block + 208u) * f32(factor), 32.0, 0.0);
        }
    }
}

// Products of scales and codes are exact where there is a minimum: one rounding.
fn value_of(group: Group, code: u32) -> f32 { return group.scale * (f32(code & 255u) - group.zero) - group.minimum; }

// Elements p to p + 3 of row n, all of one group.
fn decoded(group: Group, four: u32) -> vec4<f32> {
    return vec4(value_of(group, four), value_of(group, four >> 8u), value_of(group, four >> 16u), value_of(group, four >> 24u));
}

// Whether four neighbours may be of more than one group.
fn ragged() -> bool { return FORM <= INT4 && (params.group_size & 3u) != 0u; }

// Elements p to p + 3 of row n; 0 beyond K.
fn decoded_four(n: u32, p: u32) -> vec4<f32> {
    let four = codes(n, p);
    if (FORM > INT4) { return decoded(group_of(n, p), four); }
    if (!ragged() && p + 3u < params.k) { return decoded(group_of(n, p), four); }
    var values = vec4<f32>();
    for (var i = 0u; i < 4u && p + i < params.k; i++) {
        values[i] = value_of(group_of(n, p + i), four >> (8u * i));
    }
    return values;
}
