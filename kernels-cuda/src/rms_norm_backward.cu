// Gradients of rms_norm: of x by rows, of weight by columns.
#include "norm.cuh"

constexpr bool CENTERED = false;

template <class T, int LANES>
DEVICE void rms_norm_backward_held(const NormBackwardParams& p) {
    norm_backward_held<T, LANES, CENTERED>(p);
}

template <class T>
DEVICE void rms_norm_backward_long(const NormBackwardParams& p) {
    norm_backward_long<T, CENTERED>(p);
}

NORM_BACKWARD_KERNELS(rms_norm_backward)
