// Packed weights of integer codes: w = scale · (code − zero) − min, with a scale (and a zero point, or a minimum) for a group of
// inputs.
//
// Codes lie as tensor cores want them, so that a warp reads them without a gap and a lane finds in its words what it multiplies.
// A tile is 16 rows by 32 inputs; tiles go along the inputs first, and what a weight lacks of whole tiles is code 0. Lane 4g + q has
// of rows g and g + 8 the codes of inputs 16s + 4q + (0..4) for s = 0, 1: a word of four bytes for each row and s.
//   8 bits: four words in the order (s, row): 512 bytes a tile.
//   4 bits: two words, one for each s; row g in the low nibbles, row g + 8 in the high ones: 256 bytes.
//   5th bit: bit 8s + 4·row + i of a 16-bit word: 64 bytes. 5th and 6th: bits 4s + 2·row of byte i of a word: 128 bytes.
// What belongs to groups lies as [tile of rows, group, row]: f32 scales and 8-bit zero points of free groups; f16 scales of q8_0,
// q4_0 and (per 256 inputs) q6_k, whose 8-bit factors are pairs per 32 inputs; the first 16 bytes of a block of q4_k and q5_k.
#pragma once

#include "tensor.cuh"

constexpr unsigned INT8 = 1, INT4 = 2, Q8_0 = 3, Q4_0 = 4, Q4_K = 5, Q5_K = 6, Q6_K = 7;

constexpr bool is_eight_bits(unsigned form) { return form == INT8 || form == Q8_0; }
constexpr bool has_minima(unsigned form) { return form == Q4_K || form == Q5_K; }

// Words of codes of one lane.
struct Codes {
    unsigned low[4];
    unsigned high;
};

struct alignas(16) FourWords {
    unsigned at[4];
};
struct alignas(8) TwoWords {
    unsigned at[2];
};

// Tiles along the inputs.
DEVICE unsigned tiles_of_row(const CodedParams& p) { return (p.k + 31) / 32; }

// What a lane has of the tile of rows `tile` at inputs 32·at.
DEVICE Codes load_codes(const CodedParams& p, unsigned form, unsigned tile, unsigned at, unsigned lane) {
    Stride place = (static_cast<Stride>(tile) * tiles_of_row(p) + at) * WARP_SIZE + lane;
    Codes codes = {};
    if (is_eight_bits(form)) {
        FourWords words = reinterpret_cast<const FourWords*>(p.codes)[place];
        UNROLL for (unsigned i = 0; i < 4; i++) codes.low[i] = words.at[i];
    } else {
        TwoWords words = reinterpret_cast<const TwoWords*>(p.codes)[place];
        UNROLL for (unsigned i = 0; i < 2; i++) codes.low[i] = words.at[i];
        if (form == Q5_K) codes.high = reinterpret_cast<const unsigned short*>(p.high)[place];
        if (form == Q6_K) codes.high = reinterpret_cast<const unsigned*>(p.high)[place];
    }
    return codes;
}

// The four codes of step s, of row g (`second` = 0) or g + 8 (1), a byte each.
DEVICE unsigned four_codes(unsigned form, const Codes& codes, unsigned s, unsigned second) {
    if (is_eight_bits(form)) return second ? codes.low[2 * s + 1] : codes.low[2 * s];
    unsigned four = codes.low[s] >> 4 * second & 0x0F0F0F0Fu;
    // Each of four bits to a byte of its own: no two of the products' bits meet.
    if (form == Q5_K) four |= ((codes.high >> (8 * s + 4 * second) & 15u) * 0x00204081u & 0x01010101u) << 4;
    if (form == Q6_K) four |= (codes.high >> (4 * s + 2 * second) & 0x03030303u) << 4;
    return four;
}

struct Group {
    float scale, min;
    unsigned zero;
};

DEVICE float half_at(Address first, Stride at) { return widen(reinterpret_cast<const F16*>(first)[at]); }

// The group of input l of row `row` of a tile of rows; `index` is its place among free groups.
DEVICE Group load_group(const CodedParams& p, unsigned form, unsigned tile, unsigned row, unsigned l, unsigned index) {
    Group group = {0.0f, 0.0f, 0};
    if (form == INT8 || form == INT4) {
        Stride at = (static_cast<Stride>(tile) * p.groups + index) * 16 + row;
        group.scale = reinterpret_cast<const float*>(p.scales)[at];
        group.zero = p.zeros ? reinterpret_cast<const unsigned char*>(p.zeros)[at] : form == INT8 ? 128 : 8;
    } else if (form == Q8_0 || form == Q4_0) {
        group.scale = half_at(p.scales, (static_cast<Stride>(tile) * (p.k / 32) + l / 32) * 16 + row);
        group.zero = form == Q8_0 ? 128 : 8;
    } else if (form == Q6_K) {
        Stride at = ((static_cast<Stride>(tile) * (p.k / 32) + l / 32) * 16 + row) * 2 + l / 16 % 2;
        float factor = widen(reinterpret_cast<const signed char*>(p.zeros)[at]);
        group.scale = half_at(p.scales, (static_cast<Stride>(tile) * (p.k / 256) + l / 256) * 16 + row) * factor;
        group.zero = 32;
    } else {
        // Six bits each in 12 bytes: the upper two bits of the last four of each lie above the first four.
        FourWords head = reinterpret_cast<const FourWords*>(p.scales)[(static_cast<Stride>(tile) * (p.k / 256) + l / 256) * 16 + row];
        unsigned j = l / 32 % 8, shift = j % 4 * 8;
        unsigned first = head.at[1] >> shift & 255, second = head.at[2] >> shift & 255, third = head.at[3] >> shift & 255;
        unsigned scale = j < 4 ? first & 63 : (third & 15) | first >> 6 << 4;
        unsigned min = j < 4 ? second & 63 : third >> 4 | second >> 6 << 4;
        group.scale = widen(F16{static_cast<unsigned short>(head.at[0])}) * static_cast<float>(scale);
        group.min = widen(F16{static_cast<unsigned short>(head.at[0] >> 16)}) * static_cast<float>(min);
    }
    return group;
}

DEVICE float value_of(const Group& group, unsigned code) {
    return group.scale * static_cast<float>(static_cast<int>(code) - static_cast<int>(group.zero)) - group.min;
}

// Elements l to l + 3 of row n in f32; l is a multiple of 4. Rows and inputs beyond the weight's, as far as tiles go, are anything.
DEVICE void four_weights(const CodedParams& p, unsigned n, unsigned l, float (&to)[4]) {
    Codes codes = load_codes(p, p.form, n / 16, l / 32, n % 8 * 4 + l % 16 / 4);
    unsigned four = l % 32 < 16 ? four_codes(p.form, codes, 0, n / 8 % 2) : four_codes(p.form, codes, 1, n / 8 % 2);
    bool is_free = p.form <= INT4;
    Group group = load_group(p, p.form, n / 16, n % 16, l, is_free ? l / p.group_size : 0);
    UNROLL for (unsigned i = 0; i < 4; i++) {
        if (is_free && i > 0 && l + i < p.k && p.group_size % 4) {
            group = load_group(p, p.form, n / 16, n % 16, l + i, (l + i) / p.group_size);
        }
        to[i] = value_of(group, four >> 8 * i & 255);
    }
}
