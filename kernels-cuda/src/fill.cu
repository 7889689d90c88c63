// out = a constant, whose bits the host has made.
#include "lattice.cuh"

template <class Bits>
DEVICE void fill(const FillParams& p) {
    Bits* out = operand<Bits>(p.lattice, 0);
    Bits bits = static_cast<Bits>(p.bits);
    each_element<1>(
        p.lattice, [&](const Stride (&at)[1]) { *reinterpret_cast<Quad<Bits>*>(out + at[0]) = {bits, bits, bits, bits}; },
        [&](const Stride (&at)[1]) { out[at[0]] = bits; });
}

KERNEL(fill_1, FillParams, ELEMENTWISE_THREADS) { fill<unsigned char>(p); }
KERNEL(fill_2, FillParams, ELEMENTWISE_THREADS) { fill<unsigned short>(p); }
KERNEL(fill_4, FillParams, ELEMENTWISE_THREADS) { fill<unsigned>(p); }
