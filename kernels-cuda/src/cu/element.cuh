// Elements as they are stored, and f32 as everything is computed. The types are ours, so that no header of the toolkit is needed.
#pragma once

#include "platform.cuh"

struct Bf16 {
    unsigned short bits;
};
struct F16 {
    unsigned short bits;
};

DEVICE float widen(float x) { return x; }
DEVICE float widen(Bf16 x) { return __uint_as_float(static_cast<unsigned>(x.bits) << 16); }
DEVICE float widen(signed char x) { return x; }
DEVICE float widen(unsigned char x) { return x; }
DEVICE float widen(int x) { return static_cast<float>(x); }
DEVICE float widen(unsigned x) { return static_cast<float>(x); }

// To the nearest value, ties to even.
template <class T>
DEVICE T narrow(float x);
template <>
DEVICE float narrow<float>(float x) { return x; }

#ifdef __CUDACC_RTC__

DEVICE float widen(F16 x) {
    float wide;
    asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(x.bits));
    return wide;
}
template <>
DEVICE Bf16 narrow<Bf16>(float x) {
    Bf16 y;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    return y;
}
template <>
DEVICE F16 narrow<F16>(float x) {
    F16 y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    return y;
}

#else

DEVICE float widen(F16 x) {
    unsigned sign = (x.bits & 0x8000u) << 16, rest = x.bits & 0x7FFFu;
    if (rest >= 0x7C00u) return __uint_as_float(sign | 0x7F800000u | rest << 13);
    // The exponent's bias goes from 15 to 127 by a product, which is exact and takes subnormal numbers along.
    return __uint_as_float(sign | __float_as_uint(__uint_as_float(rest << 13) * 0x1p112f));
}
template <>
DEVICE Bf16 narrow<Bf16>(float x) {
    unsigned bits = __float_as_uint(x);
    if (x != x) return {0x7FFF};
    return {static_cast<unsigned short>((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16)};
}
template <>
DEVICE F16 narrow<F16>(float x) {
    unsigned bits = __float_as_uint(x), sign = bits >> 16 & 0x8000u, rest = bits & 0x7FFFFFFFu;
    if (rest > 0x7F800000u) return {0x7FFF};
    // From 65520 on the nearest value is infinite.
    if (rest >= 0x477FF000u) return {static_cast<unsigned short>(sign | 0x7C00u)};
    if (rest < 0x38800000u) {
        // Subnormal: adding ½ rounds to a multiple of 2⁻²⁴, whose number is left in the low bits.
        return {static_cast<unsigned short>(sign | (__float_as_uint(__uint_as_float(rest) + 0.5f) - 0x3F000000u))};
    }
    return {static_cast<unsigned short>(sign | (rest - 0x38000000u + 0xFFFu + (rest >> 13 & 1u)) >> 13)};
}

#endif

// Four neighbouring elements, moved at once.
template <class T>
struct alignas(4 * sizeof(T)) Quad {
    T at[4];
};

template <class T>
DEVICE bool aligned_to_quad(const T* at) {
    return reinterpret_cast<Address>(at) % sizeof(Quad<T>) == 0;
}

template <class T>
DEVICE void load_quad(const T* from, float (&to)[4]) {
    Quad<T> quad = *reinterpret_cast<const Quad<T>*>(from);
    UNROLL for (int i = 0; i < 4; i++) to[i] = widen(quad.at[i]);
}

template <class T>
DEVICE void store_quad(T* to, const float (&from)[4]) {
    Quad<T> quad;
    UNROLL for (int i = 0; i < 4; i++) quad.at[i] = narrow<T>(from[i]);
    *reinterpret_cast<Quad<T>*>(to) = quad;
}

// A kernel for each type of floats: `name<T>(p)` under the names `name_f32`, `name_bf16`, `name_f16`.
#define FLOAT_KERNELS(name, Params, threads)                  \
    KERNEL(name##_f32, Params, threads) { name<float>(p); }   \
    KERNEL(name##_bf16, Params, threads) { name<Bf16>(p); }   \
    KERNEL(name##_f16, Params, threads) { name<F16>(p); }
