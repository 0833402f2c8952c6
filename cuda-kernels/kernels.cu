// All families of kernels: this file is what is compiled.
#include "common.cuh"

#include "copy.cu"
#include "elementwise.cu"
#include "layernorm.cu"
#include "matmul_f32.cu"
#include "matmul_s8.cu"
#include "quantize.cu"
#include "reduce.cu"
#include "softmax.cu"
