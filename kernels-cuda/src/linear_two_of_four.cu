// Linear layers of bf16 and f16 over 2:4 weights, on sparse tensor cores (mma.sp): half the products of a dense weight's, and little more
// than half its bytes. Values are of x's type, or codes of 8 bits, which are exact in it; their sum is scaled in f32.
//
// The weight is the sparse operand, on the left, so that the result is made transposed. Its records (`two_of_four.cuh`) lie as lanes
// want them and come through shared memory by cp.async: 64 bits of values of a row, and a word of places, without bank conflicts.
// Inputs are cut into parts as in `linear.cu`, and sums are made by the same instructions in the same order, whether a block has tiles
// of 128 or 64 rows or, where rows are few, each warp a part: a row's bits do not depend on the others.
//
// Has run under emulation only, never on a device.
#include "factors.cuh"
#include "few.cuh"
#include "two_of_four.cuh"

// What a lane holds of a record: values as operand `a`, and places.
template <class T, class W>
DEVICE unsigned read_record(unsigned (&a)[4], const unsigned char* record) {
    unsigned lane = threadIdx.x % WARP_SIZE, g = lane / 4, q = lane % 4;
    UNROLL for (unsigned half = 0; half < 2; half++) {
        const unsigned char* at = record + (half * WARP_SIZE + lane) * 4 * sizeof(W);
        if (sizeof(W) == 1) {
            // Signed codes with an offset of 128.
            unsigned four = *reinterpret_cast<const unsigned*>(at) ^ 0x80808080u;
            Factors<T>::of(INT8, four, 128, a[half], a[half + 2]);
        } else {
            TwoWords words = *reinterpret_cast<const TwoWords*>(at);
            UNROLL for (unsigned i = 0; i < 2; i++) a[half + 2 * i] = words.at[i];
        }
    }
    return reinterpret_cast<const unsigned*>(record + RECORD_VALUES<W>)[2 * g + q % 2];
}

template <class T, class W>
struct Scaled {
    const TwoOfFourParams& p;
    static constexpr bool reads = false;

    DEVICE T operator()(float sum, T, unsigned feature) const {
        if (sizeof(W) == 1) sum = __fmul_rn(sum, reinterpret_cast<const float*>(p.scales)[feature]);
        Layer<T> layer = {p.product.bias, p.product.bias_step, p.product.activation};
        return layer(sum, T{}, feature);
    }
};

// A tile of DOWN × OVER warps, each of HIGH × 16 rows of the weight by WIDE × 8 rows of x.
template <class T, class W, int HIGH, int WIDE, int DOWN, int OVER>
DEVICE void linear_tile(const TwoOfFourParams& params) {
    const ProductParams& p = params.product;
    constexpr int SIZE = HIGH * 16 * DOWN, THREADS = DOWN * OVER * WARP_SIZE;
    static_assert(SIZE == WIDE * 8 * OVER && RECORD_INPUTS * sizeof(T) == ROW_BYTES, "tiles are square, and a stage is a record deep");
    constexpr unsigned TALL = SIZE / RECORD_ROWS, CHUNKS = RECORD_BYTES<W> / 16;
    struct Shared {
        alignas(16) unsigned char weight[STAGES][TALL][RECORD_BYTES<W>];
        alignas(16) unsigned char x[STAGES][SIZE * ROW_BYTES];
    };
    SHARED(Shared, shared);
    Place place = place_of_block<SIZE>(p);
    Factor x = {p.right + place.column * p.right_row * sizeof(T), p.right_row, 1, p.columns - place.column, p.k, p.right_way};
    unsigned steps = records_of_row(p.k), first = place.row / RECORD_ROWS, last = (p.rows - 1) / RECORD_ROWS;
    auto start = [&](unsigned step) {
        if (step < steps) {
            for (unsigned c = threadIdx.x; c < TALL * CHUNKS; c += THREADS) {
                // Beyond the last tile stands that one again: no places are places too, which the tensor cores do not take.
                const unsigned char* record = record_at<W>(p.left, p.k, min(first + c / CHUNKS, last), step);
                copy_start(shared.weight[step % STAGES][c / CHUNKS] + c % CHUNKS * 16, record + c % CHUNKS * 16, 16);
            }
            stage<T, SIZE, THREADS, false>(shared.x[step % STAGES], x, step * RECORD_INPUTS);
        }
        copy_commit();
    };
    unsigned lane = threadIdx.x % WARP_SIZE, warp = threadIdx.x / WARP_SIZE, row = warp / OVER * HIGH, column = warp % OVER * WIDE * 8;
    float sum[HIGH][WIDE][4] = {}, total[HIGH][WIDE][4] = {};
    UNROLL for (unsigned step = 0; step < STAGES - 1; step++) start(step);
    for (unsigned step = 0; step < steps; step++) {
        copy_wait<STAGES - 2>();
        // The stage has arrived for all, and all are done with the one that is filled next.
        __syncthreads();
        start(step + STAGES - 1);
        unsigned b[WIDE][4];
        UNROLL for (int j = 0; j < WIDE; j++) {
            load_matrices(b[j], shared.x[step % STAGES] + chunk_place(column + 8 * j + lane % 8, lane / 8));
        }
        UNROLL for (int i = 0; i < HIGH; i++) {
            unsigned a[4], places = read_record<T, W>(a, shared.weight[step % STAGES][row + i]);
            UNROLL for (int j = 0; j < WIDE; j++) multiply_add_sparse<T, 0>(sum[i][j], a, b[j], places);
        }
        if ((step + 1) * RECORD_INPUTS % p.part != 0 && step + 1 < steps) continue;
        UNROLL for (int i = 0; i < HIGH * WIDE * 4; i++) {
            total[i / (WIDE * 4)][i / 4 % WIDE][i % 4] += sum[i / (WIDE * 4)][i / 4 % WIDE][i % 4];
            sum[i / (WIDE * 4)][i / 4 % WIDE][i % 4] = 0.0f;
        }
    }
    copy_wait<0>();
    UNROLL for (int i = 0; i < HIGH; i++) {
        UNROLL for (int j = 0; j < WIDE; j++) {
            store_results<T>(p, 0, place.row + 16 * (row + i), place.column + column + 8 * j, total[i][j], Scaled<T, W>{params});
        }
    }
}

// Sixteen rows of the weight by up to sixteen of x: each warp streams its part of the weight through memory of its own.
template <class T, class W>
DEVICE void linear_few(const TwoOfFourParams& params) {
    const ProductParams& p = params.product;
    constexpr unsigned RING = 4, CHUNKS = RECORD_BYTES<W> / 16;
    struct Shared {
        alignas(16) unsigned char weight[PARTS][RING][RECORD_BYTES<W>];
        FewSums sums;
    };
    SHARED(Shared, shared);
    unsigned lane = threadIdx.x % WARP_SIZE, warp = threadIdx.x / WARP_SIZE;
    unsigned begin = min(warp * p.part, p.k), end = min(begin + p.part, p.k), steps = records_of_row(end - begin);
    auto start = [&](unsigned step) {
        if (step < steps) {
            const unsigned char* record = record_at<W>(p.left, p.k, blockIdx.x, begin / RECORD_INPUTS + step);
            for (unsigned c = lane; c < CHUNKS; c += WARP_SIZE) copy_start(shared.weight[warp][step % RING] + c * 16, record + c * 16, 16);
        }
        copy_commit();
    };
    float sum[2][4] = {};
    UNROLL for (unsigned step = 0; step < RING - 1; step++) start(step);
    for (unsigned step = 0; step < steps; step++) {
        unsigned b[2][4];
        read_few<T>(p, b, begin + step * RECORD_INPUTS);
        copy_wait<RING - 2>();
        __syncwarp();
        unsigned a[4], places = read_record<T, W>(a, shared.weight[warp][step % RING]);
        multiply_add_sparse<T, 0>(sum[0], a, b[0], places);
        if (p.columns > 8) multiply_add_sparse<T, 0>(sum[1], a, b[1], places);
        __syncwarp();
        start(step + RING - 1);
    }
    copy_wait<0>();
    store_few<T>(p, shared.sums, sum, [&](float total, unsigned feature) { return Scaled<T, W>{params}(total, T{}, feature); });
}

#define LAYERS(x, X, w, W)                                                                                        \
    KERNEL(linear_two_of_four_##x##_##w##_large, TwoOfFourParams, 256) { linear_tile<X, W, 4, 4, 2, 4>(p); }      \
    KERNEL(linear_two_of_four_##x##_##w##_small, TwoOfFourParams, 128) { linear_tile<X, W, 2, 4, 2, 2>(p); }      \
    KERNEL(linear_two_of_four_##x##_##w##_few, TwoOfFourParams, 256) { linear_few<X, W>(p); }

LAYERS(bf16, Bf16, bf16, Bf16)
LAYERS(bf16, Bf16, i8, signed char)
LAYERS(f16, F16, f16, F16)
LAYERS(f16, F16, i8, signed char)
