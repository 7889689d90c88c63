// out = (x − mean)·rstd·weight + bias.
#include "norm.cuh"

template <class T, int LANES>
DEVICE void layer_norm(const NormParams& p) {
    norm<T, LANES, true>(p);
}

ROW_KERNELS(layer_norm, NormParams)
