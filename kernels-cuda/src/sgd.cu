// g = grad + l2·param + l1·sign(param);  velocity = momentum·velocity + g;  param −= lr·velocity, or lr·(g + momentum·velocity).
// Operands are grad, param and velocity.
#include "lattice.cuh"
#include "sign.cuh"

template <class T>
DEVICE void sgd(const SgdParams& p) {
    const T* grads = operand<const T>(p.lattice, 0);
    float* params = operand<float>(p.lattice, 1);
    float* velocities = operand<float>(p.lattice, 2);
    auto step = [&](float grad, float& param, float& velocity) {
        float g = p.l2 * param + (p.l1 * sign(param) + grad);
        float direction = g;
        if (velocities) {
            velocity = p.momentum * velocity + g;
            direction = p.nesterov ? p.momentum * velocity + g : velocity;
        }
        param -= p.lr * direction;
    };
    each_element<3>(
        p.lattice,
        [&](const Stride (&at)[3]) {
            float grad[4], param[4], velocity[4] = {};
            load_quad(grads + at[0], grad);
            load_quad(params + at[1], param);
            if (velocities) load_quad(velocities + at[2], velocity);
            UNROLL for (int j = 0; j < 4; j++) step(grad[j], param[j], velocity[j]);
            store_quad(params + at[1], param);
            if (velocities) store_quad(velocities + at[2], velocity);
        },
        [&](const Stride (&at)[3]) {
            float velocity = velocities ? velocities[at[2]] : 0.0f;
            step(widen(grads[at[0]]), params[at[1]], velocity);
            if (velocities) velocities[at[2]] = velocity;
        });
}

FLOAT_KERNELS(sgd, SgdParams, ELEMENTWISE_THREADS)
