// out = x in another type, rounded once.
#include "lattice.cuh"

template <class X, class Out>
DEVICE void cast(const Lattice& p) {
    map<X, Out>(p, [](float x) { return x; });
}

#define CASTS_FROM(X, name)                                                              \
    KERNEL(cast_##name##_f32, Lattice, ELEMENTWISE_THREADS) { cast<X, float>(p); }       \
    KERNEL(cast_##name##_bf16, Lattice, ELEMENTWISE_THREADS) { cast<X, Bf16>(p); }       \
    KERNEL(cast_##name##_f16, Lattice, ELEMENTWISE_THREADS) { cast<X, F16>(p); }

CASTS_FROM(float, f32)
CASTS_FROM(Bf16, bf16)
CASTS_FROM(F16, f16)

KERNEL(cast_i8, Lattice, ELEMENTWISE_THREADS) { cast<signed char, float>(p); }
KERNEL(cast_u8, Lattice, ELEMENTWISE_THREADS) { cast<unsigned char, float>(p); }
KERNEL(cast_i32, Lattice, ELEMENTWISE_THREADS) { cast<int, float>(p); }
KERNEL(cast_u32, Lattice, ELEMENTWISE_THREADS) { cast<unsigned, float>(p); }
