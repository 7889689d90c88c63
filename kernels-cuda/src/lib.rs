//! kernels-cuda
