// Linear layers on tensor cores where rows of x are few: a block makes 16 columns, each of its warps one part of the inputs.
#pragma once

#include "layer.cuh"
#include "product.cuh"

using FewSums = float[PARTS][FEW_ROWS][16];

// Two neighbouring elements of a row of x from l on, 0 beyond its end.
template <class T>
DEVICE unsigned two_inputs(const ProductParams& p, const T* row, unsigned l) {
    if (p.right_way == ALONG && l + 2 <= p.k) return *reinterpret_cast<const unsigned*>(row + l);
    unsigned two = l < p.k ? row[l].bits : 0;
    return l + 1 < p.k ? two | static_cast<unsigned>(row[l + 1].bits) << 16 : two;
}

// What a lane holds of up to sixteen rows of x, as two operands `b` of 8 rows, for 32 inputs from `begin` on.
template <class T>
DEVICE void read_few(const ProductParams& p, unsigned (&to)[2][4], unsigned begin) {
    unsigned g = threadIdx.x % WARP_SIZE / 4, q = threadIdx.x % 4;
    const T* x = reinterpret_cast<const T*>(p.right);
    UNROLL for (unsigned t = 0; t < 2; t++) {
        UNROLL for (unsigned i = 0; i < 4; i++) {
            to[t][i] = 8 * t + g < p.columns ? two_inputs(p, x + (8 * t + g) * p.right_row, begin + 8 * i + 2 * q) : 0;
        }
    }
}

// Adds what the warps have of the block's results, part by part, and stores `finish(sum, column)`.
template <class T, class Finish>
DEVICE void store_few(const ProductParams& p, FewSums& sums, const float (&sum)[2][4], Finish finish) {
    unsigned lane = threadIdx.x % WARP_SIZE, warp = threadIdx.x / WARP_SIZE, g = lane / 4, q = lane % 4;
    UNROLL for (unsigned i = 0; i < 8; i++) sums[warp][i / 4 * 8 + 2 * q + i % 2][i / 2 % 2 * 8 + g] = sum[i / 4][i % 4];
    __syncthreads();
    unsigned row = threadIdx.x / 16, column = blockIdx.x * 16 + threadIdx.x % 16;
    if (row >= p.columns || column >= p.rows) return;
    float total = 0.0f;
    for (unsigned part = 0; part * p.part < p.k; part++) total += sums[part][row][threadIdx.x % 16];
    reinterpret_cast<T*>(p.out)[row * p.out_column + column] = finish(total, column);
}
