// Gradients of layer_norm: of x by rows, of weight and bias by columns.
#include "norm.cuh"

NORM_BACKWARD_KERNELS(layer_norm_backward, true)
