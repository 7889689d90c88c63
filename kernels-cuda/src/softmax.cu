// out[m, n] = exp(x[m, n] - max) / sum of exp(x[m, ..] - max). A row of -infinity alone becomes zeros.
#include "held.cuh"

template <class T, int LANES>
DEVICE void softmax_held(const RowsParams& p) {
    Team<LANES> team;
    if (team.row >= p.rows.count) return;
    Stride at[2];
    place(p.rows, team.row, at);
    Held<T, LANES> x(team, p.width);
    x.load(operand<const T>(p.rows, 0) + at[0]);
    float max = -INFINITY, sum = 0.0f;
    x.each([&](unsigned e) { max = max != max || max > x[e] ? max : x[e]; });
    max = team.max(max);
    // Of no use but to keep -infinity - -infinity out of exp: what remains is exp(-infinity) = 0.
    float shift = max == -INFINITY ? 0.0f : max;
    float values[x.COUNT] = {};
    x.each([&](unsigned e) {
        values[e] = expf(x[e] - shift);
        sum += values[e];
    });
    sum = team.sum(sum);
    float factor = sum == 0.0f ? 0.0f : 1.0f / sum;
    UNROLL for (unsigned e = 0; e < x.COUNT; e++) x.set(e, values[e] * factor);
    x.store(operand<T>(p.rows, 1) + at[1]);
}

template <class T>
DEVICE void softmax_long(const RowsParams& p) {
    Team<ROWS_THREADS> team;
    if (team.row >= p.rows.count) return;
    Stride at[2];
    place(p.rows, team.row, at);
    const T* x = operand<const T>(p.rows, 0) + at[0];
    T* out = operand<T>(p.rows, 1) + at[1];
    float values[4];
    float max = -INFINITY;
    team.columns(p.width, [&](unsigned column, unsigned count) {
        load_some(x + column, count, values);
        UNROLL for (unsigned i = 0; i < 4; i++) {
            if (i < count) max = max != max || max > values[i] ? max : values[i];
        }
    });
    max = team.max(max);
    float shift = max == -INFINITY ? 0.0f : max;
    float sum = 0.0f;
    team.columns(p.width, [&](unsigned column, unsigned count) {
        load_some(x + column, count, values);
        UNROLL for (unsigned i = 0; i < 4; i++) {
            if (i < count) sum += expf(values[i] - shift);
        }
    });
    sum = team.sum(sum);
    float factor = sum == 0.0f ? 0.0f : 1.0f / sum;
    team.columns(p.width, [&](unsigned column, unsigned count) {
        load_some(x + column, count, values);
        UNROLL for (unsigned i = 0; i < 4; i++) values[i] = expf(values[i] - shift) * factor;
        store_some(out + column, count, values);
    });
}

HELD_ROW_KERNELS(softmax, RowsParams)
