/**
 * The CUDA backend: loading of the driver and of cuBLAS, kernels and their launches. The only package that uses JCuda.
 */
package io.github.ptq4vit.backend.cuda;
