// All families of kernels: this file is what is compiled.
#include "common.cuh"

#include "fill.cu"
