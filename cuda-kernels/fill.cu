// y[i] = value for i < n. Grid-stride: any grid, blocks of 256 threads.
KERNEL fill_f32(float* __restrict__ y, float value, long long n) {
    for (long long i = blockIdx.x * 256LL + threadIdx.x; i < n; i += gridDim.x * 256LL) {
        y[i] = value;
    }
}
