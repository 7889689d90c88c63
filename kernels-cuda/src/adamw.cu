// m = β₁·m + (1 − β₁)·grad;  v = β₂·v + (1 − β₂)·grad²;
// param −= lr·(correction·m / (√v + eps) + weight_decay·param + l1·sign(param)), with the corrections of both moments in two factors.
// Operands are grad, param, m and v.
#include "lattice.cuh"
#include "sign.cuh"

template <class T>
DEVICE void adamw(const AdamWParams& p) {
    const T* grads = operand<const T>(p.lattice, 0);
    float* params = operand<float>(p.lattice, 1);
    float* firsts = operand<float>(p.lattice, 2);
    float* seconds = operand<float>(p.lattice, 3);
    auto step = [&](float g, float& param, float& m, float& v) {
        m = p.beta1 * m + p.rest1 * g;
        v = p.beta2 * v + p.rest2 * g * g;
        float adaptive = m * p.correction / (sqrtf(v) + p.eps);
        param -= p.lr * (p.weight_decay * param + (p.l1 * sign(param) + adaptive));
    };
    each_element<4>(
        p.lattice,
        [&](const Stride (&at)[4]) {
            float grad[4], param[4], m[4], v[4];
            load_quad(grads + at[0], grad);
            load_quad(params + at[1], param);
            load_quad(firsts + at[2], m);
            load_quad(seconds + at[3], v);
            UNROLL for (int j = 0; j < 4; j++) step(grad[j], param[j], m[j], v[j]);
            store_quad(params + at[1], param);
            store_quad(firsts + at[2], m);
            store_quad(seconds + at[3], v);
        },
        [&](const Stride (&at)[4]) { step(widen(grads[at[0]]), params[at[1]], firsts[at[2]], seconds[at[3]]); });
}

FLOAT_KERNELS(adamw, AdamWParams, ELEMENTWISE_THREADS)
