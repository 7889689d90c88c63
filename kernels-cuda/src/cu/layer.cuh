// What linear layers do to a sum: bias, activation, one rounding.
#pragma once

#include "function.cuh"

template <class Bias>
struct Layer {
    Address bias;
    Stride bias_step;
    unsigned activation;
    static constexpr bool reads = false;

    DEVICE float added(unsigned feature) const {
        return bias ? widen(reinterpret_cast<const Bias*>(bias)[feature * bias_step]) : 0.0f;
    }
    // With what is added, which may have been read long before.
    template <class Out>
    DEVICE Out with(float sum, Out, float added) const {
        if (bias) sum += added;
        float value = activate(activation, sum);
        // One NaN for all: where the CPU runs this, its sign would tell in which order factors stood.
        return narrow<Out>(value != value ? NAN : value);
    }
    template <class Out>
    DEVICE Out operator()(float sum, Out before, unsigned feature) const { return with(sum, before, added(feature)); }
};

// Rows that are few: their products are bound by reading the weight.
constexpr unsigned FEW_ROWS = 16;
// Parts that the inputs are cut into, at most: where rows are few, a warp has each.
constexpr unsigned PARTS = 8;
