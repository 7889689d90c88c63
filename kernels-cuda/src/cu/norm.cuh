// Layer norm and, without a mean, root-mean-square norm: the variance from distances to the mean, as a difference of squares would lose
// it. Threads hold a row and the parameters of its columns; a row too long for that is read pass by pass.
#pragma once

#include "columns.cuh"
#include "held.cuh"

// Four values of a vector of parameters, which may have any stride.
template <class T>
DEVICE void load_parameters(Address vector, Stride step, unsigned column, unsigned count, float (&to)[4]) {
    const T* from = reinterpret_cast<const T*>(vector);
    if (step == 1) return load_some(from + column, count, to);
    UNROLL for (unsigned i = 0; i < 4; i++) {
        if (i < count) to[i] = widen(from[(column + i) * step]);
    }
}

// Operands of the rows are x, out, mean and rstd, the last two optional.
template <class T, int LANES, bool CENTERED>
DEVICE void norm_held(const NormParams& p) {
    Team<LANES> team;
    if (team.row >= p.rows.count) return;
    Stride at[4];
    place(p.rows, team.row, at);
    Held<T, LANES> x(team, p.width), weight(team, p.width), bias(team, p.width);
    x.load(operand<const T>(p.rows, 0) + at[0]);
    const T *w = reinterpret_cast<const T*>(p.weight), *b = reinterpret_cast<const T*>(p.bias);
    // Null is a whole row.
    bool whole = p.weight_step == 1 && weight.is_whole(w) && (!b || p.bias_step == 1) && bias.is_whole(b);
    if (whole) weight.load_whole(w);
    if (whole && b) bias.load_whole(b);
    float width = static_cast<float>(p.width);
    float sum = 0.0f, squares = 0.0f;
    if (CENTERED) x.each([&](unsigned e) { sum += x[e]; });
    x.pack();
    float mean = CENTERED ? team.sum(sum) / width : 0.0f;
    x.each([&](unsigned e) { squares += (x[e] - mean) * (x[e] - mean); });
    float rstd = 1.0f / sqrtf(team.sum(squares) / width + p.eps);
    x.pack();
    weight.pack();
    bias.pack();
    if (whole) {
        UNROLL for (unsigned e = 0; e < x.COUNT; e++) x.set(e, (x[e] - mean) * rstd * weight[e] + bias[e]);
    } else {
        x.each([&](unsigned e) {
            float scale = widen(w[x.column(e) * p.weight_step]), shift = b ? widen(b[x.column(e) * p.bias_step]) : 0.0f;
            x.set(e, (x[e] - mean) * rstd * scale + shift);
        });
    }
    x.store(operand<T>(p.rows, 1) + at[1]);
    if (team.lane != 0) return;
    if (p.rows.first[2]) operand<float>(p.rows, 2)[at[2]] = mean;
    if (p.rows.first[3]) operand<float>(p.rows, 3)[at[3]] = rstd;
}

template <class T, bool CENTERED>
DEVICE void norm_long(const NormParams& p) {
    Team<ROWS_THREADS> team;
    if (team.row >= p.rows.count) return;
    Stride at[4];
    place(p.rows, team.row, at);
    const T* x = operand<const T>(p.rows, 0) + at[0];
    T* out = operand<T>(p.rows, 1) + at[1];
    float width = static_cast<float>(p.width);
    float values[4];
    float mean = 0.0f;
    if (CENTERED) {
        float sum = 0.0f;
        team.columns(p.width, [&](unsigned column, unsigned count) {
            load_some(x + column, count, values);
            UNROLL for (unsigned i = 0; i < 4; i++) {
                if (i < count) sum += values[i];
            }
        });
        mean = team.sum(sum) / width;
    }
    float squares = 0.0f;
    team.columns(p.width, [&](unsigned column, unsigned count) {
        load_some(x + column, count, values);
        UNROLL for (unsigned i = 0; i < 4; i++) {
            float distance = values[i] - mean;
            if (i < count) squares += distance * distance;
        }
    });
    float rstd = 1.0f / sqrtf(team.sum(squares) / width + p.eps);
    team.columns(p.width, [&](unsigned column, unsigned count) {
        float weight[4], bias[4] = {};
        load_some(x + column, count, values);
        load_parameters<T>(p.weight, p.weight_step, column, count, weight);
        if (p.bias) load_parameters<T>(p.bias, p.bias_step, column, count, bias);
        UNROLL for (unsigned i = 0; i < 4; i++) values[i] = (values[i] - mean) * rstd * weight[i] + bias[i];
        store_some(out + column, count, values);
    });
    if (team.lane != 0) return;
    if (p.rows.first[2]) operand<float>(p.rows, 2)[at[2]] = mean;
    if (p.rows.first[3]) operand<float>(p.rows, 3)[at[3]] = rstd;
}

// x̂ = (x − mean)·rstd,  g = dout·weight,  dx = rstd·(g − Σg/D − x̂·Σ(g·x̂)/D); without the mean Σg/D is left out.
// Operands of the rows are x, dout and, for `dx`, dx; statistics have a lattice of their own: mean and rstd.
template <class T, int LANES, bool CENTERED>
DEVICE void norm_backward_held(const NormBackwardParams& p) {
    Team<LANES> team;
    if (team.row >= p.rows.count) return;
    Stride at[3], of[2];
    place(p.rows, team.row, at);
    place(p.stats, team.row, of);
    Held<T, LANES> x(team, p.width), dout(team, p.width), weight(team, p.width);
    x.load(operand<const T>(p.rows, 0) + at[0]);
    dout.load(operand<const T>(p.rows, 1) + at[1]);
    const T* w = reinterpret_cast<const T*>(p.weight);
    bool whole = p.weight_step == 1 && weight.is_whole(w);
    if (whole) weight.load_whole(w);
    float mean = CENTERED ? operand<const float>(p.stats, 0)[of[0]] : 0.0f;
    float rstd = operand<const float>(p.stats, 1)[of[1]];
    float width = static_cast<float>(p.width);
    auto finish = [&](auto weight_of) {
        float sum = 0.0f, product = 0.0f;
        x.each([&](unsigned e) {
            float g = dout[e] * weight_of(e);
            sum += g;
            product += g * ((x[e] - mean) * rstd);
        });
        float mean_g = CENTERED ? team.sum(sum) / width : 0.0f;
        float mean_gx = team.sum(product) / width;
        x.pack();
        dout.pack();
        weight.pack();
        x.each([&](unsigned e) { x.set(e, rstd * (dout[e] * weight_of(e) - mean_g - (x[e] - mean) * rstd * mean_gx)); });
        x.store(operand<T>(p.rows, 2) + at[2]);
    };
    if (whole) {
        finish([&](unsigned e) { return weight[e]; });
    } else {
        finish([&](unsigned e) { return widen(w[x.column(e) * p.weight_step]); });
    }
}

template <class T, bool CENTERED>
DEVICE void norm_backward_long(const NormBackwardParams& p) {
    Team<ROWS_THREADS> team;
    if (team.row >= p.rows.count) return;
    Stride at[3], of[2];
    place(p.rows, team.row, at);
    place(p.stats, team.row, of);
    const T* x = operand<const T>(p.rows, 0) + at[0];
    const T* dout = operand<const T>(p.rows, 1) + at[1];
    T* dx = operand<T>(p.rows, 2) + at[2];
    float mean = CENTERED ? operand<const float>(p.stats, 0)[of[0]] : 0.0f;
    float rstd = operand<const float>(p.stats, 1)[of[1]];
    float width = static_cast<float>(p.width);
    float values[4], grads[4], weight[4];
    auto load = [&](unsigned column, unsigned count) {
        load_some(x + column, count, values);
        load_some(dout + column, count, grads);
        load_parameters<T>(p.weight, p.weight_step, column, count, weight);
        UNROLL for (int i = 0; i < 4; i++) {
            values[i] = (values[i] - mean) * rstd;
            grads[i] *= weight[i];
        }
    };
    float sum = 0.0f, product = 0.0f;
    team.columns(p.width, [&](unsigned column, unsigned count) {
        load(column, count);
        UNROLL for (unsigned i = 0; i < 4; i++) {
            if (i < count) {
                sum += grads[i];
                product += grads[i] * values[i];
            }
        }
    });
    float mean_g = CENTERED ? team.sum(sum) / width : 0.0f;
    float mean_gx = team.sum(product) / width;
    team.columns(p.width, [&](unsigned column, unsigned count) {
        load(column, count);
        UNROLL for (int i = 0; i < 4; i++) values[i] = rstd * (grads[i] - mean_g - values[i] * mean_gx);
        store_some(dx + column, count, values);
    });
}

// Sums of dout·x̂ and of dout over a chunk of rows, to partial[chunk][which][column].
template <class T, bool CENTERED>
DEVICE void norm_columns(const NormBackwardParams& p) {
    Columns columns(p.width);
    float sums[2] = {};
    if (columns.column < p.width) {
        unsigned first = columns.chunk * p.chunk, end = first + min(p.rows.count - first, p.chunk);
        for (unsigned row = first + columns.warp; row < end; row += COLUMN_WARPS) {
            Stride at[2], of[2];
            place(p.rows, row, at);
            place(p.stats, row, of);
            float x = widen(operand<const T>(p.rows, 0)[at[0] + columns.column]);
            float dout = widen(operand<const T>(p.rows, 1)[at[1] + columns.column]);
            float mean = CENTERED ? operand<const float>(p.stats, 0)[of[0]] : 0.0f;
            sums[0] += dout * ((x - mean) * operand<const float>(p.stats, 1)[of[1]]);
            sums[1] += dout;
        }
    }
    columns.combine(sums, [](float a, float b) { return a + b; });
    if (columns.warp != 0 || columns.column >= p.width) return;
    float* partial = reinterpret_cast<float*>(p.partial) + static_cast<Stride>(columns.chunk) * 2 * p.width + columns.column;
    partial[0] = sums[0];
    partial[p.width] = sums[1];
}

// Adds the chunks up: dweight, and dbias where there is one.
template <class T>
DEVICE void norm_join(const NormBackwardParams& p) {
    Columns columns(p.width);
    float sums[2] = {};
    const float* partial = reinterpret_cast<const float*>(p.partial) + columns.column;
    if (columns.column < p.width) {
        for (unsigned chunk = columns.warp; chunk < p.chunks; chunk += COLUMN_WARPS) {
            sums[0] += partial[static_cast<Stride>(chunk) * 2 * p.width];
            sums[1] += partial[(static_cast<Stride>(chunk) * 2 + 1) * p.width];
        }
    }
    columns.combine(sums, [](float a, float b) { return a + b; });
    if (columns.warp != 0 || columns.column >= p.width) return;
    reinterpret_cast<T*>(p.dweight)[columns.column * p.dweight_step] = narrow<T>(sums[0]);
    if (p.dbias) reinterpret_cast<T*>(p.dbias)[columns.column * p.dbias_step] = narrow<T>(sums[1]);
}

#define NORM_BACKWARD_KERNELS(op)                                                                       \
    HELD_ROW_KERNELS(op, NormBackwardParams)                                                            \
    KERNEL(op##_columns_f32, NormBackwardParams, COLUMNS_THREADS) { norm_columns<float, CENTERED>(p); } \
    KERNEL(op##_columns_bf16, NormBackwardParams, COLUMNS_THREADS) { norm_columns<Bf16, CENTERED>(p); } \
    KERNEL(op##_columns_f16, NormBackwardParams, COLUMNS_THREADS) { norm_columns<F16, CENTERED>(p); }   \
    KERNEL(op##_join_f32, NormBackwardParams, COLUMNS_THREADS) { norm_join<float>(p); }                 \
    KERNEL(op##_join_bf16, NormBackwardParams, COLUMNS_THREADS) { norm_join<Bf16>(p); }                 \
    KERNEL(op##_join_f16, NormBackwardParams, COLUMNS_THREADS) { norm_join<F16>(p); }
