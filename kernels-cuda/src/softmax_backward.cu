// dx[.., i] = y[.., i] * (dout[.., i] - sum of dout[.., j] * y[.., j])
#include "held.cuh"

template <class T, int LANES>
DEVICE void softmax_backward_held(const RowsParams& p) {
    Team<LANES> team;
    if (team.row >= p.rows.count) return;
    Stride at[3];
    place(p.rows, team.row, at);
    Held<T, LANES> y(team, p.width), dout(team, p.width);
    y.load(operand<const T>(p.rows, 0) + at[0]);
    dout.load(operand<const T>(p.rows, 1) + at[1]);
    float dot = 0.0f;
    y.each([&](unsigned e) { dot += dout[e] * y[e]; });
    dot = team.sum(dot);
    y.pack();
    dout.pack();
    UNROLL for (unsigned e = 0; e < y.COUNT; e++) y.set(e, y[e] * (dout[e] - dot));
    y.store(operand<T>(p.rows, 2) + at[2]);
}

template <class T>
DEVICE void softmax_backward_long(const RowsParams& p) {
    Team<ROWS_THREADS> team;
    if (team.row >= p.rows.count) return;
    Stride at[3];
    place(p.rows, team.row, at);
    const T* y = operand<const T>(p.rows, 0) + at[0];
    const T* dout = operand<const T>(p.rows, 1) + at[1];
    T* dx = operand<T>(p.rows, 2) + at[2];
    float values[4], gradient[4];
    float dot = 0.0f;
    team.columns(p.width, [&](unsigned column, unsigned count) {
        load_some(y + column, count, values);
        load_some(dout + column, count, gradient);
        UNROLL for (unsigned i = 0; i < 4; i++) {
            if (i < count) dot += gradient[i] * values[i];
        }
    });
    dot = team.sum(dot);
    team.columns(p.width, [&](unsigned column, unsigned count) {
        load_some(y + column, count, values);
        load_some(dout + column, count, gradient);
        UNROLL for (unsigned i = 0; i < 4; i++) values[i] *= gradient[i] - dot;
        store_some(dx + column, count, values);
    });
}

HELD_ROW_KERNELS(softmax_backward, RowsParams)
