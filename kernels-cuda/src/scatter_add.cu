// out[v] += sum over m with index[m] = v of x[m], in the order of m.
//
// Rows of x are grouped by the row of `out` they go to: counted, given a part of one list each, and placed in it, all by atomic
// additions of integers, whose order shows nowhere but in the order within a list. A block per row of `out` that takes any (and 1024
// of its columns) then sorts the row's list in shared memory; a list longer than that is found again by a walk over all indices, which
// at most M / LONGEST rows can need.
#include "report.cuh"
#include "team.cuh"

constexpr unsigned LIST_THREADS = 256;
constexpr unsigned LONGEST = 2048;

template <class T>
DEVICE T* at(Address address) {
    return reinterpret_cast<T*>(address);
}

DEVICE unsigned index_of(const ScatterAddParams& p, unsigned m) { return at<const unsigned>(p.index)[m * p.index_step]; }

KERNEL(scatter_add_count, ScatterAddParams, LIST_THREADS) {
    unsigned m = blockIdx.x * LIST_THREADS + threadIdx.x;
    if (m >= p.rows) return;
    unsigned v = index_of(p, m);
    if (in_range(p.report, REPORT_SCATTER_ADD, v, m, p.limit)) atomicAdd(at<unsigned>(p.counts) + v, 1u);
}

// The parts of a warp's rows lie side by side; which warp is first does not matter.
KERNEL(scatter_add_divide, ScatterAddParams, LIST_THREADS) {
    unsigned v = blockIdx.x * LIST_THREADS + threadIdx.x;
    unsigned lane = threadIdx.x % WARP_SIZE;
    unsigned count = v < p.limit ? at<const unsigned>(p.counts)[v] : 0;
    // Sums over the lanes up to this one, of counts and of rows that take any.
    unsigned before = count, used = count > 0;
    UNROLL for (unsigned step = 1; step < WARP_SIZE; step *= 2) {
        unsigned more = __shfl_sync(ALL_LANES, before, lane - step), more_used = __shfl_sync(ALL_LANES, used, lane - step);
        if (lane >= step) {
            before += more;
            used += more_used;
        }
    }
    unsigned first = 0, first_used = 0;
    if (lane == WARP_SIZE - 1 && before > 0) {
        first = atomicAdd(at<unsigned>(p.totals), before);
        first_used = atomicAdd(at<unsigned>(p.totals) + 1, used);
    }
    first = __shfl_sync(ALL_LANES, first, WARP_SIZE - 1);
    first_used = __shfl_sync(ALL_LANES, first_used, WARP_SIZE - 1);
    if (count == 0) return;
    // The end moves from the part's start to its end as rows are placed.
    at<unsigned>(p.ends)[v] = first + before - count;
    at<unsigned>(p.used)[first_used + used - 1] = v;
}

KERNEL(scatter_add_place, ScatterAddParams, LIST_THREADS) {
    unsigned m = blockIdx.x * LIST_THREADS + threadIdx.x;
    if (m >= p.rows) return;
    unsigned v = index_of(p, m);
    if (v < p.limit) at<unsigned>(p.list)[atomicAdd(at<unsigned>(p.ends) + v, 1u)] = m;
}

struct List {
    unsigned m[LONGEST];
};

// Sorts the first `count` in rising order.
DEVICE void sort(List& list, unsigned count) {
    unsigned size = 1;
    while (size < count) size *= 2;
    for (unsigned i = count + threadIdx.x; i < size; i += ROWS_THREADS) list.m[i] = ~0u;
    __syncthreads();
    // Batcher's bitonic network.
    for (unsigned run = 2; run <= size; run *= 2) {
        for (unsigned step = run / 2; step > 0; step /= 2) {
            for (unsigned i = threadIdx.x; i < size; i += ROWS_THREADS) {
                unsigned other = i ^ step;
                if (other < i) continue;
                unsigned a = list.m[i], b = list.m[other];
                if ((a > b) == ((i & run) == 0)) {
                    list.m[i] = b;
                    list.m[other] = a;
                }
            }
            __syncthreads();
        }
    }
}

// The sum of four columns of a row of `out`.
template <class X>
struct Columns {
    const X* x;
    Stride row;
    // Columns that there are; 0 where this thread has none.
    unsigned count;
    float sums[4];

    DEVICE void add(const unsigned* rows, unsigned many) {
        if (count == 0) return;
        constexpr unsigned TOGETHER = 4;
        unsigned i = 0;
        for (; i + TOGETHER <= many; i += TOGETHER) {
            float values[TOGETHER][4] = {};
            UNROLL for (unsigned j = 0; j < TOGETHER; j++) load_some(x + rows[i + j] * row, count, values[j]);
            UNROLL for (unsigned j = 0; j < TOGETHER; j++) {
                UNROLL for (int k = 0; k < 4; k++) sums[k] += values[j][k];
            }
        }
        for (; i < many; i++) {
            float values[4] = {};
            load_some(x + rows[i] * row, count, values);
            UNROLL for (int k = 0; k < 4; k++) sums[k] += values[k];
        }
    }
};

template <class X, class Out>
DEVICE void scatter_add(const ScatterAddParams& p) {
    SHARED(List, list);
    struct Found {
        unsigned lanes[ROWS_THREADS / WARP_SIZE];
    };
    SHARED(Found, found);
    unsigned number = blockIdx.x / p.column_blocks;
    if (number >= at<const unsigned>(p.totals)[1]) return;
    unsigned v = at<const unsigned>(p.used)[number];
    unsigned count = at<const unsigned>(p.counts)[v];
    unsigned column = (blockIdx.x % p.column_blocks * ROWS_THREADS + threadIdx.x) * 4;
    Out* out = at<Out>(p.out) + v * p.out_row + column;
    Columns<X> columns = {at<const X>(p.x) + column, p.x_row, column < p.width ? min(p.width - column, 4u) : 0, {}};
    if (columns.count > 0) load_some(out, columns.count, columns.sums);
    if (count <= LONGEST) {
        const unsigned* part = at<const unsigned>(p.list) + (at<const unsigned>(p.ends)[v] - count);
        for (unsigned i = threadIdx.x; i < count; i += ROWS_THREADS) list.m[i] = part[i];
        sort(list, count);
        columns.add(list.m, count);
    } else {
        unsigned kept = 0;
        for (unsigned start = 0; start < p.rows; start += ROWS_THREADS) {
            unsigned m = start + threadIdx.x;
            unsigned lane = threadIdx.x % WARP_SIZE, warp = threadIdx.x / WARP_SIZE;
            bool mine = m < p.rows && index_of(p, m) == v;
            unsigned lanes = __ballot_sync(ALL_LANES, mine);
            if (lane == 0) found.lanes[warp] = lanes;
            __syncthreads();
            unsigned before = kept;
            UNROLL for (unsigned w = 0; w < ROWS_THREADS / WARP_SIZE; w++) {
                unsigned there = __popc(found.lanes[w]);
                if (w < warp) before += there;
                kept += there;
            }
            if (mine) list.m[before + __popc(lanes & ((1u << lane) - 1))] = m;
            __syncthreads();
            if (kept + ROWS_THREADS > LONGEST || start + ROWS_THREADS >= p.rows) {
                columns.add(list.m, kept);
                kept = 0;
                // Nobody may write the list before all have read it.
                __syncthreads();
            }
        }
    }
    if (columns.count > 0) store_some(out, columns.count, columns.sums);
}

KERNEL(scatter_add_f32, ScatterAddParams, ROWS_THREADS) { scatter_add<float, float>(p); }
KERNEL(scatter_add_bf16, ScatterAddParams, ROWS_THREADS) { scatter_add<Bf16, Bf16>(p); }
KERNEL(scatter_add_f16, ScatterAddParams, ROWS_THREADS) { scatter_add<F16, F16>(p); }
KERNEL(scatter_add_wide_bf16, ScatterAddParams, ROWS_THREADS) { scatter_add<Bf16, float>(p); }
KERNEL(scatter_add_wide_f16, ScatterAddParams, ROWS_THREADS) { scatter_add<F16, float>(p); }
