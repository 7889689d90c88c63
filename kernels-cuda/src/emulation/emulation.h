// CUDA's threads, warps and blocks on the CPU: what kernels see of them. One fiber per CUDA thread; a block runs to its end on one
// thread of the host. Threads of a block run one after the other until they wait, in an order that changes from launch to launch, so
// that results that depend on it differ between two launches.
//
// A fault (memory outside an allocation, a barrier that only some threads reach, a shuffle with lanes that have left) ends the
// launch with a message and leaves the process alone.
#pragma once

#ifndef __x86_64__
#error "the emulation switches fibers in x86-64 assembly; build without the feature `emulation` on this machine"
#endif

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#define __device__
#define DEVICE inline __attribute__((always_inline))
#define UNROLL
#define ROLLED

struct Dim {
    unsigned x, y, z;
};

namespace emulation {

constexpr unsigned WARP = 32;
constexpr unsigned MAX_COPIES = 64;
constexpr unsigned MAX_PRODUCTS = 16;

enum class State : unsigned char { Ready, AtBarrier, AtPhase, AtWarp, Done };

struct Copy {
    void* to;
    const void* from;
    unsigned bytes, valid, group;
};

// A product of a group of four warps that has been started; it runs when it is waited for, on what then lies in its factors.
struct Product {
    void (*add)(void* sums, const void* left, const void* right);
    void* sums;
    const void *left, *right;
    unsigned group;
};

// A barrier with phases, in shared memory.
struct Barrier {
    int bytes;                // announced, less those that have come
    unsigned short threads;   // of a phase
    unsigned short waited_for : 15, parity : 1;  // of them in the phase at hand, which has this parity
};

struct Thread {
    void* stack_pointer;
    Dim index;
    unsigned linear;
    State state;
    unsigned groups;  // committed groups of copies
    unsigned copies;
    Copy copy[MAX_COPIES];
    unsigned product_groups, products;
    Product product[MAX_PRODUCTS];
};

struct Block {
    Dim index, threads, blocks;
    alignas(64) unsigned char exchange[32][WARP][64];
};

// Plain thread-local pointers: C++'s own would be reached through a function.
extern __thread Block* block;
extern __thread Thread* thread;

void wait_barrier();
void wait_warp();
[[noreturn]] void fault(const char* what);
void* shared(const void* site, size_t bytes);
void* large_shared(const void* site, size_t bytes);
void phases_start(Barrier& b, unsigned threads);
void phase_arrive(Barrier& b, unsigned bytes);
void phase_wait(Barrier& b, unsigned parity);
void box_copy(void* to, const unsigned long long (&map)[16], unsigned along, unsigned line, Barrier& b);
void product_later(void (*add)(void* sums, const void* left, const void* right), void* sums, const void* left, const void* right);
void products_commit();
void products_wait(unsigned pending);
void copy_async(void* to, const void* from, unsigned bytes, unsigned valid);
void copy_commit();
void copy_wait(unsigned pending);

using Body = void (*)(const void* params);
struct Kernel {
    const char* file;  // that is compiled, whichever header the kernel stands in
    size_t params_bytes;
    unsigned threads;
    Body body;
};
struct Registration {
    Registration(const char* name, const Kernel& kernel);
};
// Null where there is no such kernel.
const Kernel* find(const char* name);

inline unsigned lane() { return thread->linear % WARP; }

// Shows a value to the warp; gives those of all lanes, to be read before the next `wait_warp`.
template <class T>
const T (&exchange(const T& mine))[WARP][64 / sizeof(T)] {
    static_assert(64 % sizeof(T) == 0, "a lane's share of the exchange holds whole values");
    auto& all = block->exchange[thread->linear / WARP];
    memcpy(all[lane()], &mine, sizeof(T));
    wait_warp();
    return reinterpret_cast<const T(&)[WARP][64 / sizeof(T)]>(all);
}

template <class T>
T take(const T& mine, unsigned from) {
    T theirs = exchange(mine)[from % WARP][0];
    wait_warp();
    return theirs;
}

}  // namespace emulation

#define KERNEL(name, Params, threads)                                                                                            \
    static void name(const Params& p);                                                                                           \
    static const emulation::Registration name##_registration(                                                                    \
        #name, {__BASE_FILE__, sizeof(Params), threads, [](const void* params) { name(*static_cast<const Params*>(params)); }}); \
    static void name(const Params& p)

#define SHARING_KERNEL(name, Params, threads, blocks) KERNEL(name, Params, threads)

#define SHARED(Type, name)             \
    static const char name##_site = 0; \
    Type& name = *static_cast<Type*>(emulation::shared(&name##_site, sizeof(Type)))

#define threadIdx (emulation::thread->index)
#define blockIdx (emulation::block->index)
#define blockDim (emulation::block->threads)
#define gridDim (emulation::block->blocks)

inline void __syncthreads() { emulation::wait_barrier(); }
inline void __syncwarp() { emulation::wait_warp(); }
inline void check_mask(unsigned mask) {
    if (mask != ~0u) emulation::fault("a shuffle among some lanes only, which the emulation does not know");
}
template <class T>
T __shfl_sync(unsigned mask, T value, unsigned lane) {
    check_mask(mask);
    return emulation::take(value, lane);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, unsigned bits) {
    check_mask(mask);
    return emulation::take(value, emulation::lane() ^ bits);
}
inline unsigned __ballot_sync(unsigned mask, bool mine) {
    check_mask(mask);
    unsigned bits = 0;
    auto& all = emulation::exchange(mine);
    for (unsigned lane = 0; lane < emulation::WARP; lane++) bits |= static_cast<unsigned>(all[lane][0]) << lane;
    emulation::wait_warp();
    return bits;
}

inline unsigned __float_as_uint(float value) {
    unsigned bits;
    memcpy(&bits, &value, 4);
    return bits;
}
inline float __uint_as_float(unsigned bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}
// The host does not fuse: `-ffp-contract=off`.
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline void sincospif(float x, float* sine, float* cosine) {
    double turns = static_cast<double>(x) * M_PI;
    *sine = static_cast<float>(std::sin(turns));
    *cosine = static_cast<float>(std::cos(turns));
}
inline unsigned __byte_perm(unsigned low, unsigned high, unsigned selector) {
    unsigned long long bytes = static_cast<unsigned long long>(high) << 32 | low;
    unsigned picked = 0;
    for (unsigned i = 0; i < 4; i++) picked |= static_cast<unsigned>(bytes >> 8 * (selector >> 4 * i & 7) & 255) << 8 * i;
    return picked;
}
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(static_cast<unsigned long long>(a) * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return static_cast<unsigned long long>(static_cast<unsigned __int128>(a) * b >> 64);
}
inline unsigned atomicAdd(unsigned* at, unsigned value) { return __atomic_fetch_add(at, value, __ATOMIC_RELAXED); }
inline unsigned atomicCAS(unsigned* at, unsigned expected, unsigned value) {
    __atomic_compare_exchange_n(at, &expected, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    return expected;
}
inline void __threadfence_system() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
template <class T>
T min(T a, T b) {
    return b < a ? b : a;
}
template <class T>
T max(T a, T b) {
    return a < b ? b : a;
}
