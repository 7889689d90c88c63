// out[i, j] = act(x_scale[i] · Σ over groups g of (scale[j, g] · Σ over l in g of x[i, l] · (code[j, l] − zero[j, g]) − min[j, g]
// · Σ over l in g of x[i, l]) + bias[j]): as `linear_coded.cu`, with tensor cores that multiply bytes. A group's sum is exact in
// i32; groups are added in f32, in rising order within parts that end where groups do. A channel that is one group is summed whole.
#include "coded_tile.cuh"

// Four codes less a zero point, as signed bytes. Codes of 8 bits have 128 taken off, and the rest made up for by the sum of x.
DEVICE unsigned signed_codes(unsigned form, unsigned four, unsigned zero) {
    if (is_eight_bits(form)) return four ^ 0x80808080u;
    return ((four | 0x80808080u) - zero * 0x01010101u) ^ 0x80808080u;
}

// Whether a sum is kept in integers to its end.
DEVICE bool is_whole(const CodedParams& p, unsigned form) { return form <= INT4 && p.groups <= 1; }

// Sums of 16 rows of the weight with 8·TILES rows of x: of the group at hand, of x over it, and of the part.
template <unsigned FORM, int TILES>
struct Walk {
    static constexpr bool SUMS_X = has_minima(FORM) || FORM == INT8;
    int sum[TILES][4] = {}, x_sum[SUMS_X ? TILES : 1][4] = {};
    float part[TILES][4] = {};

    // The integer sum of a group.
    DEVICE int of_group(const Group (&groups)[2], int t, int i) const {
        if (FORM != INT8) return sum[t][i];
        return sum[t][i] + (128 - static_cast<int>(groups[i / 2].zero)) * x_sum[SUMS_X ? t : 0][i];
    }

    DEVICE void fold(const Group (&groups)[2]) {
        UNROLL for (int t = 0; t < TILES; t++) {
            UNROLL for (int i = 0; i < 4; i++) {
                part[t][i] = fmaf(groups[i / 2].scale, static_cast<float>(of_group(groups, t, i)), part[t][i]);
                sum[t][i] = 0;
                if (!SUMS_X) continue;
                if (has_minima(FORM)) part[t][i] = fmaf(-groups[i / 2].min, static_cast<float>(x_sum[SUMS_X ? t : 0][i]), part[t][i]);
                x_sum[SUMS_X ? t : 0][i] = 0;
            }
        }
    }

    DEVICE void load_groups(const CodedParams& p, unsigned tile, unsigned l, const Span& span, Group (&groups)[2]) const {
        UNROLL for (unsigned i = 0; i < 2; i++) {
            groups[i] = load_group(p, FORM, tile, threadIdx.x % WARP_SIZE / 4 + 8 * i, l, span.index);
        }
    }

    // One tile of codes, with `x(t, b)` what the lane has of 8 rows of x.
    template <class X>
    DEVICE void step(const CodedParams& p, unsigned tile, unsigned at, const Codes& codes, Span& span, X x) {
        span.reach(p, FORM, 32 * at);
        Group groups[2];
        load_groups(p, tile, 32 * at, span, groups);
        unsigned a[4], ones[4] = {0x01010101u, 0x01010101u, 0x01010101u, 0x01010101u};
        UNROLL for (unsigned i = 0; i < 4; i++) a[i] = signed_codes(FORM, four_codes(FORM, codes, i / 2, i % 2), groups[i % 2].zero);
        if (FORM == Q6_K) {
            // Groups of 16: each half of the inputs by itself.
            UNROLL for (unsigned s = 0; s < 2; s++) {
                unsigned half[4] = {s == 0 ? a[0] : 0, s == 0 ? a[1] : 0, s == 1 ? a[2] : 0, s == 1 ? a[3] : 0};
                UNROLL for (int t = 0; t < TILES; t++) {
                    unsigned b[2];
                    x(t, b);
                    multiply_add_i8(sum[t], half, b);
                }
                if (s == 1) load_groups(p, tile, 32 * at + 16, span, groups);
                fold(groups);
            }
        } else {
            UNROLL for (int t = 0; t < TILES; t++) {
                unsigned b[2];
                x(t, b);
                multiply_add_i8(sum[t], a, b);
                if (has_minima(FORM) || (SUMS_X && p.zeros)) multiply_add_i8(x_sum[SUMS_X ? t : 0], ones, b);
            }
        }
        if (FORM == Q6_K) return;
        if (FORM > INT4 || (p.groups > 1 && 32 * (at + 1) >= min(span.end, p.k))) fold(groups);
    }
};

DEVICE void finish(const CodedParams& p, float sum, unsigned row, unsigned column) {
    if (row >= p.rows || column >= p.columns) return;
    Layer<float> layer = {p.bias, p.bias_step, p.activation};
    // Rounded before the bias is added, whichever kernel this is part of.
    float value = __fmul_rn(reinterpret_cast<const float*>(p.x_scale)[row * p.x_scale_step], sum);
    reinterpret_cast<float*>(p.out)[row * p.out_row + column] = layer(value, 0.0f, column);
}

template <unsigned FORM>
DEVICE void int8_few(const CodedParams& p) {
    struct Shared {
        // Of floats, or of integers where a sum is whole.
        unsigned sums[PARTS][FEW_ROWS][16];
    };
    SHARED(Shared, shared);
    unsigned lane = threadIdx.x % WARP_SIZE, warp = threadIdx.x / WARP_SIZE, g = lane / 4, q = lane % 4, tile = blockIdx.x;
    unsigned begin = min(warp * p.part, p.k), end = min(begin + p.part, p.k);
    const unsigned char* x = reinterpret_cast<const unsigned char*>(p.x);
    bool whole = is_whole(p, FORM);
    Walk<FORM, 2> walk;
    Span span(p, FORM, begin);
    each_tile<FORM>(p, tile, (begin + 31) / 32, (end + 31) / 32, [&](unsigned at, const Codes& codes) {
        walk.step(p, tile, at, codes, span, [&](unsigned t, unsigned (&b)[2]) {
            unsigned row = 8 * t + g;
            UNROLL for (unsigned s = 0; s < 2; s++) {
                b[s] = 0;
                unsigned l = 32 * at + 16 * s + 4 * q;
                if (row >= p.rows || l >= p.k) continue;
                const unsigned char* from = x + row * p.x_row + l;
                if (p.x_way == ALONG && l + 4 <= p.k) {
                    b[s] = *reinterpret_cast<const unsigned*>(from);
                    continue;
                }
                UNROLL for (unsigned i = 0; i < 4; i++) {
                    if (l + i < p.k) b[s] |= static_cast<unsigned>(from[i]) << 8 * i;
                }
            }
        });
    });
    Group groups[2] = {};
    if (whole && p.k > 0) walk.load_groups(p, tile, 0, Span(p, FORM, 0), groups);
    UNROLL for (unsigned i = 0; i < 8; i++) {
        unsigned bits = whole ? static_cast<unsigned>(walk.of_group(groups, i / 4, i % 4)) : __float_as_uint(walk.part[i / 4][i % 4]);
        shared.sums[warp][i / 4 * 8 + 2 * q + i % 2][i / 2 % 2 * 8 + g] = bits;
    }
    __syncthreads();
    unsigned row = threadIdx.x / 16, column = threadIdx.x % 16;
    float total = 0.0f;
    if (whole && p.k > 0) {
        unsigned sum = 0;
        for (unsigned part = 0; part < PARTS; part++) sum += shared.sums[part][row][column];
        total = load_group(p, FORM, tile, column, 0, 0).scale * static_cast<float>(static_cast<int>(sum));
    } else {
        for (unsigned part = 0; part * p.part < p.k; part++) total += __uint_as_float(shared.sums[part][row][column]);
    }
    finish(p, total, row, 16 * tile + column);
}

// 128 columns, 16 a warp, by 64 rows.
template <unsigned FORM>
DEVICE void int8_many(const CodedParams& p) {
    constexpr int ROWS = 64, TILES = ROWS / 8, THREADS = 256;
    constexpr unsigned RING = 4;
    struct Shared {
        alignas(16) unsigned char x[RING][ROWS * ROW_BYTES];
    };
    SHARED(Shared, shared);
    unsigned lane = threadIdx.x % WARP_SIZE, warp = threadIdx.x / WARP_SIZE, g = lane / 4, q = lane % 4;
    unsigned across = (p.rows + ROWS - 1) / ROWS, row = blockIdx.x % across * ROWS, tile = blockIdx.x / across * 8 + warp;
    // A stage of x is two tiles of codes long.
    unsigned tiles = tiles_of_row(p), steps = (tiles + 1) / 2;
    bool idle = tile * 16 >= p.columns, whole = is_whole(p, FORM);
    Factor x = {p.x + row * p.x_row, p.x_row, 1, p.rows - row, p.k, p.x_way};
    auto start = [&](unsigned step) {
        if (step < steps) stage<signed char, ROWS, THREADS, false>(shared.x[step % RING], x, 64 * step);
        copy_commit();
    };
    UNROLL for (unsigned step = 0; step < RING - 1; step++) start(step);
    Walk<FORM, TILES> walk;
    float total[TILES][4] = {};
    Span span(p, FORM, 0);
    Codes next = {};
    if (!idle && tiles > 0) next = load_codes(p, FORM, tile, 0, lane);
    for (unsigned step = 0; step < steps; step++) {
        copy_wait<RING - 2>();
        __syncthreads();
        start(step + RING - 1);
        if (idle) continue;
        const unsigned char* from = shared.x[step % RING];
        UNROLL for (unsigned half = 0; half < 2; half++) {
            unsigned at = 2 * step + half;
            if (at >= tiles) continue;
            Codes codes = next;
            if (at + 1 < tiles) next = load_codes(p, FORM, tile, at + 1, lane);
            walk.step(p, tile, at, codes, span, [&](unsigned t, unsigned (&b)[2]) {
                UNROLL for (unsigned s = 0; s < 2; s++) {
                    b[s] = *reinterpret_cast<const unsigned*>(from + chunk_place(8 * t + g, 2 * half + s) + 4 * q);
                }
            });
            if (whole || (32 * (at + 1) % p.part != 0 && at + 1 < tiles)) continue;
            UNROLL for (int t = 0; t < TILES; t++) {
                UNROLL for (int i = 0; i < 4; i++) {
                    total[t][i] += walk.part[t][i];
                    walk.part[t][i] = 0.0f;
                }
            }
        }
    }
    copy_wait<0>();
    if (idle) return;
    Group groups[2] = {};
    if (whole && p.k > 0) walk.load_groups(p, tile, 0, Span(p, FORM, 0), groups);
    UNROLL for (int t = 0; t < TILES; t++) {
        UNROLL for (int i = 0; i < 4; i++) {
            float sum = whole && p.k > 0 ? groups[i / 2].scale * static_cast<float>(walk.of_group(groups, t, i)) : total[t][i];
            finish(p, sum, row + 8 * t + 2 * q + i % 2, 16 * tile + g + i / 2 * 8);
        }
    }
}

// Groups that end within a tile of codes: an output a thread.
KERNEL(linear_int8_any, CodedParams, 256) {
    unsigned blocks = (p.columns + 255) / 256, row = blockIdx.x / blocks, column = blockIdx.x % blocks * 256 + threadIdx.x;
    if (column >= p.columns) return;
    const signed char* x = reinterpret_cast<const signed char*>(p.x) + row * p.x_row;
    float total = 0.0f;
    for (unsigned g = 0; g < p.groups; g++) {
        Group group = load_group(p, p.form, column / 16, column % 16, 0, g);
        unsigned end = min(p.k, (g + 1) * p.group_size);
        int sum = 0;
        for (unsigned l = g * p.group_size; l < end; l++) {
            Codes codes = load_codes(p, p.form, column / 16, l / 32, column % 8 * 4 + l % 16 / 4);
            unsigned four = l % 32 < 16 ? four_codes(p.form, codes, 0, column / 8 % 2) : four_codes(p.form, codes, 1, column / 8 % 2);
            sum += x[l] * (static_cast<int>(four >> l % 4 * 8 & 255) - static_cast<int>(group.zero));
        }
        total = fmaf(group.scale, static_cast<float>(sum), total);
    }
    finish(p, total, row, column);
}

#define LAYERS(form, FORM)                                                             \
    SHARING_KERNEL(int8_few_##form, CodedParams, 256, 3) { int8_few<FORM>(p); }        \
    SHARING_KERNEL(int8_many_##form, CodedParams, 256, 1) { int8_many<FORM>(p); }

LAYERS(int8, INT8)
LAYERS(int4, INT4)
LAYERS(q8_0, Q8_0)
LAYERS(q4_0, Q4_0)
LAYERS(q4_k, Q4_K)
LAYERS(q5_k, Q5_K)
LAYERS(q6_k, Q6_K)
