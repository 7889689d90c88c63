// Functions of one element, in forms that keep their digits, and activations of linear layers.
#pragma once

#include "element.cuh"

// 1 / (1 + e⁻ˣ), with an exponential that cannot overflow.
DEVICE float sigmoid(float x) {
    float e = expf(-fabsf(x));
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

// 2·√(2/π)·(x + 0.044715·x³): 0.5·(1 + tanh y) is sigmoid(2y).
DEVICE float gelu_inner(float x) { return x * (x * x * 0.07135481f + 1.5957691f); }

DEVICE float gelu(float x) { return x * sigmoid(gelu_inner(x)); }

// The normal distribution function, without cancellation where it is small.
DEVICE float normal_below(float x) { return 0.5f * erfcf(-0.70710678f * x); }

DEVICE float gelu_erf(float x) { return x * normal_below(x); }

DEVICE float silu(float x) { return x * sigmoid(x); }

// NaN stays NaN.
DEVICE float relu(float x) { return x != x || x > 0.0f ? x : 0.0f; }

constexpr unsigned ACT_NONE = 0, ACT_RELU = 1, ACT_GELU = 2, ACT_GELU_ERF = 3, ACT_SILU = 4;

DEVICE float activate(unsigned act, float x) {
    switch (act) {
        case ACT_RELU: return relu(x);
        case ACT_GELU_ERF: return gelu_erf(x);
        // Both by the same lines.
        case ACT_GELU:
        case ACT_SILU: return x * sigmoid(act == ACT_GELU ? gelu_inner(x) : x);
        default: return x;
    }
}
