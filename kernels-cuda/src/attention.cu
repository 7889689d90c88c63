// out[b, t, h] = sum over s of softmax(scale * <q[b, t, h], k[b, s, g]>) * v[b, s, g], with the running softmax of FlashAttention-2
// (algorithm 1). Keys that no row of a tile sees are skipped.
//
// 16-bit types: a block of four warps has 64 rows, a warp 16 of them in registers. Keys and values come by tiles, one buffer each:
// values are copied while scores are computed, the next keys while values are summed. The bound of the result leaves no room for
// weights rounded to 16 bits: they are taken as the sum of two (2^-18 of a weight in bf16, 64 u, less than what the sum over more than
// 64 keys may be off by), or of three where a row sees fewer keys. Weights split so make NaN of an infinite value: a block whose sums
// are not finite does its rows again on CUDA cores, in f32 and with nothing multiplied that is masked.
//
// Few rows (decode): a block per 256 keys whatever the batch, of which each of its warps has every fourth tile, and memory of its own
// into which keys and values are copied some tiles ahead: no warp waits for another before all are done. Where there are more blocks
// than one, a second kernel joins their parts in order.
//
// f32: CUDA cores, by tiles of 64 rows and 64 keys, for 128 columns of the result.
#include "attention_cores.cuh"
#include "attention_tensor.cuh"

constexpr unsigned SPLIT_KEYS = 256;
// More keys than this, and two 16-bit values are enough of a weight.
constexpr unsigned FEW_KEYS = 64;
constexpr unsigned CORES_COLUMNS = 128;

// What a block does: a tile of rows, and a range of keys of which the last row sees the end. CUT: keys may be cut into parts.
template <bool CUT>
struct Work {
    Problem problem;
    unsigned first, split, start, end;

    template <int ROWS>
    DEVICE static Work of(const AttentionParams& p, unsigned block) {
        unsigned split = block % p.splits, rest = block / p.splits;
        // The tiles that see most keys come first.
        unsigned tile = p.tiles - 1 - rest % p.tiles;
        Work work = {Problem(p, rest / p.tiles), tile * ROWS, split, split * SPLIT_KEYS, 0};
        work.end = work.problem.visible(min(work.first + ROWS, p.rows) - 1);
        if (work.is_part()) work.end = min(work.end, work.start + SPLIT_KEYS);
        return work;
    }

    DEVICE bool is_part() const { return CUT && problem.p.splits > 1; }
    // Nobody asks for a part without keys.
    DEVICE bool is_idle() const { return is_part() && start >= end; }
};

// The rows of a block on CUDA cores, columns `column` up to CORES_COLUMNS more.
template <class T, bool CUT>
DEVICE void on_cores(const Work<CUT>& work, Cores& stage, unsigned column) {
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
        float factor = softmax[i].inverse();
        UNROLL for (unsigned half = 0; half < 2; half++) {
            UNROLL for (unsigned j = 0; j < 8; j++) {
                unsigned at = 64 * half + other_of(cores_x(), j);
                if (at >= columns) continue;
                if (work.is_part()) {
                    problem.part(row, work.split)[column + at] = sums[half][i][j];
                } else {
                    problem.row<T>(p.out, row)[column + at] = narrow<T>(sums[half][i][j] * factor);
                }
            }
        }
        if (cores_x() > 0 || column > 0) continue;
        if (work.is_part()) {
            problem.tally(row, work.split)[0] = softmax[i].top;
            problem.tally(row, work.split)[1] = softmax[i].sum;
        } else if (p.lse.first) {
            *problem.row<float>(p.lse, row) = softmax[i].lse();
        }
    }
}

template <class T>
DEVICE void attention_cores(const AttentionParams& p) {
    SHARED(Cores, stage);
    unsigned slice = blockIdx.x % p.slices;
    auto work = Work<true>::of<CORES_ROWS>(p, blockIdx.x / p.slices);
    if (work.is_idle()) return;
    on_cores<T>(work, stage, slice * CORES_COLUMNS);
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

// Scores of a warp's tile to weights, in place, with sums of weights along; true if what has been summed over values is to fade.
template <class T, int KEYS>
DEVICE bool to_weights(float (&s)[KEYS / 8][4], Softmax (&softmax)[2], float (&fade)[2], float scale, unsigned first_key, bool masked, const unsigned (&visible)[2]) {
    UNROLL for (unsigned i = 0; i < 2; i++) {
        float top = -INFINITY;
        UNROLL for (unsigned n = 0; n < KEYS / 8; n++) {
            UNROLL for (unsigned j = 0; j < 2; j++) {
                float& score = s[n][2 * i + j];
                score *= scale;
                if (masked && first_key + 8 * n + j >= visible[i]) score = -INFINITY;
                top = fmaxf(top, score);
            }
        }
        fade[i] = softmax[i].raise(greatest_of<4>(top));
        float shift = softmax[i].shift();
        UNROLL for (unsigned n = 0; n < KEYS / 8; n++) {
            UNROLL for (unsigned j = 0; j < 2; j++) {
                float& weight = s[n][2 * i + j];
                weight = Weights<T>::of(exp2f(weight - shift));
                if (masked && first_key + 8 * n + j >= visible[i]) weight = 0.0f;
                softmax[i].sum += weight;
            }
        }
    }
    // Seldom after the first tiles.
    return __ballot_sync(ALL_LANES, fade[0] != 1.0f || fade[1] != 1.0f) != 0;
}

// Adds a warp's tile of values, weighted, to what has been summed.
template <class T, int WIDTH, int KEYS>
DEVICE void add_values(float (&sums)[WIDTH / 8][4], float (&weights)[KEYS / 8][4], const Rows<T, WIDTH>& values, bool few_keys) {
    if (Weights<T>::MOST_PARTS > 2 && few_keys) {
        weigh<Weights<T>::MOST_PARTS, T, WIDTH, KEYS, WIDTH>(sums, weights, values, 0, 0);
    } else {
        weigh<2, T, WIDTH, KEYS, WIDTH>(sums, weights, values, 0, 0);
    }
}

template <int COLUMNS>
DEVICE void fade_out(float (&sums)[COLUMNS / 8][4], const float (&fade)[2]) {
    UNROLL for (unsigned n = 0; n < COLUMNS / 8; n++) {
        UNROLL for (unsigned i = 0; i < 4; i++) sums[n][i] *= fade[i / 2];
    }
}

// Whether a sum of any thread of the block is not finite.
template <int COLUMNS>
DEVICE bool any_bad(unsigned (&of_warps)[4], const float (&sums)[COLUMNS / 8][4]) {
    bool bad = false;
    UNROLL for (unsigned n = 0; n < COLUMNS / 8; n++) {
        // NaN where the sum is not finite.
        UNROLL for (unsigned i = 0; i < 4; i++) bad = bad || sums[n][i] * 0.0f != 0.0f;
    }
    unsigned bad_lanes = __ballot_sync(ALL_LANES, bad);
    if (threadIdx.x % WARP_SIZE == 0) of_warps[threadIdx.x / WARP_SIZE] = bad_lanes;
    __syncthreads();
    return (of_warps[0] | of_warps[1] | of_warps[2] | of_warps[3]) != 0;
}

template <class T, bool CUT>
DEVICE void again_on_cores(const Work<CUT>& work, Cores& stage) {
    for (unsigned column = 0; column < work.problem.p.head_dim; column += CORES_COLUMNS) on_cores<T>(work, stage, column);
}

template <class T, int WIDTH, int KEYS>
DEVICE void attention(const AttentionParams& p) {
    constexpr unsigned ROWS = 64;
    union alignas(16) Storage {
        Chunk<T> tiles[2 * KEYS * WIDTH / 8];
        Cores cores;
    };
    struct Meeting {
        unsigned bad[4];
    };
    SHARED(Storage, storage);
    SHARED(Meeting, meeting);
    Rows<T, WIDTH> keys = {storage.tiles}, values = {storage.tiles + KEYS * WIDTH / 8};
    auto work = Work<false>::of<ROWS>(p, blockIdx.x);
    const Problem& problem = work.problem;
    unsigned lane = threadIdx.x % WARP_SIZE, warp = threadIdx.x / WARP_SIZE, warp_row = 16 * warp;
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
    if (work.end > 0) load_keys(0);
    for (unsigned start = 0; start < work.end; start += KEYS) {
        copy_wait<0>();
        __syncthreads();
        values.template load<KEYS>(start, work.end, p.head_dim, p.whole, [&](unsigned key) { return problem.key<const T>(p.v, key); });
        copy_commit();
        float s[KEYS / 8][4] = {};
        scores<T, WIDTH, KEYS>(s, [&](unsigned (&a)[4], unsigned column) {
            UNROLL for (int i = 0; i < 4; i++) a[i] = queries[column / 16][i];
        }, keys, 0);
        float fade[2];
        bool fades = to_weights<T, KEYS>(s, softmax, fade, p.scale * LOG2_E, start + lane % 4 * 2, start + KEYS > fewest, visible);
        if (fades) fade_out<WIDTH>(sums, fade);

        copy_wait<0>();
        __syncthreads();
        if (start + KEYS < work.end) load_keys(start + KEYS);
        add_values<T, WIDTH, KEYS>(sums, s, values, fewest <= FEW_KEYS);
    }

    UNROLL for (unsigned i = 0; i < 2; i++) softmax[i].sum = sum_of<4>(softmax[i].sum) * (1.0f / Weights<T>::UNIT);
    if (any_bad<WIDTH>(meeting.bad, sums)) return again_on_cores<T>(work, storage.cores);
    float factor[2];
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
}

// Up to 16 rows. A tile is KEYS keys, or their values: RING of them are a warp's memory, keys and values by turns.
template <class T, int WIDTH, int KEYS, int RING>
DEVICE void attention_few(const AttentionParams& p) {
    constexpr unsigned ROWS = 16, WARPS = ATTENTION_THREADS / WARP_SIZE;
    struct alignas(16) Tiles {
        Chunk<T> queries[ROWS * WIDTH / 8];
        Chunk<T> ring[WARPS][RING][KEYS * WIDTH / 8];
    };
    union alignas(16) Storage {
        Tiles tiles;
        Cores cores;
        // Over 64 columns.
        float sums[WARPS][ROWS][64];
    };
    struct Meeting {
        float tops[WARPS][ROWS], sums[WARPS][ROWS], inverse[ROWS];
        unsigned bad[WARPS];
    };
    SHARED(Storage, storage);
    SHARED(Meeting, meeting);
    auto work = Work<true>::of<ROWS>(p, blockIdx.x);
    if (work.is_idle()) return;
    const Problem& problem = work.problem;
    unsigned lane = threadIdx.x % WARP_SIZE, warp = threadIdx.x / WARP_SIZE;
    unsigned fewest = problem.visible(0);
    auto first_of = [&](unsigned tile) { return work.start + (tile * WARPS + warp) * KEYS; };
    // Of keys where `number` is even, of values where it is odd.
    auto place_of = [&](unsigned number) { return Rows<T, WIDTH>{storage.tiles.ring[warp][number % RING]}; };
    auto start = [&](unsigned number) {
        unsigned first = first_of(number / 2);
        if (first < work.end) {
            place_of(number).template load<KEYS, WARP_SIZE>(first, work.end, p.head_dim, p.whole, [&](unsigned key) {
                return number % 2 ? problem.key<const T>(p.v, key) : problem.key<const T>(p.k, key);
            });
        }
        copy_commit();
    };
    Rows<T, WIDTH> own = {storage.tiles.queries};
    own.template load<ROWS>(0, p.rows, p.head_dim, p.whole, [&](unsigned row) { return problem.row<const T>(p.q, row); });
    copy_commit();
    UNROLL for (unsigned number = 0; number < RING; number++) start(number);
    copy_wait<RING>();
    __syncthreads();

    unsigned visible[2];
    UNROLL for (unsigned i = 0; i < 2; i++) visible[i] = problem.visible(min(lane / 4 + 8 * i, p.rows - 1));
    Softmax softmax[2];
    float sums[WIDTH / 8][4] = {};
    for (unsigned tile = 0; first_of(tile) < work.end; tile++) {
        copy_wait<RING - 1>();
        __syncwarp();
        float s[KEYS / 8][4] = {};
        scores<T, WIDTH, KEYS>(s, [&](unsigned (&a)[4], unsigned column) { own.own(a, 0, column); }, place_of(2 * tile), 0);
        __syncwarp();
        start(2 * tile + RING);
        float fade[2];
        unsigned first = first_of(tile);
        bool fades = to_weights<T, KEYS>(s, softmax, fade, p.scale * LOG2_E, first + lane % 4 * 2, first + KEYS > fewest, visible);
        if (fades) fade_out<WIDTH>(sums, fade);

        copy_wait<RING - 1>();
        __syncwarp();
        add_values<T, WIDTH, KEYS>(sums, s, place_of(2 * tile + 1), fewest <= FEW_KEYS);
        __syncwarp();
        start(2 * tile + 1 + RING);
    }

    UNROLL for (unsigned i = 0; i < 2; i++) {
        softmax[i].sum = sum_of<4>(softmax[i].sum) * (1.0f / Weights<T>::UNIT);
        if (lane % 4 == 0) {
            meeting.tops[warp][lane / 4 + 8 * i] = softmax[i].top;
            meeting.sums[warp][lane / 4 + 8 * i] = softmax[i].sum;
        }
    }
    if (any_bad<WIDTH>(meeting.bad, sums)) return again_on_cores<T>(work, storage.cores);

    // The warps' sums, joined in order.
    float factor[2];
    UNROLL for (unsigned i = 0; i < 2; i++) {
        unsigned row = lane / 4 + 8 * i;
        Softmax all;
        UNROLL for (unsigned w = 0; w < WARPS; w++) all.top = fmaxf(all.top, meeting.tops[w][row]);
        UNROLL for (unsigned w = 0; w < WARPS; w++) all.sum += meeting.sums[w][row] * exp2f(meeting.tops[w][row] - all.shift());
        factor[i] = exp2f(softmax[i].top - all.shift()) * (1.0f / Weights<T>::UNIT);
        if (warp > 0 || lane % 4 > 0 || row >= p.rows) continue;
        meeting.inverse[row] = all.inverse();
        if (work.is_part()) {
            problem.tally(row, work.split)[0] = all.top;
            problem.tally(row, work.split)[1] = all.sum;
        } else if (p.lse.first) {
            *problem.row<float>(p.lse, row) = all.lse();
        }
    }
    UNROLL for (unsigned column = 0; column < WIDTH; column += 64) {
        if (column >= p.head_dim) break;
        UNROLL for (unsigned n = 0; n < 8; n++) {
            UNROLL for (unsigned i = 0; i < 4; i++) {
                storage.sums[warp][lane / 4 + 8 * (i / 2)][8 * n + lane % 4 * 2 + i % 2] = sums[column / 8 + n][i] * factor[i / 2];
            }
        }
        __syncthreads();
        for (unsigned i = threadIdx.x; i < p.rows * 64; i += ATTENTION_THREADS) {
            unsigned row = i / 64, at = column + i % 64;
            if (at >= p.head_dim) continue;
            float sum = 0.0f;
            UNROLL for (unsigned w = 0; w < WARPS; w++) sum += storage.sums[w][row][i % 64];
            if (work.is_part()) {
                problem.part(row, work.split)[at] = sum;
            } else {
                problem.row<T>(p.out, row)[at] = narrow<T>(sum * meeting.inverse[row]);
            }
        }
        __syncthreads();
    }
}

// The parts of a row, joined in an order that follows from their number: a block per row, a warp every fourth part.
template <class T>
DEVICE void attention_join(const AttentionParams& p) {
    constexpr unsigned WARPS = ATTENTION_THREADS / WARP_SIZE, COLUMNS = 4 * WARP_SIZE, AHEAD = 8;
    struct Shared {
        float tops[WARPS], totals[WARPS];
        float sums[WARPS][COLUMNS];
    };
    SHARED(Shared, shared);
    Problem problem(p, blockIdx.x / p.rows);
    unsigned row = blockIdx.x % p.rows, lane = threadIdx.x % WARP_SIZE, warp = threadIdx.x / WARP_SIZE;
    unsigned splits = (problem.visible(row) + SPLIT_KEYS - 1) / SPLIT_KEYS;
    const float* tallies = problem.tally(row, 0);
    Softmax all;
    for (unsigned split = threadIdx.x; split < splits; split += ATTENTION_THREADS) all.top = fmaxf(all.top, tallies[2 * split]);
    shared.tops[warp] = greatest_of<WARP_SIZE>(all.top);
    __syncthreads();
    UNROLL for (unsigned w = 0; w < WARPS; w++) all.top = fmaxf(all.top, shared.tops[w]);
    auto rise = [&](unsigned split) { return exp2f(tallies[2 * split] - all.shift()); };
    float total = 0.0f;
    for (unsigned split = threadIdx.x; split < splits; split += ATTENTION_THREADS) total = fmaf(tallies[2 * split + 1], rise(split), total);
    shared.totals[warp] = sum_of<WARP_SIZE>(total);
    __syncthreads();
    UNROLL for (unsigned w = 0; w < WARPS; w++) all.sum += shared.totals[w];
    if (p.lse.first && threadIdx.x == 0) *problem.row<float>(p.lse, row) = all.lse();
    for (unsigned start = 0; start < p.head_dim; start += COLUMNS) {
        unsigned column = start + 4 * lane, count = column < p.head_dim ? min(p.head_dim - column, 4u) : 0;
        float sums[4] = {};
        for (unsigned first = warp; first < splits; first += WARPS * AHEAD) {
            float parts[AHEAD][4] = {}, rises[AHEAD];
            UNROLL for (unsigned i = 0; i < AHEAD; i++) {
                unsigned split = first + i * WARPS;
                rises[i] = split < splits ? rise(split) : 0.0f;
                if (split < splits && count > 0) load_some<float>(problem.part(row, split) + column, count, parts[i]);
            }
            UNROLL for (unsigned i = 0; i < AHEAD; i++) {
                UNROLL for (unsigned k = 0; k < 4; k++) sums[k] = fmaf(parts[i][k], rises[i], sums[k]);
            }
        }
        store_quad(&shared.sums[warp][4 * lane], sums);
        __syncthreads();
        unsigned at = start + threadIdx.x;
        if (at < p.head_dim) {
            float sum = 0.0f;
            UNROLL for (unsigned w = 0; w < WARPS; w++) sum += shared.sums[w][threadIdx.x];
            problem.row<T>(p.out, row)[at] = narrow<T>(sum * all.inverse());
        }
        __syncthreads();
    }
}

// `blocks` on a multiprocessor, said aloud: left to itself, the compiler makes room for a third and moves registers to memory for it.
#define TENSOR_KERNELS(width, keys, blocks)                                                                                             \
    SHARING_KERNEL(attention_##width##_bf16, AttentionParams, ATTENTION_THREADS, blocks) { attention<Bf16, width, keys>(p); }           \
    SHARING_KERNEL(attention_##width##_f16, AttentionParams, ATTENTION_THREADS, blocks) { attention<F16, width, keys>(p); }
TENSOR_KERNELS(64, 64, 2)
TENSOR_KERNELS(128, 64, 2)
TENSOR_KERNELS(256, 32, 1)

#define FEW_KERNELS(width, keys, ring, blocks)                                                               \
    SHARING_KERNEL(attention_few_##width##_bf16, AttentionParams, ATTENTION_THREADS, blocks) {               \
        attention_few<Bf16, width, keys, ring>(p);                                                           \
    }                                                                                                        \
    SHARING_KERNEL(attention_few_##width##_f16, AttentionParams, ATTENTION_THREADS, blocks) {                \
        attention_few<F16, width, keys, ring>(p);                                                            \
    }
FEW_KERNELS(64, 16, 5, 2)
FEW_KERNELS(128, 16, 2, 3)
FEW_KERNELS(256, 8, 2, 1)

FLOAT_KERNELS(attention_cores, AttentionParams, ATTENTION_THREADS)
FLOAT_KERNELS(attention_join, AttentionParams, ATTENTION_THREADS)
