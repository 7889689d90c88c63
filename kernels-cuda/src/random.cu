// Element i is made of word i mod 4 of Philox-4×32-10 with counter i / 4: four elements per thread.
#include "lattice.cuh"

constexpr float UNIT = 5.9604644775390625e-8f;  // 2⁻²⁴

DEVICE void philox(unsigned counter, const RandomParams& p, unsigned (&c)[4]) {
    c[0] = counter, c[1] = 0, c[2] = p.stream[0], c[3] = p.stream[1];
    unsigned key0 = p.seed[0], key1 = p.seed[1];
    UNROLL for (int round = 0; round < 10; round++) {
        unsigned high0 = __umulhi(0xD2511F53u, c[0]), low0 = 0xD2511F53u * c[0];
        unsigned high1 = __umulhi(0xCD9E8D57u, c[2]), low1 = 0xCD9E8D57u * c[2];
        c[0] = high1 ^ c[1] ^ key0, c[1] = low1, c[2] = high0 ^ c[3] ^ key1, c[3] = low0;
        key0 += 0x9E3779B9u, key1 += 0xBB67AE85u;
    }
}

// By Box and Muller: r·cos φ, r·sin φ with r = √(−2·ln(((w₀ >> 8) + 1)·2⁻²⁴)), φ = 2π·(w₁ >> 8)·2⁻²⁴.
DEVICE void normal_pair(unsigned w0, unsigned w1, float& z0, float& z1) {
    float r = sqrtf(-2.0f * logf(static_cast<float>((w0 >> 8) + 1) * UNIT));
    float sine, cosine;
    sincospif(2.0f * (static_cast<float>(w1 >> 8) * UNIT), &sine, &cosine);
    z0 = r * cosine, z1 = r * sine;
}

template <class T>
DEVICE void random(const RandomParams& p) {
    unsigned counter = blockIdx.x * ELEMENTWISE_THREADS + threadIdx.x;
    unsigned i = 4 * counter;
    if (i >= p.lattice.count) return;
    unsigned words[4];
    philox(counter, p, words);
    float z[4];
    if (p.normal) {
        normal_pair(words[0], words[1], z[0], z[1]);
        normal_pair(words[2], words[3], z[2], z[3]);
    } else {
        UNROLL for (int k = 0; k < 4; k++) z[k] = static_cast<float>(words[k] >> 8) * UNIT;
    }
    // The product is rounded, as every backend's is: not fused with the sum.
    UNROLL for (int k = 0; k < 4; k++) z[k] = __fadd_rn(p.term, __fmul_rn(z[k], p.factor));
    T* out = operand<T>(p.lattice, 0);
    if (p.lattice.dense == DENSE && i + 4 <= p.lattice.count) return store_quad(out + i, z);
    UNROLL for (unsigned k = 0; k < 4; k++) {
        if (i + k < p.lattice.count) {
            Stride at[1];
            place(p.lattice, i + k, at);
            out[at[0]] = narrow<T>(z[k]);
        }
    }
}

FLOAT_KERNELS(random, RandomParams, ELEMENTWISE_THREADS)
