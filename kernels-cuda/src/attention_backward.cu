// p[t, s] = exp(scale * <q_t, k_s> - lse_t),   delta_t = <dout_t, out_t>,   ds[t, s] = p[t, s] * (<dout_t, v_s> - delta_t)
// dq_t = scale * sum of ds[t, s] * k_s,   dk_s = scale * sum of ds[t, s] * q_t,   dv_s = sum of p[t, s] * dout_t
//
// FlashAttention-2's algorithm 2 with every sum in a fixed order: a kernel for the deltas, one by tiles of keys over all rows of a
// group for dk and dv, and one by tiles of rows over keys for dq, which computes p and ds again instead of adding into dq atomically.
//
// 16-bit types: both kernels are one on tensor cores, whose own rows are keys or queries; a warp has 16 of them, in shared memory, and
// its sums in registers. Weights are sums of two or three 16-bit values as in the forward pass.
// f32: CUDA cores, by tiles of 64 own rows and 64 others.
#include "attention_cores.cuh"
#include "attention_tensor.cuh"

constexpr unsigned FEW_KEYS = 64;

template <class T>
DEVICE void attention_delta(const AttentionParams& p) {
    Team<WARP_SIZE> team;
    constexpr unsigned ROWS = ATTENTION_THREADS / WARP_SIZE;
    unsigned tile = blockIdx.x % p.tiles;
    Problem problem(p, blockIdx.x / p.tiles);
    unsigned row = tile * ROWS + threadIdx.x / WARP_SIZE;
    if (row >= p.rows) return;
    const T *out = problem.row<const T>(p.out, row), *dout = problem.row<const T>(p.dout, row);
    float sum = 0.0f, a[4], b[4];
    team.columns(p.head_dim, [&](unsigned column, unsigned count) {
        load_some(out + column, count, a);
        load_some(dout + column, count, b);
        UNROLL for (unsigned i = 0; i < 4; i++) {
            if (i < count) sum = fmaf(a[i], b[i], sum);
        }
    });
    sum = team.sum(sum);
    if (team.lane == 0) reinterpret_cast<float*>(p.parts)[problem.number(row)] = sum;
}

// What a row's weights follow from.
struct Row {
    // In powers of two.
    float lse;
    float delta;
    unsigned visible;

    DEVICE static Row of(const Problem& problem, unsigned row) {
        const AttentionParams& p = problem.p;
        if (row >= p.rows) return {0.0f, 0.0f, 0};
        float lse = *problem.row<const float>(p.lse, row) * LOG2_E;
        return {lse, reinterpret_cast<const float*>(p.parts)[problem.number(row)], problem.visible(row)};
    }

    // From the inner products <q, k> and <dout, v>: p, and ds.
    DEVICE void weigh(float factor, float& score, float& product) const {
        score = exp2f(fmaf(score, factor, -lse));
        product = score * (product - delta);
    }
    DEVICE static void hide(float& score, float& product) { score = product = 0.0f; }
};

// The unit of a row's sums of ds, a power of two. f16 reaches from 2^-24 to 2^16, so that ds are brought to where the greatest so far
// is next to 2^14.
template <class T>
struct Unit {
    DEVICE float widen_to(float) { return 1.0f; }
    DEVICE float value() const { return 1.0f; }
    DEVICE float inverse() const { return 1.0f; }
};
template <>
struct Unit<F16> {
    unsigned exponent = 227;

    // Takes a greater value into account; what has been summed is to be multiplied by the result.
    DEVICE float widen_to(float greatest) {
        unsigned before = exponent;
        exponent = min(exponent, 268 - max(__float_as_uint(greatest) >> 23, 41u));
        return __uint_as_float((127 + exponent - before) << 23);
    }
    DEVICE float value() const { return __uint_as_float(exponent << 23); }
    DEVICE float inverse() const { return __uint_as_float((254 - exponent) << 23); }
};

template <class T>
struct Parts {
    static constexpr int MOST = 3;
    static constexpr float UNIT = 1.0f;
};
template <>
struct Parts<F16> {
    static constexpr int MOST = 2;
    static constexpr float UNIT = 16384.0f;
};

// The gradients of OWN keys (dk, dv) or rows (dq), which meet OTHERS rows or keys at a time, in one of STAGES buffers. Warps divide own
// rows, and then columns of the sums.
template <class T, int WIDTH, int OWN, int OTHERS, int STAGES, bool OF_KEYS>
DEVICE void attention_backward(const AttentionParams& p) {
    constexpr int COLUMNS = WIDTH * OWN / 64;
    struct alignas(16) Storage {
        Chunk<T> own[2][OWN * WIDTH / 8];
        Chunk<T> others[STAGES][2][OTHERS * WIDTH / 8];
    };
    SHARED(Storage, storage);
    Problem problem(p, blockIdx.x / p.tiles);
    // Those that meet most come first.
    unsigned tile = OF_KEYS ? blockIdx.x % p.tiles : p.tiles - 1 - blockIdx.x % p.tiles;
    unsigned own_first = tile * OWN, own_end = OF_KEYS ? p.seq_k : p.rows;
    unsigned first, end;
    if (OF_KEYS) {
        first = own_first < problem.valid ? min(problem.first_row(own_first), p.rows) : p.rows;
        end = p.rows;
    } else {
        first = 0;
        end = problem.visible(min(own_first + OWN, p.rows) - 1);
    }
    unsigned lane = threadIdx.x % WARP_SIZE, warp = threadIdx.x / WARP_SIZE;
    unsigned warp_row = warp % (OWN / 16) * 16, warp_column = warp / (OWN / 16) * COLUMNS;

    const AttentionPlace *own_place[2] = {&p.q, &p.dout}, *other_place[2] = {&p.k, &p.v};
    if (OF_KEYS) {
        own_place[0] = &p.k, own_place[1] = &p.v;
        other_place[0] = &p.q, other_place[1] = &p.dout;
    }
    Rows<T, WIDTH> own[2] = {{storage.own[0]}, {storage.own[1]}};
    auto load_others = [&](unsigned start) {
        unsigned stage = (start - first) / OTHERS % STAGES;
        UNROLL for (unsigned i = 0; i < 2; i++) {
            Rows<T, WIDTH> rows = {storage.others[stage][i]};
            rows.template load<OTHERS>(start, end, p.head_dim, p.whole, [&](unsigned other) {
                return OF_KEYS ? problem.row<const T>(*other_place[i], other) : problem.key<const T>(*other_place[i], other);
            });
        }
        copy_commit();
    };
    float sums[COLUMNS / 8][4] = {}, dv[OF_KEYS ? COLUMNS / 8 : 1][4] = {};
    Unit<T> units[2];
    Row mine[2];
    if (first < end) {
        UNROLL for (unsigned i = 0; i < 2; i++) {
            own[i].template load<OWN>(own_first, own_end, p.head_dim, p.whole, [&](unsigned row) {
                return OF_KEYS ? problem.key<const T>(*own_place[i], row) : problem.row<const T>(*own_place[i], row);
            });
            if (!OF_KEYS) mine[i] = Row::of(problem, own_first + warp_row + lane / 4 + 8 * i);
        }
        load_others(first);
    }
    for (unsigned start = first; start < end; start += OTHERS) {
        copy_wait<0>();
        __syncthreads();
        if (STAGES > 1 && start + OTHERS < end) load_others(start + OTHERS);
        unsigned stage = (start - first) / OTHERS % STAGES;
        Rows<T, WIDTH> others[2] = {{storage.others[stage][0]}, {storage.others[stage][1]}};
        float s[OTHERS / 8][4] = {}, ds[OTHERS / 8][4] = {};
        scores<T, WIDTH, OTHERS>(s, [&](unsigned (&a)[4], unsigned column) { own[0].own(a, warp_row, column); }, others[0], 0);
        scores<T, WIDTH, OTHERS>(ds, [&](unsigned (&a)[4], unsigned column) { own[1].own(a, warp_row, column); }, others[1], 0);

        // Fewest keys that a row of these tiles sees.
        unsigned fewest = OF_KEYS ? (start + OTHERS > p.rows ? 0 : problem.visible(start)) : problem.visible(own_first);
        bool masked = OF_KEYS ? own_first + OWN > fewest : start + OTHERS > fewest;
        float factor = p.scale * LOG2_E;
        if (OF_KEYS) {
            // A lane knows one row of 32 at a time.
            Row of_lane[(OTHERS + 31) / 32];
            UNROLL for (unsigned i = 0; i < (OTHERS + 31) / 32; i++) of_lane[i] = Row::of(problem, start + 32 * i + lane);
            UNROLL for (unsigned n = 0; n < OTHERS / 8; n++) {
                UNROLL for (unsigned j = 0; j < 2; j++) {
                    unsigned from = (8 * n + lane % 4 * 2 + j) % 32;
                    const Row& there = of_lane[n / 4];
                    Row row = {__shfl_sync(ALL_LANES, there.lse, from), __shfl_sync(ALL_LANES, there.delta, from), 0};
                    if (masked) row.visible = __shfl_sync(ALL_LANES, there.visible, from);
                    UNROLL for (unsigned i = 0; i < 2; i++) {
                        row.weigh(factor, s[n][2 * i + j], ds[n][2 * i + j]);
                        if (masked && own_first + warp_row + lane / 4 + 8 * i >= row.visible) Row::hide(s[n][2 * i + j], ds[n][2 * i + j]);
                    }
                }
            }
        } else {
            UNROLL for (unsigned n = 0; n < OTHERS / 8; n++) {
                UNROLL for (unsigned k = 0; k < 4; k++) {
                    mine[k / 2].weigh(factor, s[n][k], ds[n][k]);
                    if (masked && start + 8 * n + lane % 4 * 2 + k % 2 >= mine[k / 2].visible) Row::hide(s[n][k], ds[n][k]);
                }
            }
        }
        UNROLL for (unsigned i = 0; i < 2; i++) {
            float greatest = 0.0f;
            UNROLL for (unsigned n = 0; n < OTHERS / 8; n++) greatest = fmaxf(greatest, fmaxf(fabsf(ds[n][2 * i]), fabsf(ds[n][2 * i + 1])));
            if (Parts<T>::UNIT == 1.0f) continue;
            float fade = units[i].widen_to(greatest_of<4>(greatest));
            UNROLL for (unsigned n = 0; n < COLUMNS / 8; n++) {
                sums[n][2 * i] *= fade;
                sums[n][2 * i + 1] *= fade;
            }
            UNROLL for (unsigned n = 0; n < OTHERS / 8; n++) {
                UNROLL for (unsigned j = 0; j < 2; j++) {
                    s[n][2 * i + j] *= Parts<T>::UNIT;
                    ds[n][2 * i + j] *= units[i].value();
                }
            }
        }
        if (Parts<T>::MOST > 2 && fewest <= FEW_KEYS) {
            if constexpr (OF_KEYS) weigh<Parts<T>::MOST, T, WIDTH, OTHERS, COLUMNS>(dv, s, others[1], 0, warp_column);
            weigh<Parts<T>::MOST, T, WIDTH, OTHERS, COLUMNS>(sums, ds, others[0], 0, warp_column);
        } else {
            if constexpr (OF_KEYS) weigh<2, T, WIDTH, OTHERS, COLUMNS>(dv, s, others[1], 0, warp_column);
            weigh<2, T, WIDTH, OTHERS, COLUMNS>(sums, ds, others[0], 0, warp_column);
        }
        if (STAGES == 1) {
            __syncthreads();
            if (start + OTHERS < end) load_others(start + OTHERS);
        }
    }

    __syncthreads();
    Rows<T, COLUMNS> stage = {&storage.own[0][0] + warp * 16 * COLUMNS / 8};
    unsigned columns = p.head_dim > warp_column ? p.head_dim - warp_column : 0;
    auto store = [&](const AttentionPlace& place, const float(&values)[COLUMNS / 8][4], const float(&by)[2]) {
        store_rows<T, COLUMNS>(stage, values, by, columns, p.whole_out, [&](unsigned i) -> T* {
            unsigned row = own_first + warp_row + i;
            if (row >= own_end) return nullptr;
            return (OF_KEYS ? problem.key<T>(place, row) : problem.row<T>(place, row)) + warp_column;
        });
    };
    float by[2] = {p.scale * units[0].inverse(), p.scale * units[1].inverse()};
    store(OF_KEYS ? p.dk : p.dq, sums, by);
    if constexpr (OF_KEYS) {
        // The stage is the warp's own; it must have been read.
        __syncwarp();
        by[0] = by[1] = 1.0f / Parts<T>::UNIT;
        store(p.dv, dv, by);
    }
}

// As above, on CUDA cores, for 64 columns of the sums.
template <class T, bool OF_KEYS>
DEVICE void attention_backward_cores(const AttentionParams& p) {
    SHARED(Cores, stage);
    unsigned column = blockIdx.x % p.slices * 64, rest = blockIdx.x / p.slices;
    Problem problem(p, rest / p.tiles);
    unsigned tile = OF_KEYS ? rest % p.tiles : p.tiles - 1 - rest % p.tiles;
    unsigned own_first = tile * CORES_ROWS, own_end = OF_KEYS ? p.seq_k : p.rows;
    unsigned first, end;
    if (OF_KEYS) {
        first = own_first < problem.valid ? min(problem.first_row(own_first), p.rows) : p.rows;
        end = p.rows;
    } else {
        first = 0;
        end = problem.visible(min(own_first + CORES_ROWS, p.rows) - 1);
    }
    auto start_of = [&](const AttentionPlace& of_rows, const AttentionPlace& of_keys, bool keys, unsigned i) {
        return keys ? problem.key<const T>(of_keys, i) : problem.row<const T>(of_rows, i);
    };
    unsigned mine = threadIdx.x % CORES_ROWS, wide = p.head_dim > column ? min(p.head_dim - column, 64u) : 0;
    const T* own[2] = {};
    if (own_first + mine < own_end) {
        own[0] = start_of(p.q, p.k, OF_KEYS, own_first + mine);
        own[1] = start_of(p.dout, p.v, OF_KEYS, own_first + mine);
    }
    float sums[4][8] = {}, dv[4][8] = {};
    for (unsigned start = first; start < end; start += CORES_ROWS) {
        unsigned count = min(end - start, CORES_ROWS);
        const T* other[2] = {};
        if (mine < count) {
            other[0] = start_of(p.q, p.k, !OF_KEYS, start + mine);
            other[1] = start_of(p.dout, p.v, !OF_KEYS, start + mine);
        }
        float s[4][8] = {}, ds[4][8] = {};
        dots(stage, s, own[0], other[0], p.head_dim);
        dots(stage, ds, own[1], other[1], p.head_dim);
        Seen seen;
        UNROLL for (unsigned i = 0; i < 4; i++) {
            unsigned at = own_first + 4 * cores_y() + i;
            if (OF_KEYS) {
                unsigned from = at < problem.valid ? problem.first_row(at) : end;
                seen.low[i] = from > start ? from - start : 0;
                seen.high[i] = count;
            } else {
                unsigned visible = at < p.rows ? problem.visible(at) : 0;
                seen.low[i] = 0;
                seen.high[i] = visible > start ? visible - start : 0;
            }
        }
        UNROLL for (unsigned j = 0; j < 8; j++) {
            unsigned at = other_of(cores_x(), j);
            Row row;
            if (OF_KEYS) row = Row::of(problem, start + at);
            UNROLL for (unsigned i = 0; i < 4; i++) {
                if (!OF_KEYS) row = Row::of(problem, own_first + 4 * cores_y() + i);
                row.weigh(p.scale * LOG2_E, s[i][j], ds[i][j]);
                if (!seen(i, at)) Row::hide(s[i][j], ds[i][j]);
            }
        }
        if (OF_KEYS) {
            keep_weights(stage, s);
            mix<T>(stage, dv, seen, count, wide, [&](unsigned k) { return problem.row<const T>(p.dout, start + k) + column; });
            __syncthreads();
        }
        keep_weights(stage, ds);
        mix<T>(stage, sums, seen, count, wide, [&](unsigned k) { return start_of(p.q, p.k, !OF_KEYS, start + k) + column; });
    }
    UNROLL for (unsigned i = 0; i < 4; i++) {
        unsigned at = own_first + 4 * cores_y() + i;
        if (at >= own_end) continue;
        T* to = (OF_KEYS ? problem.key<T>(p.dk, at) : problem.row<T>(p.dq, at)) + column;
        UNROLL for (unsigned j = 0; j < 8; j++) {
            unsigned k = other_of(cores_x(), j);
            if (k >= wide) continue;
            to[k] = narrow<T>(sums[i][j] * p.scale);
            if (OF_KEYS) problem.key<T>(p.dv, at)[column + k] = narrow<T>(dv[i][j]);
        }
    }
}

FLOAT_KERNELS(attention_delta, AttentionParams, ATTENTION_THREADS)

#define TENSOR_KERNELS(width, own, others, stages, name, T)                         \
    KERNEL(attention_backward_kv_##width##_##name, AttentionParams, ATTENTION_THREADS) { \
        attention_backward<T, width, own, others, stages, true>(p);                 \
    }                                                                               \
    KERNEL(attention_backward_q_##width##_##name, AttentionParams, ATTENTION_THREADS) {  \
        attention_backward<T, width, own, others, stages, false>(p);                \
    }
TENSOR_KERNELS(64, 64, 64, 2, bf16, Bf16)
TENSOR_KERNELS(64, 64, 64, 2, f16, F16)
TENSOR_KERNELS(128, 64, 32, 1, bf16, Bf16)
TENSOR_KERNELS(128, 64, 32, 1, f16, F16)
TENSOR_KERNELS(256, 32, 16, 1, bf16, Bf16)
TENSOR_KERNELS(256, 32, 16, 1, f16, F16)

#define CORES_KERNELS(name, T)                                                                                              \
    KERNEL(attention_backward_kv_cores_##name, AttentionParams, ATTENTION_THREADS) { attention_backward_cores<T, true>(p); } \
    KERNEL(attention_backward_q_cores_##name, AttentionParams, ATTENTION_THREADS) { attention_backward_cores<T, false>(p); }
CORES_KERNELS(f32, float)
CORES_KERNELS(bf16, Bf16)
CORES_KERNELS(f16, F16)
