// out = x, bit by bit, whatever the strides.
#include "lattice.cuh"

template <class Bits>
DEVICE void copy(const Lattice& p) {
    const Bits* x = operand<const Bits>(p, 0);
    Bits* out = operand<Bits>(p, 1);
    each_element(
        p, [&](unsigned i) { *reinterpret_cast<Quad<Bits>*>(out + i) = *reinterpret_cast<const Quad<Bits>*>(x + i); },
        [&](unsigned i) {
            Stride at[2];
            place(p, i, at);
            out[at[1]] = x[at[0]];
        });
}

KERNEL(copy_1, Lattice, ELEMENTWISE_THREADS) { copy<unsigned char>(p); }
KERNEL(copy_2, Lattice, ELEMENTWISE_THREADS) { copy<unsigned short>(p); }
KERNEL(copy_4, Lattice, ELEMENTWISE_THREADS) { copy<unsigned>(p); }
