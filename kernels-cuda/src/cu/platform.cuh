// What kernels are written against: NVRTC, or a host compiler and the emulation.
#pragma once

#include "params.h"

#ifdef __CUDACC_RTC__

#define DEVICE __device__ __forceinline__
#define KERNEL(name, Params, threads) extern "C" __global__ void __launch_bounds__(threads) name(const __grid_constant__ Params p)
// A kernel whose registers leave room for so many blocks on a multiprocessor.
#define SHARING_KERNEL(name, Params, threads, blocks) \
    extern "C" __global__ void __launch_bounds__(threads, blocks) name(const __grid_constant__ Params p)
#define SHARED(Type, name) __shared__ Type name
#define UNROLL _Pragma("unroll")
// Before loops that would take too many registers.
#define ROLLED _Pragma("unroll 1")
#ifndef INFINITY
#define INFINITY __int_as_float(0x7f800000)
#define NAN __int_as_float(0x7fffffff)
#endif

#else

#include "emulation.h"

#endif

constexpr unsigned WARP_SIZE = 32;
constexpr unsigned ALL_LANES = ~0u;
