// Integer codes as factors of 16 bits, for products on tensor cores.
#pragma once

#include "coded.cuh"

#ifdef __CUDACC_RTC__

// a − b, two elements each.
template <class T>
DEVICE unsigned difference_of_pairs(unsigned a, unsigned b);
template <>
DEVICE unsigned difference_of_pairs<F16>(unsigned a, unsigned b) {
    unsigned difference;
    asm("sub.rn.f16x2 %0, %1, %2;" : "=r"(difference) : "r"(a), "r"(b));
    return difference;
}
template <>
DEVICE unsigned difference_of_pairs<Bf16>(unsigned a, unsigned b) {
    unsigned difference;
    asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(difference) : "r"(a), "r"(0x3F803F80u), "r"(b ^ 0x80008000u));
    return difference;
}

#else

template <class T>
DEVICE unsigned difference_of_pairs(unsigned a, unsigned b) {
    auto one = [](unsigned a, unsigned b) {
        return narrow<T>(widen(T{static_cast<unsigned short>(a)}) - widen(T{static_cast<unsigned short>(b)})).bits;
    };
    return one(a & 0xFFFF, b & 0xFFFF) | static_cast<unsigned>(one(a >> 16, b >> 16)) << 16;
}

#endif

// Four codes less a zero point, as two pairs of T. A code in the low bits of a fitting power of two is that power and the code.
template <class T>
struct Factors;
template <>
struct Factors<F16> {
    static DEVICE void of(unsigned, unsigned four, unsigned zero, unsigned& first, unsigned& second) {
        unsigned base = 0x64006400u | zero * 0x10001u;
        first = difference_of_pairs<F16>(__byte_perm(four, 0x64646464u, 0x4140), base);
        second = difference_of_pairs<F16>(__byte_perm(four, 0x64646464u, 0x4342), base);
    }
};
template <>
struct Factors<Bf16> {
    static DEVICE void of(unsigned form, unsigned four, unsigned zero, unsigned& first, unsigned& second) {
        if (!is_eight_bits(form)) {
            unsigned base = 0x43004300u | zero * 0x10001u;
            first = difference_of_pairs<Bf16>(__byte_perm(four, 0x43434343u, 0x4140), base);
            second = difference_of_pairs<Bf16>(__byte_perm(four, 0x43434343u, 0x4342), base);
            return;
        }
        // Eight bits are too many for that: by way of f32, whose upper halves are exact.
        float base = __uint_as_float(0x4B000000u | zero), values[4];
        UNROLL for (unsigned i = 0; i < 4; i++) values[i] = __uint_as_float(__byte_perm(four, 0x4B000000u, 0x7440 + i)) - base;
        first = __byte_perm(__float_as_uint(values[0]), __float_as_uint(values[1]), 0x7632);
        second = __byte_perm(__float_as_uint(values[2]), __float_as_uint(values[3]), 0x7632);
    }
};
