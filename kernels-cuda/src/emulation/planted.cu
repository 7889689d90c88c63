// Kernels with faults, which the emulation must catch (`driver/emulated.rs`).
#include "tensor.cuh"

constexpr unsigned PLANTED_THREADS = 64;

typedef struct {
    Address out;
    // Which fault, or 0 for none.
    unsigned fault;
    unsigned count;
} PlantedParams;

struct Numbers {
    float of[PLANTED_THREADS];
};

// Turns the order of 64 numbers around, by way of shared memory.
KERNEL(planted_barrier, PlantedParams, PLANTED_THREADS) {
    SHARED(Numbers, numbers);
    numbers.of[threadIdx.x] = static_cast<float>(threadIdx.x);
    if (p.fault == 0) __syncthreads();
    reinterpret_cast<float*>(p.out)[threadIdx.x] = numbers.of[PLANTED_THREADS - 1 - threadIdx.x];
}

// All threads write one word: the last one's is left.
KERNEL(planted_race, PlantedParams, PLANTED_THREADS) {
    if (p.fault || threadIdx.x == 0) *reinterpret_cast<unsigned*>(p.out) = blockIdx.x * PLANTED_THREADS + threadIdx.x;
}

KERNEL(planted_index, PlantedParams, PLANTED_THREADS) {
    float* out = reinterpret_cast<float*>(p.out);
    SHARED(Numbers, numbers);
    switch (p.fault) {
        case 1: out[p.count] = 1.0f; return;
        case 2: out[-1024] = 1.0f; return;
        case 3: numbers.of[PLANTED_THREADS + threadIdx.x] = 1.0f; return;
        case 4: out[threadIdx.x] = static_cast<float>(p.fault / (p.count - PLANTED_THREADS)); return;
        default: out[threadIdx.x] = 1.0f;
    }
}

KERNEL(planted_divergence, PlantedParams, PLANTED_THREADS) {
    float* out = reinterpret_cast<float*>(p.out);
    if (p.fault == 1 && threadIdx.x == 3) return;
    if (p.fault == 2 && threadIdx.x < WARP_SIZE) __shfl_xor_sync(ALL_LANES, 1.0f, 1);
    if (p.fault == 3 && threadIdx.x == 40) return;
    if (p.fault == 3) __shfl_xor_sync(ALL_LANES, 1.0f, 1);
    __syncthreads();
    out[threadIdx.x] = 1.0f;
}

// Brings 16 bytes a thread to shared memory and back.
KERNEL(planted_copy, PlantedParams, PLANTED_THREADS) {
    struct Line {
        alignas(16) float of[PLANTED_THREADS][4];
    };
    SHARED(Line, line);
    float* out = reinterpret_cast<float*>(p.out);
    copy_start(line.of[threadIdx.x], out + 4 * threadIdx.x, 16);
    copy_commit();
    if (p.fault != 1) copy_wait<0>();
    out[4 * threadIdx.x] = line.of[threadIdx.x][1];
    if (p.fault == 1) copy_wait<0>();
}
