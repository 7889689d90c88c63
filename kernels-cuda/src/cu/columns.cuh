// Sums over rows, for each column: a block does 32 columns, its eight warps every eighth row of a chunk. Chunks follow from the number
// of rows alone, and are joined in order by a second launch.
#pragma once

#include "element.cuh"

constexpr unsigned COLUMNS_THREADS = 256;
constexpr unsigned COLUMNS = WARP_SIZE;
constexpr unsigned COLUMN_WARPS = COLUMNS_THREADS / COLUMNS;

struct Columns {
    // Blocks of one chunk.
    unsigned groups;
    unsigned column, warp, chunk;

    DEVICE explicit Columns(unsigned width)
        : groups((width + COLUMNS - 1) / COLUMNS),
          column(blockIdx.x % groups * COLUMNS + threadIdx.x % COLUMNS),
          warp(threadIdx.x / COLUMNS),
          chunk(blockIdx.x / groups) {}

    // Combines the values of the warps, in their order, for each of `VALUES` sums. All threads of a block call it; those of the first
    // warp have the result.
    template <int VALUES, class F>
    DEVICE void combine(float (&values)[VALUES], F f) const {
        struct Partial {
            float of[VALUES][COLUMN_WARPS][COLUMNS];
        };
        SHARED(Partial, partial);
        UNROLL for (int v = 0; v < VALUES; v++) partial.of[v][warp][threadIdx.x % COLUMNS] = values[v];
        __syncthreads();
        if (warp != 0) return;
        UNROLL for (int v = 0; v < VALUES; v++) {
            UNROLL for (unsigned w = 1; w < COLUMN_WARPS; w++) values[v] = f(values[v], partial.of[v][w][threadIdx.x]);
        }
    }
};
