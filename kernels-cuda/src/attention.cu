// out[b, t, h] = sum over s of softmax(scale * <q[b, t, h], k[b, s, g]>) * v[b, s, g], with the running softmax of FlashAttention-2
// (algorithm 1). Keys that no row of a tile sees are skipped.
//
// 16-bit types: a block of four warps has 64 rows, a warp 16 of them in registers. Keys and values come by tiles, one buffer each:
// values are copied while scores are computed, the next keys while values are summed. The bound of the result leaves no room for
// weights rounded to 16 bits: they are taken as the sum of two (2^-18 of a weight in bf16, 64 u, less than what the sum over more than
// 64 keys may be off by), or of three where a row sees fewer keys. Weights split so make NaN of an infinite value: a block whose sums
// are not finite does its rows again on CUDA cores, in f32 and with nothing multiplied that is masked.
//
// Few rows over many keys (decode): a block per 256 keys whatever the batch, its warps side by side over the keys of a tile; a second
// kernel joins the parts in order.
//
// f32: CUDA cores, by tiles of 64 rows and 64 keys, for 128 columns of the result.
#include "attention_cores.cuh"
#include "attention_tensor.cuh"

constexpr unsigned SPLIT_KEYS = 256;
// More keys than this, and two 16-bit values are enough of a weight.
constexpr unsigned FEW_KEYS = 64;
constexpr unsigned CORES_COLUMNS = 128;

// What a block does: a tile of rows, and a range of keys of which the last row sees the end.
struct Work {
    Problem problem;
    unsigned first, split, start, end;

    template <bool SPLIT, int ROWS>
    DEVICE static Work of(const AttentionParams& p, unsigned block) {
        unsigned split = SPLIT ? block % p.splits : 0, rest = SPLIT ? block / p.splits : block;
        // The tiles that see most keys come first.
        unsigned tile = p.tiles - 1 - rest % p.tiles;
        Work work = {Problem(p, rest / p.tiles), tile * ROWS, split, split * SPLIT_KEYS, 0};
        work.end = work.problem.visible(min(work.first + ROWS, p.rows) - 1);
        if (SPLIT) work.end = min(work.end, work.start + SPLIT_KEYS);
        return work;
    }
};

// The rows of a block on CUDA cores, columns `column` up to CORES_COLUMNS more.
template <class T, bool SPLIT>
DEVICE void on_cores(const Work& work, Cores& stage, unsigned column) {
    const Problem& problem = work.problem;
    const AttentionParams& p = problem.p;
    unsigned own = work.first + threadIdx.x % CORES_ROWS;
    const T* q = own < p.rows ? problem.row<const T>(p.q, own) : nullptr;
    unsigned columns = min(p.head_dim - column, CORES_COLUMNS);
    Softmax softmax[4];
    float sums[2][4][8] = {};
    for (unsigned start = work.start; start < work.end; start += CORES_ROWS) {
        unsigned count = min(work.end - start, CORES_ROWS), mine = threadIdx.x % CORES_ROWS;
        float s[4][8] = {};
        dots(stage, s, q, mine < count ? problem.key<const T>(p.k, start + mine) : nullptr, p.head_dim);
        Seen seen;
        UNROLL for (unsigned i = 0; i < 4; i++) {
            unsigned visible = problem.visible(min(work.first + 4 * cores_y() + i, p.rows - 1));
            seen.low[i] = 0;
            seen.high[i] = visible > start ? visible - start : 0;
            float top = -INFINITY;
            UNROLL for (unsigned j = 0; j < 8; j++) {
                s[i][j] = seen(i, other_of(cores_x(), j)) ? s[i][j] * (p.scale * LOG2_E) : -INFINITY;
                top = fmaxf(top, s[i][j]);
            }
            float fade = softmax[i].raise(greatest_of<8>(top));
            UNROLL for (unsigned j = 0; j < 8; j++) {
                s[i][j] = exp2f(s[i][j] - softmax[i].shift());
                softmax[i].sum += s[i][j];
                sums[0][i][j] *= fade;
                sums[1][i][j] *= fade;
            }
        }
        keep_weights(stage, s);
        UNROLL for (unsigned half = 0; half < 2; half++) {
            if (half > 0 && 64 * half >= columns) break;
            unsigned from = column + 64 * half, wide = min(columns - 64 * half, 64u);
            mix<T>(stage, sums[half], seen, count, wide, [&](unsigned k) { return problem.key<const T>(p.v, start + k) + from; });
        }
    }
    UNROLL for (unsigned i = 0; i < 4; i++) {
        softmax[i].sum = sum_of<8>(softmax[i].sum);
        unsigned row = work.first + 4 * cores_y() + i;
        if (row >= p.rows) continue;
        float factor = SPLIT ? 1.0f : softmax[i].inverse();
        UNROLL for (unsigned half = 0; half < 2; half++) {
            UNROLL for (unsigned j = 0; j < 8; j++) {
                unsigned at = 64 * half + other_of(cores_x(), j);
                if (at >= columns) continue;
                if (SPLIT) {
                    problem.part(row, work.split)[2 + column + at] = sums[half][i][j];
                } else {
                    problem.row<T>(p.out, row)[column + at] = narrow<T>(sums[half][i][j] * factor);
                }
            }
        }
        if (cores_x() > 0 || column > 0) continue;
        if (SPLIT) {
            problem.part(row, work.split)[0] = softmax[i].top;
            problem.part(row, work.split)[1] = softmax[i].sum;
        } else if (p.lse.first) {
            *problem.row<float>(p.lse, row) = softmax[i].lse();
        }
    }
}

template <class T, bool SPLIT>
DEVICE void attention_cores(const AttentionParams& p) {
    SHARED(Cores, stage);
    unsigned slice = blockIdx.x % p.slices;
    Work work = Work::of<SPLIT, CORES_ROWS>(p, blockIdx.x / p.slices);
    if (SPLIT && work.start >= work.end) return;
    on_cores<T, SPLIT>(work, stage, slice * CORES_COLUMNS);
}

template <class T>
struct Weights;
template <>
struct Weights<Bf16> {
    static constexpr float UNIT = 1.0f;
    static constexpr int MOST_PARTS = 3;
    DEVICE static float of(float weight) { return weight; }
};
// Scaled into the range of f16, and not to vanish before an infinite value.
template <>
struct Weights<F16> {
    static constexpr float UNIT = 16384.0f;
    static constexpr int MOST_PARTS = 2;
    DEVICE static float of(float weight) {
        weight *= UNIT;
        return weight < 5.9604645e-8f ? 5.9604645e-8f : weight;
    }
};

template <class T, int WIDTH, int KEYS, bool SPLIT>
DEVICE void attention(const AttentionParams& p) {
    constexpr unsigned ROWS = SPLIT ? 16 : 64;
    // Keys of a tile that are a warp's.
    constexpr unsigned MINE = SPLIT ? KEYS / 4 : KEYS;
    union alignas(16) Storage {
        Chunk<T> tiles[2 * KEYS * WIDTH / 8];
        Cores cores;
        // Of four warps: sums of 16 rows over 64 columns.
        float sums[4][16][64];
    };
    struct Meeting {
        float tops[4][16], sums[4][16];
        unsigned bad[4];
    };
    SHARED(Storage, storage);
    SHARED(Meeting, meeting);
    Rows<T, WIDTH> keys = {storage.tiles}, values = {storage.tiles + KEYS * WIDTH / 8};
    Work work = Work::of<SPLIT, ROWS>(p, blockIdx.x);
    if (SPLIT && work.start >= work.end) return;
    const Problem& problem = work.problem;
    unsigned lane = threadIdx.x % WARP_SIZE, warp = threadIdx.x / WARP_SIZE;
    unsigned warp_row = SPLIT ? 0 : 16 * warp, warp_key = SPLIT ? MINE * warp : 0;
    unsigned fewest = problem.visible(work.first);

    unsigned queries[WIDTH / 16][4];
    keys.template load<ROWS>(work.first, p.rows, p.head_dim, p.whole, [&](unsigned row) { return problem.row<const T>(p.q, row); });
    copy_commit();
    copy_wait<0>();
    __syncthreads();
    UNROLL for (unsigned i = 0; i < WIDTH / 16; i++) keys.own(queries[i], warp_row, 16 * i);
    __syncthreads();

    auto load_keys = [&](unsigned start) {
        keys.template load<KEYS>(start, work.end, p.head_dim, p.whole, [&](unsigned key) { return problem.key<const T>(p.k, key); });
        copy_commit();
    };
    unsigned visible[2];
    UNROLL for (unsigned i = 0; i < 2; i++) visible[i] = problem.visible(min(work.first + warp_row + lane / 4 + 8 * i, p.rows - 1));
    Softmax softmax[2];
    float sums[WIDTH / 8][4] = {};
    if (work.start < work.end) load_keys(work.start);
    for (unsigned start = work.start; start < work.end; start += KEYS) {
        copy_wait<0>();
        __syncthreads();
        values.template load<KEYS>(start, work.end, p.head_dim, p.whole, [&](unsigned key) { return problem.key<const T>(p.v, key); });
        copy_commit();
        float s[MINE / 8][4] = {};
        scores<T, WIDTH, MINE>(s, [&](unsigned (&a)[4], unsigned column) {
            UNROLL for (int i = 0; i < 4; i++) a[i] = queries[column / 16][i];
        }, keys, warp_key);

        unsigned first_key = start + warp_key + lane % 4 * 2;
        bool masked = start + KEYS > fewest;
        float fade[2];
        UNROLL for (unsigned i = 0; i < 2; i++) {
            float top = -INFINITY;
            UNROLL for (unsigned n = 0; n < MINE / 8; n++) {
                UNROLL for (unsigned j = 0; j < 2; j++) {
                    float& score = s[n][2 * i + j];
                    score *= p.scale * LOG2_E;
                    if (masked && first_key + 8 * n + j >= visible[i]) score = -INFINITY;
                    top = fmaxf(top, score);
                }
            }
            fade[i] = softmax[i].raise(greatest_of<4>(top));
            float shift = softmax[i].shift();
            UNROLL for (unsigned n = 0; n < MINE / 8; n++) {
                UNROLL for (unsigned j = 0; j < 2; j++) {
                    float& weight = s[n][2 * i + j];
                    weight = Weights<T>::of(exp2f(weight - shift));
                    if (masked && first_key + 8 * n + j >= visible[i]) weight = 0.0f;
                    softmax[i].sum += weight;
                }
            }
        }
        // Seldom after the first tiles.
        if (__ballot_sync(ALL_LANES, fade[0] != 1.0f || fade[1] != 1.0f)) {
            UNROLL for (unsigned n = 0; n < WIDTH / 8; n++) {
                UNROLL for (unsigned i = 0; i < 4; i++) sums[n][i] *= fade[i / 2];
            }
        }

        copy_wait<0>();
        __syncthreads();
        if (start + KEYS < work.end) load_keys(start + KEYS);
        if (Weights<T>::MOST_PARTS > 2 && fewest <= FEW_KEYS) {
            weigh<Weights<T>::MOST_PARTS, T, WIDTH, MINE, WIDTH>(sums, s, values, warp_key, 0);
        } else {
            weigh<2, T, WIDTH, MINE, WIDTH>(sums, s, values, warp_key, 0);
        }
    }

    bool bad = false;
    UNROLL for (unsigned n = 0; n < WIDTH / 8; n++) {
        // NaN where the sum is not finite.
        UNROLL for (unsigned i = 0; i < 4; i++) bad = bad || sums[n][i] * 0.0f != 0.0f;
    }
    unsigned bad_lanes = __ballot_sync(ALL_LANES, bad);
    if (lane == 0) meeting.bad[warp] = bad_lanes;
    UNROLL for (unsigned i = 0; i < 2; i++) {
        softmax[i].sum = sum_of<4>(softmax[i].sum) * (1.0f / Weights<T>::UNIT);
        if (SPLIT && lane % 4 == 0) {
            meeting.tops[warp][lane / 4 + 8 * i] = softmax[i].top;
            meeting.sums[warp][lane / 4 + 8 * i] = softmax[i].sum;
        }
    }
    __syncthreads();
    if (meeting.bad[0] | meeting.bad[1] | meeting.bad[2] | meeting.bad[3]) {
        for (unsigned column = 0; column < p.head_dim; column += CORES_COLUMNS) on_cores<T, SPLIT>(work, storage.cores, column);
        return;
    }

    float factor[2];
    if constexpr (!SPLIT) {
        UNROLL for (unsigned i = 0; i < 2; i++) {
            factor[i] = softmax[i].inverse() * (1.0f / Weights<T>::UNIT);
            unsigned row = work.first + warp_row + lane / 4 + 8 * i;
            if (p.lse.first && lane % 4 == 0 && row < p.rows) *problem.row<float>(p.lse, row) = softmax[i].lse();
        }
        Rows<T, WIDTH> stage = {storage.tiles + warp * 16 * WIDTH / 8};
        store_rows<T, WIDTH>(stage, sums, factor, p.head_dim, p.whole_out, [&](unsigned i) {
            unsigned row = work.first + warp_row + i;
            return row < p.rows ? problem.row<T>(p.out, row) : nullptr;
        });
    } else {
        // The warps' parts, joined in order.
        UNROLL for (unsigned i = 0; i < 2; i++) {
            unsigned row = lane / 4 + 8 * i;
            Softmax all;
            UNROLL for (unsigned w = 0; w < 4; w++) all.top = fmaxf(all.top, meeting.tops[w][row]);
            UNROLL for (unsigned w = 0; w < 4; w++) all.sum += meeting.sums[w][row] * exp2f(meeting.tops[w][row] - all.shift());
            factor[i] = exp2f(softmax[i].top - all.shift()) * (1.0f / Weights<T>::UNIT);
            if (warp == 0 && lane % 4 == 0 && work.first + row < p.rows) {
                problem.part(work.first + row, work.split)[0] = all.top;
                problem.part(work.first + row, work.split)[1] = all.sum;
            }
        }
        UNROLL for (unsigned start = 0; start < WIDTH; start += 64) {
            if (start >= p.head_dim) break;
            UNROLL for (unsigned n = 0; n < 8; n++) {
                UNROLL for (unsigned i = 0; i < 4; i++) {
                    storage.sums[warp][lane / 4 + 8 * (i / 2)][8 * n + lane % 4 * 2 + i % 2] = sums[start / 8 + n][i] * factor[i / 2];
                }
            }
            __syncthreads();
            for (unsigned i = threadIdx.x; i < 16 * 64; i += ATTENTION_THREADS) {
                unsigned row = i / 64, column = i % 64;
                if (work.first + row >= p.rows || start + column >= p.head_dim) continue;
                float sum = 0.0f;
                UNROLL for (unsigned w = 0; w < 4; w++) sum += storage.sums[w][row][column];
                problem.part(work.first + row, work.split)[2 + start + column] = sum;
            }
            __syncthreads();
        }
    }
}

// The parts of a row, joined in order: a block per row.
template <class T>
DEVICE void attention_join(const AttentionParams& p) {
    Problem problem(p, blockIdx.x / p.rows);
    unsigned row = blockIdx.x % p.rows;
    unsigned splits = (problem.visible(row) + SPLIT_KEYS - 1) / SPLIT_KEYS;
    for (unsigned start = 0; start == 0 || start < p.head_dim; start += ATTENTION_THREADS) {
        unsigned column = start + threadIdx.x;
        Softmax softmax;
        float sum = 0.0f;
        for (unsigned split = 0; split < splits; split++) {
            const float* part = problem.part(row, split);
            float fade = softmax.raise(part[0]), rise = exp2f(part[0] - softmax.shift());
            softmax.sum = fmaf(part[1], rise, softmax.sum);
            if (column < p.head_dim) sum = fmaf(part[2 + column], rise, sum * fade);
        }
        if (column < p.head_dim) problem.row<T>(p.out, row)[column] = narrow<T>(sum * softmax.inverse());
        if (p.lse.first && column == 0) *problem.row<float>(p.lse, row) = softmax.lse();
    }
}

// `blocks` on a multiprocessor, said aloud: left to itself, the compiler makes room for a third and moves registers to memory for it.
#define TENSOR_KERNELS(width, keys, blocks)                                                              \
    SHARING_KERNEL(attention_##width##_bf16, AttentionParams, ATTENTION_THREADS, blocks) {               \
        attention<Bf16, width, keys, false>(p);                                                          \
    }                                                                                                    \
    SHARING_KERNEL(attention_##width##_f16, AttentionParams, ATTENTION_THREADS, blocks) {                \
        attention<F16, width, keys, false>(p);                                                           \
    }                                                                                                    \
    SHARING_KERNEL(attention_split_##width##_bf16, AttentionParams, ATTENTION_THREADS, blocks) {         \
        attention<Bf16, width, keys, true>(p);                                                           \
    }                                                                                                    \
    SHARING_KERNEL(attention_split_##width##_f16, AttentionParams, ATTENTION_THREADS, blocks) {          \
        attention<F16, width, keys, true>(p);                                                            \
    }
TENSOR_KERNELS(64, 64, 2)
TENSOR_KERNELS(128, 64, 2)
TENSOR_KERNELS(256, 32, 1)

#define CORES_KERNELS(name, T)                                                                                \
    KERNEL(attention_cores_##name, AttentionParams, ATTENTION_THREADS) { attention_cores<T, false>(p); }      \
    KERNEL(attention_split_cores_##name, AttentionParams, ATTENTION_THREADS) { attention_cores<T, true>(p); }
CORES_KERNELS(f32, float)
CORES_KERNELS(bf16, Bf16)
CORES_KERNELS(f16, F16)
FLOAT_KERNELS(attention_join, AttentionParams, ATTENTION_THREADS)
