// Gradients of rms_norm: of x by rows, of weight by columns.
#include "norm.cuh"

NORM_BACKWARD_KERNELS(rms_norm_backward, false)
