// Linear layers over sparse weights: only what is stored is read, and only it contributes. A warp has a row of the weight and one row
// of x or eight: its lanes take stored places in turn, and their sums meet in a fixed order, whatever the number of rows. What sparse
// tensor cores take is in `linear_two_of_four.cu`.
#include "layer.cuh"
#include "two_of_four.cuh"

// Forms; 1 is blocks.
constexpr unsigned CSR = 0, TWO_OF_FOUR = 2, WARPS = 8;

// What a stored value stands for: a code of 8 bits counts in scales of its row, rounded once.
template <class W>
DEVICE float stored(W value, float) { return widen(value); }
DEVICE float stored(signed char code, float scale) { return __fmul_rn(widen(code), scale); }

// Calls `term(column, value)` for the stored places of row n that are this lane's.
template <class W, class Term>
DEVICE void each_stored(const SparseParams& p, unsigned n, Term term) {
    unsigned lane = threadIdx.x % WARP_SIZE;
    const W* values = reinterpret_cast<const W*>(p.values);
    float scale = sizeof(W) == 1 ? reinterpret_cast<const float*>(p.scales)[n] : 1.0f;
    if (p.form == TWO_OF_FOUR) {
        unsigned fours = (p.k + 3) / 4;
        for (unsigned four = lane; four < fours; four += WARP_SIZE) {
            unsigned places;
            Pair<W> pair = pair_of<W>(p.values, p.k, n, four, places);
            UNROLL for (unsigned i = 0; i < 2; i++) {
                unsigned column = 4 * four + (places >> 2 * i & 3);
                if (column < p.k) term(column, stored(pair.at[i], scale));
            }
        }
        return;
    }
    const unsigned* starts = reinterpret_cast<const unsigned*>(p.row_starts);
    const unsigned* places = reinterpret_cast<const unsigned*>(p.places);
    if (p.form == CSR) {
        unsigned end = starts[n + 1];
        for (unsigned at = starts[n] + lane; at < end; at += WARP_SIZE) term(places[at], stored(values[at], scale));
        return;
    }
    unsigned first = starts[n / p.block_rows], count = (starts[n / p.block_rows + 1] - first) * p.block_columns;
    for (unsigned i = lane; i < count; i += WARP_SIZE) {
        unsigned block = first + i / p.block_columns, within = i % p.block_columns;
        Stride at = (static_cast<Stride>(block) * p.block_rows + n % p.block_rows) * p.block_columns + within;
        unsigned column = places[block] * p.block_columns + within;
        if (column < p.k) term(column, stored(values[at], scale));
    }
}

template <class T, class W, unsigned ROWS>
DEVICE void linear_sparse(const SparseParams& p) {
    unsigned lane = threadIdx.x % WARP_SIZE, across = (p.rows + ROWS - 1) / ROWS;
    unsigned row = blockIdx.x % across * ROWS, n = blockIdx.x / across * WARPS + threadIdx.x / WARP_SIZE;
    if (n >= p.columns) return;
    const T* x = reinterpret_cast<const T*>(p.x);
    float sum[ROWS] = {};
    each_stored<W>(p, n, [&](unsigned column, float value) {
        UNROLL for (unsigned i = 0; i < ROWS; i++) sum[i] = fmaf(widen(x[min(row + i, p.rows - 1) * p.x_row + column]), value, sum[i]);
    });
    Layer<T> layer = {p.bias, p.bias_step, p.activation};
    UNROLL for (unsigned i = 0; i < ROWS; i++) {
        UNROLL for (unsigned bits = WARP_SIZE / 2; bits > 0; bits /= 2) sum[i] += __shfl_xor_sync(ALL_LANES, sum[i], bits);
        if (lane == i && row + i < p.rows) reinterpret_cast<T*>(p.out)[(row + i) * p.out_row + n] = layer(sum[i], T{}, n);
    }
}

#define VALUES(x, X, w, W)                                                                        \
    KERNEL(linear_sparse_##x##_##w##_one, SparseParams, 256) { linear_sparse<X, W, 1>(p); }       \
    KERNEL(linear_sparse_##x##_##w##_eight, SparseParams, 256) { linear_sparse<X, W, 8>(p); }
#define INPUTS(x, X)             \
    VALUES(x, X, f32, float)     \
    VALUES(x, X, bf16, Bf16)     \
    VALUES(x, X, f16, F16)       \
    VALUES(x, X, i8, signed char)

INPUTS(f32, float)
INPUTS(bf16, Bf16)
INPUTS(f16, F16)
