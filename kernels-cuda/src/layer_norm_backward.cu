// Gradients of layer_norm: of x by rows, of weight and bias by columns.
#include "norm.cuh"

constexpr bool CENTERED = true;

template <class T, int LANES>
DEVICE void layer_norm_backward_held(const NormBackwardParams& p) {
    norm_backward_held<T, LANES, CENTERED>(p);
}

template <class T>
DEVICE void layer_norm_backward_long(const NormBackwardParams& p) {
    norm_backward_long<T, CENTERED>(p);
}

NORM_BACKWARD_KERNELS(layer_norm_backward)
