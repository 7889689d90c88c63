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
        UNROLL for (int j = 0; j < COLUMNS / 8; j++) {
            Sum four[4];
            UNROLL for (int i = 0; i < 4; i++) four[i] = PARTS ? total[PARTS ? 4 * j + i : 0] : sum[4 * j + i];
            store(row + (group - 1) * 64 + thread / WARP_SIZE * 16, column + 8 * j, four);
        }
    });
}

template <class T, int COLUMNS, bool LEFT_ACROSS, bool RIGHT_ACROSS>
DEVICE void hopper_matmul(const HopperParams& params) {
    const ProductParams& p = params.product;
    hopper_product<T, COLUMNS, LEFT_ACROSS, RIGHT_ACROSS, false>(params, [&](unsigned row, unsigned column, const auto& d) {
        matmul_results<T>(p, 0, row, column, d);
    });
}

template <class T, bool LEFT_ACROSS>
DEVICE void hopper_linear(const HopperParams& params) {
    const ProductParams& p = params.product;
    hopper_product<T, 128, LEFT_ACROSS, false, true>(params, [&](unsigned row, unsigned column, const float (&d)[4]) {
        store_results<T>(p, 0, row, column, d, Layer<T>{p.bias, p.bias_step, p.activation});
    });
}

#define HOPPER_KERNEL(name) SHARING_KERNEL(name, HopperParams, HOPPER_THREADS, 1)
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
