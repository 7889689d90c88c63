// out[m] = scale · Σ over t of leaves[leaf(t, x[m])], added in rising t: one block per row, which walks down as many trees at a time as
// it has threads, and then adds their leaves, a class a thread.
#include "report.cuh"

constexpr unsigned FOREST_THREADS = 128;
constexpr unsigned LEAF = ~0u;
// No leaf: an index was out of range.
constexpr unsigned NONE = ~0u;

// The leaf that a tree gives for a row.
DEVICE unsigned walk(const ForestParams& p, unsigned tree, const float* x) {
    unsigned node = reinterpret_cast<const unsigned*>(p.roots)[tree * p.roots_step];
    if (!in_range(p.report, REPORT_FOREST_ROOTS, node, tree, p.node_count)) return NONE;
    for (;;) {
        const unsigned* at = reinterpret_cast<const unsigned*>(p.nodes) + node * p.nodes_row;
        float threshold = __uint_as_float(at[0]);
        unsigned feature = at[1], to = at[2];
        Stride place = static_cast<Stride>(node) * 3;
        if (feature == LEAF) return in_range(p.report, REPORT_FOREST_NODES, to, place + 2, p.leaf_count) ? to : NONE;
        if (!in_range(p.report, REPORT_FOREST_NODES, feature, place + 1, p.features)) return NONE;
        // Both children are nodes.
        unsigned later = p.node_count - min(p.node_count, node + 2);
        if (!in_range(p.report, REPORT_FOREST_NODES, to, place + 2, later)) return NONE;
        // Not `>`: NaN goes on as what is larger does.
        node += 1 + to + (x[feature] <= threshold ? 0 : 1);
    }
}

KERNEL(forest_f32, ForestParams, FOREST_THREADS) {
    struct Ends {
        unsigned of[FOREST_THREADS];
    };
    SHARED(Ends, ends);
    const float* x = reinterpret_cast<const float*>(p.x) + blockIdx.x * p.x_row;
    float* out = reinterpret_cast<float*>(p.out) + blockIdx.x * p.out_row;
    unsigned lane = threadIdx.x;
    for (unsigned column = lane; column < p.classes; column += FOREST_THREADS) out[column] = 0.0f;
    for (unsigned first = 0; first < p.trees; first += FOREST_THREADS) {
        // Nobody may still read what the last walks have left.
        __syncthreads();
        if (first + lane < p.trees) ends.of[lane] = walk(p, first + lane, x);
        __syncthreads();
        unsigned count = min(FOREST_THREADS, p.trees - first);
        for (unsigned column = lane; column < p.classes; column += FOREST_THREADS) {
            float sum = out[column];
            for (unsigned tree = 0; tree < count; tree++) {
                if (ends.of[tree] != NONE) sum += reinterpret_cast<const float*>(p.leaves)[ends.of[tree] * p.leaves_row + column];
            }
            out[column] = sum;
        }
    }
    for (unsigned column = lane; column < p.classes; column += FOREST_THREADS) out[column] *= p.scale;
}
