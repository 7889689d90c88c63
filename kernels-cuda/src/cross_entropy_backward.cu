// dlogits[m, v] = dloss[m] * scale * (exp(scale * logits[m, v] - lse[m]) * sum of weights[m, ..] - weights[m, v])
#include "report.cuh"
#include "target.cuh"
#include "team.cuh"

template <class T, int LANES>
DEVICE void cross_entropy_backward(const CrossEntropyBackwardParams& p) {
    Team<LANES> team;
    if (team.row >= p.rows) return;
    const T* logits = reinterpret_cast<const T*>(p.logits) + team.row * p.logits_row;
    T* dlogits = reinterpret_cast<T*>(p.dlogits) + team.row * p.dlogits_row;
    float lse = reinterpret_cast<const float*>(p.lse)[team.row * p.lse_step];
    float factor = reinterpret_cast<const float*>(p.dloss)[team.row * p.dloss_step] * p.scale;
    float values[4], wanted[4];
    if (p.classes) {
        unsigned right;
        if (!right_class(right, p, REPORT_CROSS_ENTROPY_BACKWARD, team.row, team.lane)) return;
        team.columns(p.width, [&](unsigned column, unsigned count) {
            load_some(logits + column, count, values);
            UNROLL for (unsigned i = 0; i < 4; i++) {
                float weight = column + i == right ? 1.0f : 0.0f;
                // Not a product with 0: what is left out may not be finite.
                values[i] = right == LEFT_OUT ? 0.0f : factor * (expf(p.scale * values[i] - lse) - weight);
            }
            store_some(dlogits + column, count, values);
        });
        return;
    }
    const float* weights = reinterpret_cast<const float*>(p.target) + team.row * p.target_row;
    float total = 0.0f;
    team.columns(p.width, [&](unsigned column, unsigned count) {
        load_some(weights + column, count, wanted);
        UNROLL for (unsigned i = 0; i < 4; i++) {
            if (i < count) total += wanted[i];
        }
    });
    total = team.sum(total);
    team.columns(p.width, [&](unsigned column, unsigned count) {
        load_some(logits + column, count, values);
        load_some(weights + column, count, wanted);
        UNROLL for (unsigned i = 0; i < 4; i++) values[i] = factor * (expf(p.scale * values[i] - lse) * total - wanted[i]);
        store_some(dlogits + column, count, values);
    });
}

ROW_KERNELS(cross_entropy_backward, CrossEntropyBackwardParams)
