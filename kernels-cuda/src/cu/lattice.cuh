// Operands of one shape, walked together.
#pragma once

#include "element.cuh"

// Index of element i of operand k, from its first element on.
template <int OPERANDS>
DEVICE void place(const Lattice& lattice, unsigned i, Stride (&at)[OPERANDS]) {
    UNROLL for (int k = 0; k < OPERANDS; k++) at[k] = 0;
    unsigned rest = i;
    for (unsigned axis = 0; axis < lattice.rank; axis++) {
        unsigned step = rest;
        if (axis + 1 < lattice.rank) {
            step = rest % lattice.dims[axis];
            rest /= lattice.dims[axis];
        }
        UNROLL for (int k = 0; k < OPERANDS; k++) at[k] += step * lattice.strides[axis][k];
    }
}

template <class T>
DEVICE T* operand(const Lattice& lattice, int k) {
    return reinterpret_cast<T*>(lattice.first[k]);
}

constexpr unsigned ELEMENTWISE_THREADS = 256;
// Elements of a block.
constexpr unsigned ELEMENTWISE_BLOCK = 4 * ELEMENTWISE_THREADS;

// What `Lattice::dense` tells: operands without gaps; rows along dimension 0 of whole fours without gaps, all aligned.
constexpr unsigned DENSE = 1, ROWS_OF_FOURS = 2;

// Calls `quad(at)` with where four neighbours of each operand begin, and `one(at)` for all other elements, whose neighbours have
// neighbouring threads.
template <int OPERANDS, class Quads, class Ones>
DEVICE void each_element(const Lattice& lattice, Quads quad, Ones one) {
    unsigned start = blockIdx.x * ELEMENTWISE_BLOCK;
    Stride at[OPERANDS];
    if (lattice.dense) {
        unsigned i = start + 4 * threadIdx.x;
        if (lattice.dense == ROWS_OF_FOURS) {
            if (i >= lattice.count) return;
            place(lattice, i, at);
            return quad(at);
        }
        UNROLL for (int k = 0; k < OPERANDS; k++) at[k] = i;
        if (i + 4 <= lattice.count) return quad(at);
        for (; i < lattice.count; i++) {
            UNROLL for (int k = 0; k < OPERANDS; k++) at[k] = i;
            one(at);
        }
        return;
    }
    for (unsigned j = 0; j < 4; j++) {
        unsigned i = start + j * ELEMENTWISE_THREADS + threadIdx.x;
        if (i >= lattice.count) return;
        place(lattice, i, at);
        one(at);
    }
}

// out = f(x), of operands 0 and 1.
template <class X, class Out, class F>
DEVICE void map(const Lattice& lattice, F f) {
    const X* x = operand<const X>(lattice, 0);
    Out* out = operand<Out>(lattice, 1);
    each_element<2>(
        lattice,
        [&](const Stride (&at)[2]) {
            float values[4];
            load_quad(x + at[0], values);
            UNROLL for (int j = 0; j < 4; j++) values[j] = f(values[j]);
            store_quad(out + at[1], values);
        },
        [&](const Stride (&at)[2]) { out[at[1]] = narrow<Out>(f(widen(x[at[0]]))); });
}

// out = f(a, b), of operands 0, 1 and 2. Operand 2 may be operand 1.
template <class A, class B, class Out, class F>
DEVICE void zip(const Lattice& lattice, F f) {
    const A* a = operand<const A>(lattice, 0);
    const B* b = operand<const B>(lattice, 1);
    Out* out = operand<Out>(lattice, 2);
    each_element<3>(
        lattice,
        [&](const Stride (&at)[3]) {
            float left[4], right[4];
            load_quad(a + at[0], left);
            load_quad(b + at[1], right);
            UNROLL for (int j = 0; j < 4; j++) left[j] = f(left[j], right[j]);
            store_quad(out + at[2], left);
        },
        [&](const Stride (&at)[3]) { out[at[2]] = narrow<Out>(f(widen(a[at[0]]), widen(b[at[1]]))); });
}
