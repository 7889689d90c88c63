// out = x·rstd·weight.
#include "norm.cuh"

template <class T, int LANES>
DEVICE void rms_norm(const NormParams& p) {
    norm<T, LANES, false>(p);
}

ROW_KERNELS(rms_norm, NormParams)
