"""SKNet: bottlenecks whose convolution chooses among kernels."""
