// Threads that share a row. How many follows from the row's length alone, and so does the order of its sums.
#pragma once

#include "lattice.cuh"

constexpr unsigned ROWS_THREADS = 256;

// Of LANES threads, a warp or a whole block.
template <int LANES>
struct Team {
    static constexpr unsigned ROWS = ROWS_THREADS / LANES;

    unsigned lane = threadIdx.x % LANES;
    // The row of this team.
    unsigned row = blockIdx.x * ROWS + threadIdx.x / LANES;

    // Combines a value of each thread; all get the result.
    template <class F>
    DEVICE float combine(float value, F f) const {
        UNROLL for (unsigned bits = WARP_SIZE / 2; bits > 0; bits /= 2) value = f(value, __shfl_xor_sync(ALL_LANES, value, bits));
        if (LANES == WARP_SIZE) return value;
        struct Partial {
            float of[LANES / WARP_SIZE];
        };
        SHARED(Partial, partial);
        // Nobody may still read what the last call left.
        __syncthreads();
        if (lane % WARP_SIZE == 0) partial.of[lane / WARP_SIZE] = value;
        __syncthreads();
        value = partial.of[0];
        UNROLL for (int warp = 1; warp < LANES / static_cast<int>(WARP_SIZE); warp++) value = f(value, partial.of[warp]);
        return value;
    }

    DEVICE float sum(float value) const {
        return combine(value, [](float a, float b) { return a + b; });
    }

    // NaN where a value is NaN.
    DEVICE float max(float value) const {
        return combine(value, [](float a, float b) { return a != a || a > b ? a : b; });
    }

    // Calls f(column, values) for the groups of four columns that are this thread's, with `count` of them within the width.
    template <class F>
    DEVICE void columns(unsigned width, F f) const {
        for (unsigned column = 4 * lane; column < width; column += 4 * LANES) f(column, width - column < 4 ? width - column : 4);
    }
};

// `count` elements from `at` on; the rest of `to` is left.
template <class T>
DEVICE void load_some(const T* at, unsigned count, float (&to)[4]) {
    if (count == 4 && aligned_to_quad(at)) return load_quad(at, to);
    UNROLL for (unsigned i = 0; i < 4; i++) {
        if (i < count) to[i] = widen(at[i]);
    }
}

template <class T>
DEVICE void store_some(T* at, unsigned count, const float (&from)[4]) {
    if (count == 4 && aligned_to_quad(at)) return store_quad(at, from);
    UNROLL for (unsigned i = 0; i < 4; i++) {
        if (i < count) at[i] = narrow<T>(from[i]);
    }
}

// Kernels for short rows (a warp each) and long ones (a block each): `name<T, LANES>(p)` as `name_warp_f32`, `name_block_f32`, ….
#define ROW_KERNELS(name, Params)                                                    \
    KERNEL(name##_warp_f32, Params, ROWS_THREADS) { name<float, WARP_SIZE>(p); }     \
    KERNEL(name##_warp_bf16, Params, ROWS_THREADS) { name<Bf16, WARP_SIZE>(p); }     \
    KERNEL(name##_warp_f16, Params, ROWS_THREADS) { name<F16, WARP_SIZE>(p); }       \
    KERNEL(name##_block_f32, Params, ROWS_THREADS) { name<float, ROWS_THREADS>(p); } \
    KERNEL(name##_block_bf16, Params, ROWS_THREADS) { name<Bf16, ROWS_THREADS>(p); } \
    KERNEL(name##_block_f16, Params, ROWS_THREADS) { name<F16, ROWS_THREADS>(p); }
