// norm = √(Σ x²) over all tensors, and x *= max_norm / norm where the norm is larger, and finite.
// sums[0] is the factor that clips, sums[1..] are the sums of squares of blocks.
#include "team.cuh"

// Elements of a block.
constexpr unsigned CLIP_BLOCK = 4096;

// sums[to + block] = Σ x² of a block.
template <class T>
DEVICE void clip_norm_squares(const ClipNormParams& p) {
    Team<ROWS_THREADS> team;
    const T* x = operand<const T>(p.lattice, 0);
    float sum = 0.0f;
    unsigned first = blockIdx.x * CLIP_BLOCK, count = min(p.lattice.count - first, CLIP_BLOCK);
    team.columns(count, [&](unsigned column, unsigned some) {
        float values[4] = {};
        if (p.lattice.dense == DENSE) {
            load_some(x + first + column, some, values);
        } else {
            UNROLL for (unsigned i = 0; i < 4; i++) {
                if (i < some) {
                    Stride at[1];
                    place(p.lattice, first + column + i, at);
                    values[i] = widen(x[at[0]]);
                }
            }
        }
        UNROLL for (unsigned i = 0; i < 4; i++) sum += values[i] * values[i];
    });
    sum = team.sum(sum);
    if (team.lane == 0) reinterpret_cast<float*>(p.sums)[p.to + blockIdx.x] = sum;
}

template <class T>
DEVICE void clip_norm_scale(const ClipNormParams& p) {
    float factor = reinterpret_cast<const float*>(p.sums)[0];
    if (factor == 1.0f) return;
    zip<T, T, T>(p.lattice, [&](float x, float) { return x * factor; });
}

KERNEL(clip_norm, ClipNormParams, ROWS_THREADS) {
    Team<ROWS_THREADS> team;
    float* sums = reinterpret_cast<float*>(p.sums);
    float sum = 0.0f;
    for (unsigned i = team.lane; i < p.blocks; i += ROWS_THREADS) sum += sums[1 + i];
    float norm = sqrtf(team.sum(sum));
    if (team.lane != 0) return;
    *reinterpret_cast<float*>(p.norm) = norm;
    sums[0] = norm > p.max_norm && norm < INFINITY ? p.max_norm / norm : 1.0f;
}

FLOAT_KERNELS(clip_norm_squares, ClipNormParams, ROWS_THREADS)
FLOAT_KERNELS(clip_norm_scale, ClipNormParams, ELEMENTWISE_THREADS)
