// Sum, mean or maximum along one dimension. Where its elements are neighbours, a warp or a block does a row; else neighbouring threads
// do neighbouring columns. Long sums are split into chunks whose results, in f32, are reduced by a second launch.
#include "columns.cuh"
#include "team.cuh"

constexpr unsigned REDUCE_MAX = 2;

DEVICE float reduce_start(unsigned function) { return function == REDUCE_MAX ? -INFINITY : 0.0f; }

DEVICE float reduce_step(unsigned function, float a, float b) {
    return function == REDUCE_MAX ? (a != a || a > b ? a : b) : a + b;
}

// To the place of output `i` if there is one chunk, else to the chunk's partial result.
template <class Out>
DEVICE void reduce_store(const ReduceParams& p, unsigned i, unsigned chunk, Stride at, float value) {
    if (p.partial) {
        reinterpret_cast<float*>(p.partial)[static_cast<Stride>(chunk) * p.outputs.count + i] = value;
    } else {
        operand<Out>(p.outputs, 1)[at] = narrow<Out>(p.mean ? value / static_cast<float>(p.terms) : value);
    }
}

template <class T, class Out, int LANES>
DEVICE void reduce_rows(const ReduceParams& p) {
    Team<LANES> team;
    unsigned output = team.row % p.outputs.count, chunk = team.row / p.outputs.count;
    if (chunk >= p.chunks) return;
    Stride at[2];
    place(p.outputs, output, at);
    unsigned first = chunk * p.chunk;
    const T* x = operand<const T>(p.outputs, 0) + at[0] + first;
    unsigned width = min(p.length - first, p.chunk);
    float result = reduce_start(p.function);
    team.columns(width, [&](unsigned column, unsigned count) {
        float values[4];
        load_some(x + column, count, values);
        UNROLL for (unsigned i = 0; i < 4; i++) {
            if (i < count) result = reduce_step(p.function, result, values[i]);
        }
    });
    result = team.combine(result, [&](float a, float b) { return reduce_step(p.function, a, b); });
    if (team.lane == 0) reduce_store<Out>(p, output, chunk, at[1], result);
}

template <class T, class Out>
DEVICE void reduce_columns(const ReduceParams& p) {
    Columns columns(p.outputs.count);
    unsigned output = columns.column;
    Stride at[2] = {};
    float result[1] = {reduce_start(p.function)};
    if (output < p.outputs.count) {
        place(p.outputs, output, at);
        const T* x = operand<const T>(p.outputs, 0) + at[0];
        unsigned first = columns.chunk * p.chunk, end = first + min(p.length - first, p.chunk);
        for (unsigned i = first + columns.warp; i < end; i += COLUMN_WARPS) result[0] = reduce_step(p.function, result[0], widen(x[i * p.step]));
    }
    columns.combine(result, [&](float a, float b) { return reduce_step(p.function, a, b); });
    if (columns.warp == 0 && output < p.outputs.count) reduce_store<Out>(p, output, columns.chunk, at[1], result[0]);
}

#define REDUCTIONS(T, Out, name)                                                                                  \
    KERNEL(reduce_warp_##name, ReduceParams, ROWS_THREADS) { reduce_rows<T, Out, WARP_SIZE>(p); }                 \
    KERNEL(reduce_block_##name, ReduceParams, ROWS_THREADS) { reduce_rows<T, Out, ROWS_THREADS>(p); }             \
    KERNEL(reduce_columns_##name, ReduceParams, COLUMNS_THREADS) { reduce_columns<T, Out>(p); }

REDUCTIONS(float, float, f32)
REDUCTIONS(Bf16, Bf16, bf16)
REDUCTIONS(F16, F16, f16)
REDUCTIONS(Bf16, float, wide_bf16)
REDUCTIONS(F16, float, wide_f16)
// Partial results to an output.
REDUCTIONS(float, Bf16, narrow_bf16)
REDUCTIONS(float, F16, narrow_f16)
