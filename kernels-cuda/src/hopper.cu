// Products of matrices of 16 or 8 bits on Hopper: out[i, j] from the sums over l of left[i, l] · right[j, l], of matrix products
// (`matmul.cu`) and linear layers (`linear.cu`), with the same bits as theirs: the tensor cores add the terms of an instruction as those
// of an earlier one do, which a device has shown.
//
// A block stays and makes one tile after the other, of 128 rows by 128 or 256 columns. One thread copies boxes of both factors to
// shared memory, several stages ahead, also those of the next tile; two groups of four warps make 64 rows each.
#include "hopper.cuh"
#include "layer.cuh"
#include "product.cuh"
#include "scaled.cuh"

constexpr unsigned HOPPER_THREADS = 3 * GROUP, HOPPER_ROWS = 128;

template <int COLUMNS>
struct alignas(1024) HopperStage {
    unsigned char left[HOPPER_ROWS * LINE];
    unsigned char right[COLUMNS * LINE];
};

// Copies what a stage takes of a factor: one box of rows along the sum, or boxes of 64 rows across it.
template <int ROWS, bool ACROSS>
DEVICE void start_boxes(unsigned char* to, const unsigned long long (&map)[16], unsigned row, unsigned term, Barrier& arrived) {
    constexpr unsigned BOXES = ACROSS ? ROWS / 64 : 1;
    UNROLL for (unsigned box = 0; box < BOXES; box++) {
        unsigned along = ACROSS ? row + 64 * box : term, line = ACROSS ? term : row;
        box_start(to + box * 64 * LINE, map, along, line, arrived);
    }
}

// Stores what a thread holds of 16 rows × 2 · COUNT columns, its first result being (row, column), as `finish` makes it of a sum, the
// former content and what belongs to the column. WHOLE says that all of it is inside, and that neighbours of a row may be stored at
// once. What is read for four pairs of a row comes before any of them is stored: the compiler cannot tell that they lie apart.
template <class Out, bool WHOLE, class Sum, unsigned COUNT, class Finish>
DEVICE void store_rows(const ProductParams& p, unsigned row, unsigned column, const Sum (&d)[COUNT], Finish finish) {
    Stride step = WHOLE ? 1 : p.out_column;
    Out* out = reinterpret_cast<Out*>(p.out) + row * p.out_row + column * step;
    auto inside = [&](unsigned half, unsigned at) { return WHOLE || (row + 8 * half < p.rows && at < p.columns); };
    UNROLL for (unsigned first = 0; first < COUNT / 4; first += 4) {
        Pair<Out> pairs[2][4] = {};
        float added[4][2];
        UNROLL for (unsigned j = 0; j < 4; j++) {
            unsigned at = column + 8 * (first + j);
            UNROLL for (unsigned i = 0; i < 2; i++) added[j][i] = inside(0, at + i) ? finish.added(at + i) : 0.0f;
            UNROLL for (unsigned half = 0; half < 2; half++) {
                if (!finish.reads || !inside(half, at)) continue;
                const Out* from = out + 8 * half * p.out_row + 8 * (first + j) * step;
                if (WHOLE) {
                    pairs[half][j] = *reinterpret_cast<const Pair<Out>*>(from);
                } else {
                    pairs[half][j].at[0] = from[0];
                    if (inside(half, at + 1)) pairs[half][j].at[1] = from[step];
                }
            }
        }
        UNROLL for (unsigned half = 0; half < 2; half++) {
            UNROLL for (unsigned j = 0; j < 4; j++) {
                unsigned at = column + 8 * (first + j);
                Pair<Out>& pair = pairs[half][j];
                UNROLL for (unsigned i = 0; i < 2; i++) pair.at[i] = finish.with(d[4 * (first + j) + 2 * half + i], pair.at[i], added[j][i]);
                if (!inside(half, at)) continue;
                Out* to = out + 8 * half * p.out_row + 8 * (first + j) * step;
                if (WHOLE) {
                    *reinterpret_cast<Pair<Out>*>(to) = pair;
                } else {
                    to[0] = pair.at[0];
                    if (inside(half, at + 1)) to[step] = pair.at[1];
                }
            }
        }
    }
}

// The same from the first row and column of the 16 · 2 · COUNT results of a warp on.
template <class Out, class Sum, unsigned COUNT, class Finish>
DEVICE void store_tile(const ProductParams& p, unsigned row, unsigned column, const Sum (&d)[COUNT], Finish finish) {
    unsigned lane = threadIdx.x % WARP_SIZE, g = lane / 4, q = lane % 4;
    bool whole = p.out_way == ROW_PAIRS && row + 16 <= p.rows && column + 2 * COUNT <= p.columns;
    if (whole) return store_rows<Out, true>(p, row + g, column + 2 * q, d, finish);
    store_rows<Out, false>(p, row + g, column + 2 * q, d, finish);
}

// With PARTS, sums of parts of K are made on their own and added in their order.
template <class T, int COLUMNS, bool LEFT_ACROSS, bool RIGHT_ACROSS, bool PARTS, class Store>
DEVICE void hopper_product(const HopperParams& params, Store store) {
    const ProductParams& p = params.product;
    using Sum = typename Sums<T>::Sum;
    using Stage = HopperStage<COLUMNS>;
    constexpr unsigned DEPTH = LINE / sizeof(T), STEP = 32 / sizeof(T), COUNT = COLUMNS == 256 ? 4 : 6;
    struct Stages {
        Stage at[COUNT];
    };
    LARGE_SHARED(Stages, stages);
    struct Phases {
        Barrier arrived[COUNT], done[COUNT];
    };
    SHARED(Phases, phases);
    unsigned group = threadIdx.x / GROUP, thread = threadIdx.x % GROUP;
    if (threadIdx.x == 0) {
        for (unsigned i = 0; i < COUNT; i++) {
            barrier_start(phases.arrived[i], 1);
            barrier_start(phases.done[i], 2);
        }
        barriers_started();
    }
    __syncthreads();
    unsigned down = (p.rows + HOPPER_ROWS - 1) / HOPPER_ROWS, over = (p.columns + COLUMNS - 1) / COLUMNS;
    // Tiles go in strips of sixteen rows of them, so that blocks that run together share factors in the cache.
    auto each_tile = [&](auto make) {
        constexpr unsigned STRIP = 16;
        for (unsigned tile = blockIdx.x; tile < down * over; tile += gridDim.x) {
            unsigned strip = tile / (STRIP * over) * STRIP, height = min(STRIP, down - strip), at = tile % (STRIP * over);
            make((strip + at % height) * HOPPER_ROWS, at / height * COLUMNS);
        }
    };
    unsigned stage = 0, parity = 0;
    auto next_stage = [&] {
        if (++stage < COUNT) return;
        stage = 0;
        parity ^= 1;
    };
    if (group == 0) {
        give_registers<40>();
        if (thread != 0) return;
        each_tile([&](unsigned row, unsigned column) {
            for (unsigned l = 0; l < p.k; l += DEPTH) {
                barrier_wait(phases.done[stage], parity ^ 1);
                Barrier& arrived = phases.arrived[stage];
                barrier_expect(arrived, sizeof(Stage));
                start_boxes<HOPPER_ROWS, LEFT_ACROSS>(stages.at[stage].left, params.left, row, l, arrived);
                start_boxes<COLUMNS, RIGHT_ACROSS>(stages.at[stage].right, params.right, column, l, arrived);
                next_stage();
            }
        });
        return;
    }
    take_registers<232>();
    // 64 rows are a box across the sum, and as many lines along it.
    unsigned own = (group - 1) * 64 * LINE;
    each_tile([&](unsigned row, unsigned column) {
        Sum sum[COLUMNS / 2] = {}, total[PARTS ? COLUMNS / 2 : 1] = {};
        unsigned before = COUNT;
        for (unsigned l = 0; l < p.k; l += DEPTH) {
            barrier_wait(phases.arrived[stage], parity);
            const unsigned char *left = stages.at[stage].left + own, *right = stages.at[stage].right;
            UNROLL for (unsigned half = 0; half < 2; half++) {
                if (PARTS || half == 0) products_start();
                UNROLL for (unsigned step = 2 * half; step < 2 * half + 2; step++) {
                    unsigned across = step * STEP * LINE, along = 32 * step;
                    GroupProduct<T, LEFT_ACROSS, RIGHT_ACROSS>::add(sum, left + (LEFT_ACROSS ? across : along), right + (RIGHT_ACROSS ? across : along));
                }
                if (PARTS || half == 1) products_commit();
                unsigned end = l + (half + 1) * DEPTH / 2;
                if (!PARTS || (end % p.part != 0 && end < p.k)) continue;
                products_wait<0>();
                UNROLL for (int i = 0; i < COLUMNS / 2; i++) {
                    total[PARTS ? i : 0] += sum[i];
                    sum[i] = 0;
                }
            }
            // Products of the stage before are over.
            products_wait<PARTS ? 2 : 1>();
            if (before < COUNT && thread == 0) barrier_arrive(phases.done[before]);
            before = stage;
            next_stage();
        }
        products_wait<0>();
        if (before < COUNT && thread == 0) barrier_arrive(phases.done[before]);
        row += (group - 1) * 64 + thread / WARP_SIZE * 16;
        if constexpr (PARTS) {
            store(row, column, total);
        } else {
            store(row, column, sum);
        }
    });
}

template <class T, int COLUMNS, bool LEFT_ACROSS, bool RIGHT_ACROSS>
DEVICE void hopper_matmul(const HopperParams& params) {
    const ProductParams& p = params.product;
    hopper_product<T, COLUMNS, LEFT_ACROSS, RIGHT_ACROSS, false>(params, [&](unsigned row, unsigned column, const auto& d) {
        if constexpr (sizeof(T) == 1) {
            store_tile<int>(p, row, column, d, scaled(p));
        } else if (p.wide) {
            store_tile<float>(p, row, column, d, scaled(p));
        } else {
            store_tile<T>(p, row, column, d, scaled(p));
        }
    });
}

// With rows of x on the left, so that neighbouring results of a thread are those of a row.
template <class T, bool WEIGHT_ACROSS>
DEVICE void hopper_linear(const HopperParams& params) {
    const ProductParams& p = params.product;
    hopper_product<T, 128, false, WEIGHT_ACROSS, true>(params, [&](unsigned row, unsigned column, const auto& d) {
        store_tile<T>(p, row, column, d, Layer<T>{p.bias, p.bias_step, p.activation});
    });
}

#define HOPPER_KERNEL(name) SHARING_KERNEL(name, HopperArguments, HOPPER_THREADS, 1)
#define HOPPER_MATMUL(name, T, columns, A_WAY, a_across, B_WAY, b_across) \
    HOPPER_KERNEL(hopper_matmul_##name##_##columns##_##A_WAY##_##B_WAY) { hopper_matmul<T, columns, a_across, b_across>(p); }
#define HOPPER_HALVES(name, T, columns)                                   \
    HOPPER_MATMUL(name, T, columns, along, false, along, false)           \
    HOPPER_MATMUL(name, T, columns, along, false, across, true)           \
    HOPPER_MATMUL(name, T, columns, across, true, along, false)           \
    HOPPER_MATMUL(name, T, columns, across, true, across, true)

HOPPER_HALVES(bf16, Bf16, 128)
HOPPER_HALVES(bf16, Bf16, 256)
HOPPER_HALVES(f16, F16, 128)
HOPPER_HALVES(f16, F16, 256)
HOPPER_MATMUL(i8, signed char, 128, along, false, along, false)
HOPPER_MATMUL(i8, signed char, 256, along, false, along, false)
HOPPER_KERNEL(hopper_linear_bf16_along) { hopper_linear<Bf16, false>(p); }
HOPPER_KERNEL(hopper_linear_bf16_across) { hopper_linear<Bf16, true>(p); }
HOPPER_KERNEL(hopper_linear_f16_along) { hopper_linear<F16, false>(p); }
HOPPER_KERNEL(hopper_linear_f16_across) { hopper_linear<F16, true>(p); }
