/**
 * NVIDIA GPUs: the kernels of {@code cuda-kernels/} and cuBLAS through JCuda. The only package that knows {@code jcuda}.
 */
package io.github.ptq4vit.backend.cuda;
