// out += alpha · x. Operands are x, out and out again.
#include "lattice.cuh"

template <class X, class Out>
DEVICE void axpy(const ElementwiseParams& p) {
    zip<X, Out, Out>(p.lattice, [&](float x, float out) { return fmaf(p.scale, x, out); });
}

KERNEL(axpy_f32, ElementwiseParams, ELEMENTWISE_THREADS) { axpy<float, float>(p); }
KERNEL(axpy_bf16, ElementwiseParams, ELEMENTWISE_THREADS) { axpy<Bf16, Bf16>(p); }
KERNEL(axpy_f16, ElementwiseParams, ELEMENTWISE_THREADS) { axpy<F16, F16>(p); }
KERNEL(axpy_wide_bf16, ElementwiseParams, ELEMENTWISE_THREADS) { axpy<Bf16, float>(p); }
KERNEL(axpy_wide_f16, ElementwiseParams, ELEMENTWISE_THREADS) { axpy<F16, float>(p); }
