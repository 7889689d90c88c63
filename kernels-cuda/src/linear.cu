// out[i, j] = act(Σₗ x[i, l] · w[j, l] + bias[j]) for weights whose every value is stored; those of integer codes on tensor cores are
// in `linear_coded.cu`.
//
// Inputs are cut into up to eight parts, each summed on its own in rising order; parts are added in theirs. So the bits of a row do
// not depend on the others. Tiles (`product.cuh` with the weight on the left, `tile.cuh` with x there) walk through the parts; where
// rows are few, a block makes 16 or 8 columns, each warp one part of them, and the weight is read once.
#include "coded.cuh"
#include "few.cuh"
#include "tile.cuh"

template <class T>
DEVICE Layer<T> layer(const ProductParams& p) { return {p.bias, p.bias_step, p.activation}; }

template <class T, int HIGH, int WIDE, int DOWN, int OVER, bool TURNED>
DEVICE void linear_halves(const ProductParams& p) {
    product<T, HIGH, WIDE, DOWN, OVER, TURNED, false, true>(p, [&](Stride first, unsigned row, unsigned column, const float (&d)[4]) {
        store_results<T>(p, first, row, column, d, layer<T>(p));
    });
}

// Sixteen columns by up to sixteen rows: each warp streams its part of the weight through memory of its own.
template <class T>
DEVICE void linear_few_halves(const ProductParams& p) {
    constexpr unsigned DEPTH = 32, RING = 6;
    // Sums take the place of weights, once those are done with.
    union Shared {
        alignas(16) unsigned char weight[PARTS][RING][16 * ROW_BYTES];
        FewSums sums;
    };
    SHARED(Shared, shared);
    unsigned lane = threadIdx.x % WARP_SIZE, warp = threadIdx.x / WARP_SIZE, row = blockIdx.x * 16;
    const T* w = reinterpret_cast<const T*>(p.left);
    unsigned begin = min(warp * p.part, p.k), end = min(begin + p.part, p.k), steps = (end - begin + DEPTH - 1) / DEPTH;
    auto start = [&](unsigned step) {
        if (step < steps) {
            UNROLL for (unsigned i = 0; i < 2; i++) {
                unsigned r = i * 8 + lane / 4, l = begin + step * DEPTH + lane % 4 * 8;
                bool inside = row + r < p.rows && l < p.k;
                unsigned valid = inside ? min(16u, 2 * (p.k - l)) : 0;
                copy_start(shared.weight[warp][step % RING] + chunk_place(r, lane % 4), inside ? w + (row + r) * p.left_row + l : w, valid);
            }
        }
        copy_commit();
    };
    float sum[2][4] = {};
    // x comes as early as the weight does, in registers.
    unsigned b[RING][2][4];
    UNROLL for (unsigned step = 0; step < RING - 1; step++) {
        start(step);
        if (step < steps) read_few<T>(p, b[step], begin + step * DEPTH);
    }
    for (unsigned round = 0; round < steps; round += RING) {
        UNROLL for (unsigned turn = 0; turn < RING; turn++) {
            unsigned step = round + turn, next = step + RING - 1;
            if (step >= steps) break;
            if (next < steps) read_few<T>(p, b[(turn + RING - 1) % RING], begin + next * DEPTH);
            copy_wait<RING - 2>();
            __syncwarp();
            unsigned a[2][4];
            read_sixteen<16, false>(a, shared.weight[warp][turn], 0);
            UNROLL for (unsigned half = 0; half < 2; half++) {
                UNROLL for (unsigned t = 0; t < 2; t++) {
                    if (t == 1 && p.columns <= 8) continue;
                    multiply_add<T>(sum[t], a[half], {b[turn][t][2 * half], b[turn][t][2 * half + 1]});
                }
            }
            __syncwarp();
            start(next);
        }
    }
    copy_wait<0>();
    __syncthreads();
    store_few<T>(p, shared.sums, sum, [&](float total, unsigned feature) { return layer<T>(p)(total, T{}, feature); });
}

// A dense weight of other elements than x has numbers of its own among the forms.
constexpr unsigned DENSE_F32 = 0, DENSE_BF16 = 8, DENSE_F16 = 9;

template <class W>
DEVICE void four_dense(const ProductParams& p, unsigned n, unsigned l, bool across, float (&to)[4]) {
    const W* at = reinterpret_cast<const W*>(p.right) + n * p.right_row + l * p.right_step;
    unsigned count = across ? p.columns - n : p.k - l;
    if (count >= 4 && p.right_way == (across ? ACROSS : ALONG)) return load_quad(at, to);
    Stride step = across ? p.right_row : p.right_step;
    UNROLL for (unsigned i = 0; i < 4; i++) to[i] = i < count ? widen(at[i * step]) : 0.0f;
}

// Weights (n, l) and three neighbours along the inputs, or across them; zeros outside.
DEVICE void four_of_any(const LinearParams& p, unsigned n, unsigned l, bool across, float (&to)[4]) {
    if (n >= p.product.columns || l >= p.product.k) {
        UNROLL for (unsigned i = 0; i < 4; i++) to[i] = 0.0f;
        return;
    }
    switch (p.coded.form) {
        case DENSE_F32: return four_dense<float>(p.product, n, l, across, to);
        case DENSE_BF16: return four_dense<Bf16>(p.product, n, l, across, to);
        case DENSE_F16: return four_dense<F16>(p.product, n, l, across, to);
        default: return four_weights(p.coded, n, l, to);
    }
}

template <class T, int SIZE, int EACH, int DEPTH>
DEVICE void linear_words(const LinearParams& params) {
    const ProductParams& p = params.product;
    Place place = place_of_block<SIZE>(p);
    Factor x = {p.left + place.row * p.left_row * sizeof(T), p.left_row, 1, p.rows - place.row, p.k, p.left_way};
    bool dense = params.coded.form == DENSE_F32 || params.coded.form > Q6_K;
    bool across = dense && (p.right_way == ACROSS || (p.right_way == SCATTERED && p.right_row == 1));
    Fours<T, DEPTH> of_x(x, own_four<SIZE, DEPTH>(false));
    FourPlace own = own_four<SIZE, DEPTH>(across);
    unsigned l = own.l;
    T* out = reinterpret_cast<T*>(p.out);
    tile<SIZE, EACH, DEPTH, true>(
        p, false, across, [&](float (&to)[4]) { of_x.next(x, false, to); },
        [&](float (&to)[4]) {
            four_of_any(params, place.column + own.row, l, across, to);
            l += DEPTH;
        },
        [&](unsigned row, unsigned column, const float (&sums)[4]) {
            store_four(p, out, place.row + row, place.column + column, sums, layer<T>(p));
        });
}

// Eight columns by up to ROWS rows: each warp streams its part of the weight, and of x, through memory of its own, DEPTH inputs at a
// time. A lane sums a column for every fourth row.
template <class T, unsigned ROWS, unsigned DEPTH, unsigned RING>
DEVICE void linear_few_words(const LinearParams& params) {
    constexpr unsigned COLUMNS = 8, CHUNKS = DEPTH / 4, EACH = 16 / sizeof(T);
    const ProductParams& p = params.product;
    struct Stage {
        alignas(16) float weight[COLUMNS][DEPTH];
        alignas(16) T x[ROWS][DEPTH];
    };
    struct Shared {
        Stage ring[PARTS][RING];
        float sums[PARTS][ROWS][COLUMNS];
    };
    SHARED(Shared, shared);
    unsigned lane = threadIdx.x % WARP_SIZE, warp = threadIdx.x / WARP_SIZE, first = blockIdx.x * COLUMNS;
    unsigned begin = min(warp * p.part, p.k), end = min(begin + p.part, p.k), steps = (end - begin + DEPTH - 1) / DEPTH;
    const float* w = reinterpret_cast<const float*>(p.right);
    const T* x = reinterpret_cast<const T*>(p.left);
    bool copies = params.coded.form == DENSE_F32 && p.right_way == ALONG;
    // Chunks of four lie so that the same chunk of eight columns is in all banks.
    auto four_of = [](Stage& stage, unsigned n, unsigned chunk) { return &stage.weight[n][4 * (chunk ^ (n * CHUNKS / 8 % CHUNKS))]; };
    auto start = [&](unsigned step) {
        if (step < steps) {
            Stage& stage = shared.ring[warp][step % RING];
            unsigned from = begin + step * DEPTH;
            UNROLL for (unsigned i = lane; i < COLUMNS * CHUNKS; i += WARP_SIZE) {
                if (copies) {
                    unsigned n = i / CHUNKS, l = from + i % CHUNKS * 4;
                    bool inside = first + n < p.columns && l < p.k;
                    unsigned valid = inside ? 4 * min(4u, p.k - l) : 0;
                    copy_start(four_of(stage, n, i % CHUNKS), inside ? w + (first + n) * p.right_row + l : w, valid);
                } else {
                    float four[4];
                    four_of_any(params, first + i % COLUMNS, from + i / COLUMNS * 4, false, four);
                    store_quad(four_of(stage, i % COLUMNS, i / COLUMNS), four);
                }
            }
            for (unsigned i = lane; i < p.rows * (DEPTH / EACH); i += WARP_SIZE) {
                unsigned m = i / (DEPTH / EACH), l = from + i % (DEPTH / EACH) * EACH;
                unsigned count = l < p.k ? min(EACH, p.k - l) : 0;
                const T* at = x + m * p.left_row + (count > 0 ? l : 0);
                T* to = &stage.x[m][l - from];
                if (p.left_way == ALONG) {
                    copy_start(to, at, count * sizeof(T));
                } else {
                    UNROLL for (unsigned e = 0; e < EACH; e++) to[e] = e < count ? at[e] : T{};
                }
            }
        }
        copy_commit();
    };
    float sum[ROWS / 4] = {};
    ROLLED for (unsigned step = 0; step < RING - 1; step++) start(step);
    for (unsigned step = 0; step < steps; step++) {
        copy_wait<RING - 2>();
        // All lanes are done with the step before, whose place is the next one's.
        __syncwarp();
        start(step + RING - 1);
        Stage& stage = shared.ring[warp][step % RING];
        UNROLL for (unsigned chunk = 0; chunk < CHUNKS; chunk++) {
            float weights[4];
            load_quad(four_of(stage, lane % COLUMNS, chunk), weights);
            UNROLL for (unsigned i = 0; i < ROWS / 4; i++) {
                if (4 * i >= p.rows) continue;
                float four[4];
                load_quad(&stage.x[lane / COLUMNS + 4 * i][4 * chunk], four);
                UNROLL for (unsigned k = 0; k < 4; k++) sum[i] = fmaf(four[k], weights[k], sum[i]);
            }
        }
    }
    UNROLL for (unsigned i = 0; i < ROWS / 4; i++) shared.sums[warp][lane / COLUMNS + 4 * i][lane % COLUMNS] = sum[i];
    __syncthreads();
    unsigned m = threadIdx.x / COLUMNS, n = threadIdx.x % COLUMNS;
    if (m >= p.rows || first + n >= p.columns) return;
    float total = 0.0f;
    for (unsigned part = 0; part * p.part < p.k; part++) total += shared.sums[part][m][n];
    reinterpret_cast<T*>(p.out)[m * p.out_row + first + n] = layer<T>(p)(total, T{}, first + n);
}

#define HALVES(name, T)                                                                                                  \
    KERNEL(linear_##name##_large_along, ProductParams, 256) { linear_halves<T, 4, 4, 2, 4, false>(p); }                  \
    KERNEL(linear_##name##_small_along, ProductParams, 128) { linear_halves<T, 2, 4, 2, 2, false>(p); }                  \
    KERNEL(linear_##name##_large_across, ProductParams, 256) { linear_halves<T, 4, 4, 2, 4, true>(p); }                  \
    KERNEL(linear_##name##_small_across, ProductParams, 128) { linear_halves<T, 2, 4, 2, 2, true>(p); }                  \
    KERNEL(linear_##name##_few, ProductParams, 256) { linear_few_halves<T>(p); }
#define WORDS(name, T, ring)                                                                                   \
    KERNEL(linear_words_small_##name, LinearParams, 256) { linear_words<T, 64, 4, 16>(p); }                    \
    SHARING_KERNEL(linear_words_few_##name, LinearParams, 256, 3) { linear_few_words<T, FEW_ROWS, 16, ring>(p); } \
    SHARING_KERNEL(linear_words_four_##name, LinearParams, 256, 3) { linear_few_words<T, 4, 32, ring>(p); }

HALVES(bf16, Bf16)
HALVES(f16, F16)
WORDS(f32, float, 3)
KERNEL(linear_words_f32_large, LinearParams, 256) { linear_words<float, 128, 8, 8>(p); }
WORDS(bf16, Bf16, 4)
WORDS(f16, F16, 4)
