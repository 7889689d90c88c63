// out = f(x), element by element.
#include "function.cuh"
#include "lattice.cuh"

template <class T>
DEVICE void unary(const ElementwiseParams& p) {
    switch (p.function) {
        case 0: return map<T, T>(p.lattice, [](float x) { return -x; });
        case 1: return map<T, T>(p.lattice, [](float x) { return fabsf(x); });
        case 2: return map<T, T>(p.lattice, [](float x) { return x * x; });
        case 3: return map<T, T>(p.lattice, [](float x) { return sqrtf(x); });
        case 4: return map<T, T>(p.lattice, [](float x) { return 1.0f / sqrtf(x); });
        case 5: return map<T, T>(p.lattice, [](float x) { return 1.0f / x; });
        case 6: return map<T, T>(p.lattice, [](float x) { return expf(x); });
        case 7: return map<T, T>(p.lattice, [](float x) { return logf(x); });
        case 8: return map<T, T>(p.lattice, [](float x) { return tanhf(x); });
        case 9: return map<T, T>(p.lattice, [](float x) { return sigmoid(x); });
        case 10: return map<T, T>(p.lattice, [](float x) { return relu(x); });
        case 11: return map<T, T>(p.lattice, [](float x) { return gelu(x); });
        case 12: return map<T, T>(p.lattice, [](float x) { return gelu_erf(x); });
        case 13: return map<T, T>(p.lattice, [](float x) { return silu(x); });
        case 14: return map<T, T>(p.lattice, [&](float x) { return fmaf(p.scale, x, p.shift); });
    }
}

FLOAT_KERNELS(unary, ElementwiseParams, ELEMENTWISE_THREADS)
