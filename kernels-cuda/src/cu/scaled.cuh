// What matrix products do to a sum: alpha · sum + beta · former content.
#pragma once

#include "product.cuh"

struct Scaled {
    float alpha, beta;
    bool reads;
    DEVICE float added(unsigned) const { return 0.0f; }
    template <class Out>
    DEVICE Out with(float sum, Out before, float) const {
        // Fused as said here, whichever tile this is part of.
        float value = __fmul_rn(alpha, sum);
        if (reads) value = fmaf(beta, widen(before), value);
        return narrow<Out>(value);
    }
    DEVICE int with(int sum, int before, float) const {
        return static_cast<int>(static_cast<unsigned>(sum) + static_cast<unsigned>(before));
    }
    template <class Sum, class Out>
    DEVICE Out operator()(Sum sum, Out before, unsigned) const { return with(sum, before, 0.0f); }
};

DEVICE Scaled scaled(const ProductParams& p) { return {p.alpha, p.beta, p.beta != 0.0f}; }

// Stores what a lane holds of 16 × 8 results of factors of T.
template <class T>
DEVICE void matmul_results(const ProductParams& p, Stride first, unsigned row, unsigned column, const float (&d)[4]) {
    if (p.wide) {
        store_results<float>(p, first, row, column, d, scaled(p));
    } else {
        store_results<T>(p, first, row, column, d, scaled(p));
    }
}
template <class T>
DEVICE void matmul_results(const ProductParams& p, Stride first, unsigned row, unsigned column, const int (&d)[4]) {
    store_results<int>(p, first, row, column, d, scaled(p));
}
