// lse[m] = log of the sum of exp(scale * logits[m, ..]);   loss[m] = sum of weights[m, v] * (lse[m] - scale * logits[m, v]).
#include "report.cuh"
#include "target.cuh"
#include "team.cuh"

template <class T, int LANES>
DEVICE void cross_entropy(const CrossEntropyParams& p) {
    Team<LANES> team;
    if (team.row >= p.rows) return;
    const T* logits = reinterpret_cast<const T*>(p.logits) + team.row * p.logits_row;
    unsigned right = LEFT_OUT;
    if (p.classes && !right_class(right, p, REPORT_CROSS_ENTROPY, team.row, team.lane)) return;

    float values[4];
    float top = -INFINITY;
    team.columns(p.width, [&](unsigned column, unsigned count) {
        load_some(logits + column, count, values);
        UNROLL for (unsigned i = 0; i < 4; i++) {
            float score = p.scale * values[i];
            if (i < count) top = top != top || top > score ? top : score;
        }
    });
    top = team.max(top);
    // Where all are -infinity their differences are not to be NaN.
    float shift = top == -INFINITY ? 0.0f : top;
    float sum = 0.0f;
    team.columns(p.width, [&](unsigned column, unsigned count) {
        load_some(logits + column, count, values);
        UNROLL for (unsigned i = 0; i < 4; i++) {
            if (i < count) sum += expf(p.scale * values[i] - shift);
        }
    });
    sum = team.sum(sum);
    // Nothing but -infinity: the logarithm of 0 is kept out of the sum -infinity + ...
    float rest = sum == 0.0f ? 0.0f : logf(sum);
    float loss = 0.0f;
    if (!p.classes) {
        const float* weights = reinterpret_cast<const float*>(p.target) + team.row * p.target_row;
        float wanted[4];
        team.columns(p.width, [&](unsigned column, unsigned count) {
            load_some(logits + column, count, values);
            load_some(weights + column, count, wanted);
            UNROLL for (unsigned i = 0; i < 4; i++) {
                if (i < count) loss += wanted[i] * ((top - p.scale * values[i]) + rest);
            }
        });
        loss = team.sum(loss);
    } else if (right != LEFT_OUT) {
        loss = (top - p.scale * widen(logits[right])) + rest;
    }
    if (team.lane == 0) {
        reinterpret_cast<float*>(p.loss)[team.row * p.loss_step] = loss;
        reinterpret_cast<float*>(p.lse)[team.row * p.lse_step] = top + rest;
    }
}

ROW_KERNELS(cross_entropy, CrossEntropyParams)
