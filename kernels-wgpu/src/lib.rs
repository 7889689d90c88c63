//! kernels-wgpu
