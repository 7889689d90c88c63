// Linear layers of bf16 and f16 over packed weights of integer codes, on tensor cores: codes less the zero point are exact in 16 bits,
// and a group's sum is scaled in f32 as it ends. A tile of codes (`coded.cuh`) goes from memory to registers to mma.sync; x, where its
// rows are many, through four stages in shared memory.
#include "coded_tile.cuh"
#include "factors.cuh"

template <class T>
constexpr unsigned ONES = 0x3F803F80u;
template <>
constexpr unsigned ONES<F16> = 0x3C003C00u;

// Sums of 16 rows of the weight with 8·TILES rows of x: of the group at hand, of x over it, and of the part.
template <class T, unsigned FORM, int TILES>
struct Walk {
    float sum[TILES][4] = {}, x_sum[has_minima(FORM) ? TILES : 1][4] = {}, part[TILES][4] = {};

    DEVICE void fold(const Group (&groups)[2]) {
        UNROLL for (int t = 0; t < TILES; t++) {
            UNROLL for (int i = 0; i < 4; i++) {
                part[t][i] = fmaf(groups[i / 2].scale, sum[t][i], part[t][i]);
                sum[t][i] = 0.0f;
                if (!has_minima(FORM)) continue;
                part[t][i] = fmaf(-groups[i / 2].min, x_sum[t][i], part[t][i]);
                x_sum[t][i] = 0.0f;
            }
        }
    }

    // One tile of codes, with `x(t, s, b)` what the lane has of 8 rows of x for step s. `last`: the part ends here.
    template <class X>
    DEVICE void step(const CodedParams& p, unsigned tile, unsigned at, const Codes& codes, Span& span, bool last, X x) {
        unsigned g = threadIdx.x % WARP_SIZE / 4;
        span.reach(p, FORM, 32 * at);
        Group groups[2];
        UNROLL for (unsigned s = 0; s < 2; s++) {
            if (s == 0 || FORM == Q6_K) {
                UNROLL for (unsigned i = 0; i < 2; i++) groups[i] = load_group(p, FORM, tile, g + 8 * i, 32 * at + 16 * s, span.index);
            }
            unsigned a[4], ones[4] = {ONES<T>, ONES<T>, ONES<T>, ONES<T>};
            UNROLL for (unsigned i = 0; i < 2; i++) Factors<T>::of(FORM, four_codes(FORM, codes, s, i), groups[i].zero, a[i], a[i + 2]);
            UNROLL for (int t = 0; t < TILES; t++) {
                unsigned b[2];
                x(t, s, b);
                multiply_add<T>(sum[t], a, b);
                if (has_minima(FORM)) multiply_add<T>(x_sum[has_minima(FORM) ? t : 0], ones, b);
            }
            if (FORM == Q6_K) fold(groups);
        }
        if (FORM != Q6_K && (FORM > INT4 || last || 32 * (at + 1) >= span.end)) fold(groups);
    }
};

// One output by the plain formula. Where a minimum is taken off a sum of its own, infinities of x may meet there that do not meet
// in the terms: sums that are no number are computed again.
template <class T>
DEVICE float plain_sum(const CodedParams& p, unsigned row, unsigned column) {
    const T* x = reinterpret_cast<const T*>(p.x) + row * p.x_row;
    float sum = 0.0f;
    ROLLED for (unsigned l = 0; l < p.k; l += 4) {
        float w[4];
        four_weights(p, column, l, w);
        UNROLL for (unsigned i = 0; i < 4; i++) sum = fmaf(widen(x[l + i]), w[i], sum);
    }
    return sum;
}

DEVICE bool is_inside(const CodedParams& p, unsigned row, unsigned column) { return row < p.rows && column < p.columns; }

template <class T>
DEVICE void finish(const CodedParams& p, float sum, unsigned row, unsigned column) {
    Layer<T> layer = {p.bias, p.bias_step, p.activation};
    reinterpret_cast<T*>(p.out)[row * p.out_row + column] = layer(sum, T{}, column);
}

template <class T, unsigned FORM>
DEVICE void linear_few(const CodedParams& p) {
    struct Shared {
        float sums[PARTS][FEW_ROWS][16];
    };
    SHARED(Shared, shared);
    unsigned lane = threadIdx.x % WARP_SIZE, warp = threadIdx.x / WARP_SIZE, g = lane / 4, q = lane % 4, tile = blockIdx.x;
    unsigned begin = min(warp * p.part, p.k), end = min(begin + p.part, p.k), last = (end + 31) / 32;
    const T* x = reinterpret_cast<const T*>(p.x);
    Walk<T, FORM, 2> walk;
    Span span(p, FORM, begin);
    each_tile<FORM>(p, tile, (begin + 31) / 32, last, [&](unsigned at, const Codes& codes) {
        walk.step(p, tile, at, codes, span, at + 1 == last, [&](unsigned t, unsigned s, unsigned (&b)[2]) {
            b[0] = b[1] = 0;
            unsigned row = 8 * t + g, l = 32 * at + 16 * s + 4 * q;
            if (row >= p.rows) return;
            const T* from = x + row * p.x_row + l;
            if (p.x_way == ALONG && l + 4 <= p.k) {
                TwoWords words = *reinterpret_cast<const TwoWords*>(from);
                UNROLL for (unsigned i = 0; i < 2; i++) b[i] = words.at[i];
                return;
            }
            UNROLL for (unsigned i = 0; i < 4; i++) {
                if (l + i < p.k) b[i / 2] |= static_cast<unsigned>(from[i].bits) << i % 2 * 16;
            }
        });
    });
    UNROLL for (unsigned i = 0; i < 8; i++) shared.sums[warp][i / 4 * 8 + 2 * q + i % 2][i / 2 % 2 * 8 + g] = walk.part[i / 4][i % 4];
    __syncthreads();
    unsigned row = threadIdx.x / 16, column = threadIdx.x % 16;
    float total = 0.0f;
    for (unsigned part = 0; part * p.part < p.k; part++) total += shared.sums[part][row][column];
    column += 16 * tile;
    if (!is_inside(p, row, column)) return;
    if (has_minima(FORM) && total != total) total = plain_sum<T>(p, row, column);
    finish<T>(p, total, row, column);
}

// 128 columns, 16 a warp, by 64 rows.
template <class T, unsigned FORM>
DEVICE void linear_many(const CodedParams& p) {
    constexpr int ROWS = 64, TILES = ROWS / 8, THREADS = 256;
    constexpr unsigned RING = 4;
    struct Shared {
        alignas(16) unsigned char x[RING][ROWS * ROW_BYTES];
    };
    SHARED(Shared, shared);
    unsigned lane = threadIdx.x % WARP_SIZE, warp = threadIdx.x / WARP_SIZE, g = lane / 4, q = lane % 4;
    unsigned across = (p.rows + ROWS - 1) / ROWS, row = blockIdx.x % across * ROWS, tile = blockIdx.x / across * 8 + warp;
    unsigned steps = tiles_of_row(p);
    // Warps beyond the last tile take part in staging x.
    bool idle = tile * 16 >= p.columns;
    Factor x = {p.x + row * p.x_row * sizeof(T), p.x_row, 1, p.rows - row, p.k, p.x_way};
    auto start = [&](unsigned step) {
        if (step < steps) stage<T, ROWS, THREADS, false>(shared.x[step % RING], x, 32 * step);
        copy_commit();
    };
    UNROLL for (unsigned step = 0; step < RING - 1; step++) start(step);
    Walk<T, FORM, TILES> walk;
    float total[TILES][4] = {};
    Span span(p, FORM, 0);
    Codes codes = {}, next = {};
    if (!idle && steps > 0) next = load_codes(p, FORM, tile, 0, lane);
    for (unsigned at = 0; at < steps; at++) {
        codes = next;
        if (!idle && at + 1 < steps) next = load_codes(p, FORM, tile, at + 1, lane);
        copy_wait<RING - 2>();
        __syncthreads();
        start(at + RING - 1);
        if (idle) continue;
        bool last = 32 * (at + 1) % p.part == 0 || at + 1 == steps;
        const unsigned char* from = shared.x[at % RING];
        walk.step(p, tile, at, codes, span, last, [&](unsigned t, unsigned s, unsigned (&b)[2]) {
            TwoWords words = *reinterpret_cast<const TwoWords*>(from + chunk_place(8 * t + g, 2 * s + q / 2) + q % 2 * 8);
            UNROLL for (unsigned i = 0; i < 2; i++) b[i] = words.at[i];
        });
        if (!last) continue;
        UNROLL for (int t = 0; t < TILES; t++) {
            UNROLL for (int i = 0; i < 4; i++) {
                total[t][i] += walk.part[t][i];
                walk.part[t][i] = 0.0f;
            }
        }
    }
    copy_wait<0>();
    auto row_of = [&](unsigned i) { return row + i / 4 * 8 + 2 * q + i % 2; };
    auto column_of = [&](unsigned i) { return 16 * tile + g + i / 2 % 2 * 8; };
    static_assert(4 * TILES == 32, "a bit for each result");
    unsigned again = 0;
    UNROLL for (unsigned i = 0; i < 4 * TILES; i++) {
        if (!is_inside(p, row_of(i), column_of(i))) continue;
        float sum = total[i / 4][i % 4];
        if (has_minima(FORM) && sum != sum) again |= 1u << i;
        finish<T>(p, sum, row_of(i), column_of(i));
    }
    // Seldom any, and long: written once.
    ROLLED for (unsigned i = 0; i < 4 * TILES; i++) {
        if (again >> i & 1) finish<T>(p, plain_sum<T>(p, row_of(i), column_of(i)), row_of(i), column_of(i));
    }
}

#define LAYERS(form, FORM)                                                                            \
    SHARING_KERNEL(linear_few_##form##_bf16, CodedParams, 256, 3) { linear_few<Bf16, FORM>(p); }      \
    SHARING_KERNEL(linear_few_##form##_f16, CodedParams, 256, 3) { linear_few<F16, FORM>(p); }        \
    SHARING_KERNEL(linear_many_##form##_bf16, CodedParams, 256, 1) { linear_many<Bf16, FORM>(p); }    \
    SHARING_KERNEL(linear_many_##form##_f16, CodedParams, 256, 1) { linear_many<F16, FORM>(p); }

LAYERS(int8, INT8)
LAYERS(int4, INT4)
LAYERS(q8_0, Q8_0)
LAYERS(q4_0, Q4_0)
LAYERS(q4_k, Q4_K)
LAYERS(q5_k, Q5_K)
LAYERS(q6_k, Q6_K)
