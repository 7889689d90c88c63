// out = x, bit by bit, whatever the strides.
#include "lattice.cuh"

template <class Bits>
DEVICE void copy(const Lattice& p) {
    const Bits* x = operand<const Bits>(p, 0);
    Bits* out = operand<Bits>(p, 1);
    each_element<2>(
        p,
        [&](const Stride (&at)[2]) { *reinterpret_cast<Quad<Bits>*>(out + at[1]) = *reinterpret_cast<const Quad<Bits>*>(x + at[0]); },
        [&](const Stride (&at)[2]) { out[at[1]] = x[at[0]]; });
}

KERNEL(copy_1, Lattice, ELEMENTWISE_THREADS) { copy<unsigned char>(p); }
KERNEL(copy_2, Lattice, ELEMENTWISE_THREADS) { copy<unsigned short>(p); }
KERNEL(copy_4, Lattice, ELEMENTWISE_THREADS) { copy<unsigned>(p); }
