// What kernels are written against: NVRTC, or a host compiler and the emulation.
#pragma once

#include "params.h"

#ifdef __CUDACC_RTC__

#define DEVICE __device__ __forceinline__

// Who wants one kernel of a file defines WANTED_name as `, COMPILED` and OTHERS as LEFT_OUT: the others are then templates that nobody
// uses, which takes the compiler next to no time.
#ifndef OTHERS
#define OTHERS COMPILED
#endif
#define COMPILED(name, Params, bounds) extern "C" __global__ void bounds name(const __grid_constant__ Params p)
#define LEFT_OUT(name, Params, bounds) template <int> __device__ void name(const Params& p)
#define SECOND_OF(first, second, ...) second
#define SECOND(...) SECOND_OF(__VA_ARGS__, )

#define KERNEL(name, Params, threads) SECOND(WANTED_##name, OTHERS)(name, Params, __launch_bounds__(threads))
// A kernel whose registers leave room for so many blocks on a multiprocessor.
#define SHARING_KERNEL(name, Params, threads, blocks) SECOND(WANTED_##name, OTHERS)(name, Params, __launch_bounds__(threads, blocks))
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
