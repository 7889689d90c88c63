// How 2:4 weights lie: as records of 16 rows by 32 inputs, a row of records after the other. What a weight lacks of whole records, and
// values whose places are beyond the last input, are zeros.
//
// A record has the pairs of values of fours 0..8 of each row, in the order 0, 4, 1, 5, 2, 6, 3, 7, so that a lane's two of a row lie
// together; then 16 words of places, of which word 2g + p is what `tensor.cuh` wants of lane p of four.
#pragma once

#include "product.cuh"

constexpr unsigned RECORD_ROWS = 16, RECORD_INPUTS = 32;

template <class W>
constexpr unsigned RECORD_VALUES = RECORD_ROWS * RECORD_INPUTS / 2 * sizeof(W);
template <class W>
constexpr unsigned RECORD_BYTES = RECORD_VALUES<W> + 64;

// Records along the inputs.
DEVICE unsigned records_of_row(unsigned k) { return (k + RECORD_INPUTS - 1) / RECORD_INPUTS; }

template <class W>
DEVICE const unsigned char* record_at(Address first, unsigned k, unsigned tile, unsigned at) {
    Stride index = static_cast<Stride>(tile) * records_of_row(k) + at;
    return reinterpret_cast<const unsigned char*>(first) + index * RECORD_BYTES<W>;
}

// The two stored values of a four of row n; their places go to `places`.
template <class W>
DEVICE Pair<W> pair_of(Address first, unsigned k, unsigned n, unsigned four, unsigned& places) {
    const unsigned char* record = record_at<W>(first, k, n / RECORD_ROWS, four / 8);
    unsigned row = n % RECORD_ROWS, f = four % 8;
    unsigned word = reinterpret_cast<const unsigned*>(record + RECORD_VALUES<W>)[row % 8 * 2 + f / 4];
    places = word >> (row / 8 * 16 + f % 4 * 4) & 15;
    return reinterpret_cast<const Pair<W>*>(record)[row * 8 + f % 4 * 2 + f / 4];
}
