// out = (x − mean)·rstd·weight + bias.
#include "norm.cuh"

template <class T, int LANES>
DEVICE void layer_norm_held(const NormParams& p) {
    norm_held<T, LANES, true>(p);
}

template <class T>
DEVICE void layer_norm_long(const NormParams& p) {
    norm_long<T, true>(p);
}

HELD_ROW_KERNELS(layer_norm, NormParams)
