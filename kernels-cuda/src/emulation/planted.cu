// Kernels with faults, which the emulation must catch, and one of an instruction (`driver/emulated.rs`).
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

// A product of one warp with a sparse operand, from matrices whose rows have no gaps.
typedef struct {
    // [16, 16], [32, 8] and [16, 8]; the bits of F16 or Bf16, and f32.
    Address a, b, out;
    // A word of every lane.
    Address places;
    unsigned selector;
    unsigned bf16;
} PlantedProductParams;

template <class T>
DEVICE void planted_product(const PlantedProductParams& p) {
    auto two = [](Address from, unsigned first, unsigned second) {
        const unsigned short* bits = reinterpret_cast<const unsigned short*>(from);
        return bits[first] | static_cast<unsigned>(bits[second]) << 16;
    };
    unsigned lane = threadIdx.x, g = lane / 4, q = lane % 4, a[4], b[4];
    for (unsigned i = 0; i < 4; i++) {
        unsigned at = (g + i % 2 * 8) * 16 + 2 * q + i / 2 * 8, input = 8 * i + 2 * q;
        a[i] = two(p.a, at, at + 1);
        b[i] = two(p.b, input * 8 + g, (input + 1) * 8 + g);
    }
    unsigned places = reinterpret_cast<const unsigned*>(p.places)[lane];
    float d[4] = {};
    if (p.selector == 0) {
        multiply_add_sparse<T, 0>(d, a, b, places);
    } else {
        multiply_add_sparse<T, 1>(d, a, b, places);
    }
    for (unsigned i = 0; i < 4; i++) reinterpret_cast<float*>(p.out)[(g + i / 2 * 8) * 8 + 2 * q + i % 2] = d[i];
}

KERNEL(planted_sparse_product, PlantedProductParams, WARP_SIZE) {
    if (p.bf16) return planted_product<Bf16>(p);
    planted_product<F16>(p);
}
