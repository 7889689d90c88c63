// What the kernels of attention share. The heads of a group are rows of one problem: query t of head h is row t * group + h mod group
// of its group, so that keys and values are read once for all of them, and causal masks are steps in the row.
#pragma once

#include "element.cuh"

constexpr unsigned ATTENTION_THREADS = 128;
constexpr float LOG2_E = 1.44269504f, LN_2 = 0.693147181f;

// The problem a block works on: a batch entry and a head of keys.
struct Problem {
    const AttentionParams& p;
    unsigned batch, kv_head;
    // Keys that the length of the batch entry leaves.
    unsigned valid;

    // Problem `number`, one of a batch entry after the other.
    DEVICE Problem(const AttentionParams& params, unsigned number)
        : p(params), batch(number / params.kv_heads), kv_head(number % params.kv_heads), valid(params.seq_k) {
        if (p.lengths) valid = min(valid, reinterpret_cast<const unsigned*>(p.lengths)[batch * p.lengths_step]);
    }

    // Leading keys that a row sees; never fewer than the row before it.
    DEVICE unsigned visible(unsigned row) const {
        if (!p.causal) return valid;
        unsigned past = row / p.group + 1 + p.seq_k;
        return min(valid, past > p.seq_q ? past - p.seq_q : 0);
    }

    // First row that sees a key below `valid`.
    DEVICE unsigned first_row(unsigned key) const {
        unsigned past = key + p.seq_q;
        return p.causal && past > p.seq_k ? (past - p.seq_k) * p.group : 0;
    }

    template <class T>
    DEVICE T* row(const AttentionPlace& place, unsigned row) const {
        unsigned t = row / p.group, h = kv_head * p.group + row % p.group;
        return reinterpret_cast<T*>(place.first) + (batch * place.batch + t * place.row + h * place.head);
    }

    template <class T>
    DEVICE T* key(const AttentionPlace& place, unsigned key) const {
        return reinterpret_cast<T*>(place.first) + (batch * place.batch + key * place.row + kv_head * place.head);
    }

    // A row among the rows of all problems.
    DEVICE Stride number(unsigned row) const { return (static_cast<Stride>(batch) * p.kv_heads + kv_head) * p.rows + row; }

    // Of a split of the keys: a row's sums over values.
    DEVICE float* part(unsigned row, unsigned split) const {
        return reinterpret_cast<float*>(p.parts) + (number(row) * p.splits + split) * p.head_dim;
    }

    // Its greatest score, and its sum of weights relative to that.
    DEVICE float* tally(unsigned row, unsigned split) const {
        Stride parts = static_cast<Stride>(p.batch) * p.kv_heads * p.rows * p.splits;
        return reinterpret_cast<float*>(p.parts) + parts * p.head_dim + 2 * (number(row) * p.splits + split);
    }
};

// Running softmax of a row in powers of two: greatest score, and sum of weights relative to it.
struct Softmax {
    float top = -INFINITY;
    float sum = 0.0f;

    // What to subtract: where every score is -infinity weights are 0, not 2^(-infinity + infinity).
    DEVICE float shift() const { return top == -INFINITY ? 0.0f : top; }

    // Takes a greater score into account; what has been summed is to be multiplied by the result.
    DEVICE float raise(float score) {
        float before = top;
        // Drops NaN, which comes back with its weight.
        top = fmaxf(top, score);
        float fade = exp2f(before - shift());
        sum *= fade;
        return fade;
    }

    DEVICE float lse() const { return sum == 0.0f ? -INFINITY : (top + log2f(sum)) * LN_2; }
    DEVICE float inverse() const { return sum == 0.0f ? 0.0f : 1.0f / sum; }
};

// Combines values of 2^n neighbouring lanes.
template <int LANES, class F>
DEVICE float combine(float value, F f) {
    UNROLL for (unsigned bits = 1; bits < LANES; bits *= 2) value = f(value, __shfl_xor_sync(ALL_LANES, value, bits));
    return value;
}
template <int LANES>
DEVICE float greatest_of(float value) {
    return combine<LANES>(value, [](float a, float b) { return fmaxf(a, b); });
}
template <int LANES>
DEVICE float sum_of(float value) {
    return combine<LANES>(value, [](float a, float b) { return a + b; });
}
