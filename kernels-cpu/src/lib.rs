//! kernels-cpu
