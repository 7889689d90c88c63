// dx = dout · f′(x), element by element.
#include "function.cuh"
#include "lattice.cuh"

// 1 / cosh²(x) = 4·s·(1 − s) with s = sigmoid(2x), and 1 − s = sigmoid(−2x).
DEVICE float tanh_slope(float x) { return 4.0f * sigmoid(2.0f * x) * sigmoid(-2.0f * x); }

DEVICE float gelu_slope(float x) {
    float inner = gelu_inner(x), s = sigmoid(inner);
    // Where sigmoid(−inner) is 0 its factor may be infinite.
    float rest = sigmoid(-inner);
    float slope = rest == 0.0f || s == 0.0f ? 0.0f : x * (1.5957691f + 3.0f * 0.07135481f * x * x) * s * rest;
    return s + slope;
}

// Φ(x) + x·φ(x), φ(x) = exp(−x²/2) / √(2π)
DEVICE float gelu_erf_slope(float x) {
    float density = 0.39894228f * expf(-0.5f * x * x);
    return normal_below(x) + (density == 0.0f ? 0.0f : x * density);
}

DEVICE float silu_slope(float x) {
    float rest = sigmoid(-x);
    return sigmoid(x) * (1.0f + (rest == 0.0f ? 0.0f : x * rest));
}

template <class T>
DEVICE void unary_backward(const ElementwiseParams& p) {
    switch (p.function) {
        case 0: return zip<T, T, T>(p.lattice, [](float, float d) { return -d; });
        case 1: return zip<T, T, T>(p.lattice, [](float x, float d) { return d * (x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x * 0.0f); });
        case 2: return zip<T, T, T>(p.lattice, [](float x, float d) { return d * (2.0f * x); });
        case 3: return zip<T, T, T>(p.lattice, [](float x, float d) { return d * (0.5f / sqrtf(x)); });
        case 4: return zip<T, T, T>(p.lattice, [](float x, float d) { return d * (-0.5f / (x * sqrtf(x))); });
        case 5: return zip<T, T, T>(p.lattice, [](float x, float d) { return d * (-1.0f / (x * x)); });
        case 6: return zip<T, T, T>(p.lattice, [](float x, float d) { return d * expf(x); });
        case 7: return zip<T, T, T>(p.lattice, [](float x, float d) { return d * (1.0f / x); });
        case 8: return zip<T, T, T>(p.lattice, [](float x, float d) { return d * tanh_slope(x); });
        case 9: return zip<T, T, T>(p.lattice, [](float x, float d) { return d * (sigmoid(x) * sigmoid(-x)); });
        case 10: return zip<T, T, T>(p.lattice, [](float x, float d) { return d * (x > 0.0f ? 1.0f : 0.0f); });
        case 11: return zip<T, T, T>(p.lattice, [](float x, float d) { return d * gelu_slope(x); });
        case 12: return zip<T, T, T>(p.lattice, [](float x, float d) { return d * gelu_erf_slope(x); });
        case 13: return zip<T, T, T>(p.lattice, [](float x, float d) { return d * silu_slope(x); });
        case 14: return zip<T, T, T>(p.lattice, [&](float, float d) { return d * p.scale; });
    }
}

FLOAT_KERNELS(unary_backward, ElementwiseParams, ELEMENTWISE_THREADS)
