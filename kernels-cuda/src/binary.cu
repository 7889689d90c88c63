// out = f(a, b), element by element.
#include "lattice.cuh"

template <class T>
DEVICE void binary(const ElementwiseParams& p) {
    switch (p.function) {
        case 0: return zip<T, T, T>(p.lattice, [](float a, float b) { return a + b; });
        case 1: return zip<T, T, T>(p.lattice, [](float a, float b) { return a - b; });
        case 2: return zip<T, T, T>(p.lattice, [](float a, float b) { return a * b; });
        case 3: return zip<T, T, T>(p.lattice, [](float a, float b) { return a / b; });
        // NaN where either is: fmaxf would drop it.
        case 4: return zip<T, T, T>(p.lattice, [](float a, float b) { return a != a || a > b ? a : b; });
        case 5: return zip<T, T, T>(p.lattice, [](float a, float b) { return a != a || a < b ? a : b; });
    }
}

FLOAT_KERNELS(binary, ElementwiseParams, ELEMENTWISE_THREADS)
