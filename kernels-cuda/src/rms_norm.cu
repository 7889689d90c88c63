// out = x·rstd·weight.
#include "norm.cuh"

template <class T, int LANES>
DEVICE void rms_norm_held(const NormParams& p) {
    norm_held<T, LANES, false>(p);
}

template <class T>
DEVICE void rms_norm_long(const NormParams& p) {
    norm_long<T, false>(p);
}

HELD_ROW_KERNELS(rms_norm, NormParams)
