// Stand-in for libcublas: plain column-major products on the CPU, with the checks of the device's memory.
#include "api.h"
#include "library.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace {

enum Status { SUCCESS = 0, NOT_INITIALIZED = 1, ALLOC_FAILED = 3, INVALID_VALUE = 7, EXECUTION_FAILED = 13, NOT_SUPPORTED = 15 };
enum Type { R_32F = 0, R_8I = 3, R_32I = 10 };

struct Handle {
    void* stream = nullptr;
    int math_mode = 0;
};

// C = alpha op(A) op(B) + beta C, column-major, a batch of them.
template <class In, class Out> struct Product {
    bool transpose_a, transpose_b;
    int m, n, k;
    Out alpha, beta;
    const In *a, *b;
    Out* c;
    int lda, ldb, ldc;
    long stride_a, stride_b, stride_c;
    int batch;
};

constexpr int TILE = 64, DEPTH = 256;

// One tile: packed so that the innermost loop runs along rows of C, which lie side by side.
template <class In, class Out>
__attribute__((optimize("O3")))
void multiply_tile(const In* __restrict a, const In* __restrict b, Out* __restrict sum, int columns, int depth) {
    for (int j = 0; j < columns; j++) {
        for (int l = 0; l < depth; l++) {
            Out factor = b[j * DEPTH + l];
            for (int i = 0; i < TILE; i++) {
                sum[j * TILE + i] += Out(a[l * TILE + i]) * factor;
            }
        }
    }
}

template <class In, class Out> void multiply(const Product<In, Out>& p) {
    std::vector<In> a(size_t(TILE) * DEPTH), b(size_t(TILE) * DEPTH);
    std::vector<Out> sum(size_t(TILE) * TILE);
    for (int q = 0; q < p.batch; q++) {
        const In *pa = p.a + q * p.stride_a, *pb = p.b + q * p.stride_b;
        Out* pc = p.c + q * p.stride_c;
        for (int j0 = 0; j0 < p.n; j0 += TILE) {
            int columns = std::min(TILE, p.n - j0);
            for (int i0 = 0; i0 < p.m; i0 += TILE) {
                int rows = std::min(TILE, p.m - i0);
                std::fill(sum.begin(), sum.end(), Out(0));
                for (int l0 = 0; l0 < p.k; l0 += DEPTH) {
                    int depth = std::min(DEPTH, p.k - l0);
                    for (int l = 0; l < depth; l++) {
                        for (int i = 0; i < rows; i++) {
                            long row = i0 + i, step = l0 + l;
                            a[size_t(l) * TILE + size_t(i)] = p.transpose_a ? pa[step + row * p.lda] : pa[row + step * p.lda];
                        }
                        std::fill(a.begin() + l * TILE + rows, a.begin() + (l + 1) * TILE, In(0));
                    }
                    for (int j = 0; j < columns; j++) {
                        for (int l = 0; l < depth; l++) {
                            long column = j0 + j, step = l0 + l;
                            b[size_t(j) * DEPTH + size_t(l)] = p.transpose_b ? pb[column + step * p.ldb] : pb[step + column * p.ldb];
                        }
                    }
                    multiply_tile(a.data(), b.data(), sum.data(), columns, depth);
                }
                for (int j = 0; j < columns; j++) {
                    for (int i = 0; i < rows; i++) {
                        Out& target = pc[i0 + i + long(j0 + j) * p.ldc];
                        Out value = p.alpha * sum[size_t(j) * TILE + size_t(i)];
                        target = p.beta == Out(0) ? value : value + p.beta * target;
                    }
                }
            }
        }
    }
}

int invalid(const char* what, const char* why) {
    emulator::say("%s: %s", what, why);
    return INVALID_VALUE;
}

// Checks everything, then enqueues in the handle's stream.
template <class In, class Out> int submit(const char* what, void* handle, int op_a, int op_b, Product<In, Out> p) {
    if (handle == nullptr) {
        return NOT_INITIALIZED;
    }
    if (p.m < 0 || p.n < 0 || p.k < 0 || p.batch < 0 || op_a < 0 || op_a > 2 || op_b < 0 || op_b > 2) {
        return invalid(what, "a size or an operation is out of range");
    }
    if (p.m == 0 || p.n == 0 || p.batch == 0) {
        return SUCCESS;
    }
    p.transpose_a = op_a != 0;
    p.transpose_b = op_b != 0;
    int rows_a = p.transpose_a ? p.k : p.m, columns_a = p.transpose_a ? p.m : p.k;
    int rows_b = p.transpose_b ? p.n : p.k, columns_b = p.transpose_b ? p.k : p.n;
    if (p.lda < std::max(1, rows_a) || p.ldb < std::max(1, rows_b) || p.ldc < p.m) {
        return invalid(what, "a leading dimension is smaller than the rows");
    }
    for (int q : {0, p.batch - 1}) {
        auto bytes = [](int rows, int columns, int stride, size_t element) {
            return columns == 0 || rows == 0 ? 0 : (size_t(columns - 1) * size_t(stride) + size_t(rows)) * element;
        };
        if (!emulator_check_device_range(what, p.a + q * p.stride_a, bytes(rows_a, columns_a, p.lda, sizeof(In)))
                || !emulator_check_device_range(what, p.b + q * p.stride_b, bytes(rows_b, columns_b, p.ldb, sizeof(In)))
                || !emulator_check_device_range(what, p.c + q * p.stride_c, bytes(p.m, p.n, p.ldc, sizeof(Out)))) {
            return INVALID_VALUE;
        }
    }
    int code = emulator_submit(static_cast<Handle*>(handle)->stream, [](const void* argument) {
        multiply(*static_cast<const Product<In, Out>*>(argument));
    }, &p, sizeof p);
    return code == 0 ? SUCCESS : EXECUTION_FAILED;
}

int product(const char* what, void* handle, int op_a, int op_b, int m, int n, int k, const void* alpha, const void* a,
        int type_a, int lda, long stride_a, const void* b, int type_b, int ldb, long stride_b, const void* beta, void* c,
        int type_c, int ldc, long stride_c, int batch) {
    if (alpha == nullptr || beta == nullptr) {
        return invalid(what, "alpha and beta are needed");
    }
    if (type_a == R_32F && type_b == R_32F && type_c == R_32F) {
        return submit<float, float>(what, handle, op_a, op_b, {false, false, m, n, k, *static_cast<const float*>(alpha),
                *static_cast<const float*>(beta), static_cast<const float*>(a), static_cast<const float*>(b),
                static_cast<float*>(c), lda, ldb, ldc, stride_a, stride_b, stride_c, batch});
    }
    if (type_a == R_8I && type_b == R_8I && type_c == R_32I) {
        if (lda % 4 != 0 || ldb % 4 != 0 || reinterpret_cast<uintptr_t>(a) % 4 != 0 || reinterpret_cast<uintptr_t>(b) % 4 != 0) {
            emulator::say("%s: int8 products want leading dimensions and addresses that are multiples of 4", what);
            return NOT_SUPPORTED;
        }
        return submit<int8_t, int>(what, handle, op_a, op_b, {false, false, m, n, k, *static_cast<const int*>(alpha),
                *static_cast<const int*>(beta), static_cast<const int8_t*>(a), static_cast<const int8_t*>(b),
                static_cast<int*>(c), lda, ldb, ldc, stride_a, stride_b, stride_c, batch});
    }
    emulator::say("%s: types %d x %d -> %d are not emulated", what, type_a, type_b, type_c);
    return NOT_SUPPORTED;
}

}  // namespace

API int cublasCreate_v2(void** handle) {
    if (emulator_get("fail_cublas") != 0) {
        return NOT_INITIALIZED;
    }
    if (emulator_current_device() < 0) {
        return NOT_INITIALIZED;
    }
    *handle = new Handle;
    return SUCCESS;
}

API int cublasDestroy_v2(void* handle) {
    if (handle == nullptr) {
        return NOT_INITIALIZED;
    }
    delete static_cast<Handle*>(handle);
    return SUCCESS;
}

API int cublasGetVersion_v2(void*, int* version) {
    *version = 10000 * CUBLAS_MAJOR;
    return SUCCESS;
}

API int cublasGetProperty(int property, int* value) {
    *value = property == 0 ? CUBLAS_MAJOR : 0;
    return SUCCESS;
}

API int cublasSetStream_v2(void* handle, void* stream) {
    static_cast<Handle*>(handle)->stream = stream;
    return SUCCESS;
}

API int cublasGetStream_v2(void* handle, void** stream) {
    *stream = static_cast<Handle*>(handle)->stream;
    return SUCCESS;
}

API int cublasSetMathMode(void* handle, int mode) {
    static_cast<Handle*>(handle)->math_mode = mode;
    return SUCCESS;
}

API int cublasGetMathMode(void* handle, int* mode) {
    *mode = static_cast<Handle*>(handle)->math_mode;
    return SUCCESS;
}

// Only scalars on the host.
API int cublasSetPointerMode_v2(void*, int mode) {
    return mode == 0 ? SUCCESS : NOT_SUPPORTED;
}

API int cublasSetAtomicsMode(void*, int) {
    return SUCCESS;
}

API int cublasSetWorkspace_v2(void*, void* workspace, size_t bytes) {
    return emulator_check_device_range("cublasSetWorkspace", workspace, bytes) ? SUCCESS : INVALID_VALUE;
}

API const char* cublasGetStatusName(int status) {
    return status == 0 ? "CUBLAS_STATUS_SUCCESS" : "CUBLAS_STATUS_FAILURE";
}

API int cublasSgemm_v2(void* handle, int op_a, int op_b, int m, int n, int k, const float* alpha, const float* a, int lda,
        const float* b, int ldb, const float* beta, float* c, int ldc) {
    return product("cublasSgemm", handle, op_a, op_b, m, n, k, alpha, a, R_32F, lda, 0, b, R_32F, ldb, 0, beta, c, R_32F,
            ldc, 0, 1);
}

API int cublasSgemmStridedBatched(void* handle, int op_a, int op_b, int m, int n, int k, const float* alpha, const float* a,
        int lda, long long stride_a, const float* b, int ldb, long long stride_b, const float* beta, float* c, int ldc,
        long long stride_c, int batch) {
    return product("cublasSgemmStridedBatched", handle, op_a, op_b, m, n, k, alpha, a, R_32F, lda, stride_a, b, R_32F, ldb,
            stride_b, beta, c, R_32F, ldc, stride_c, batch);
}

API int cublasGemmEx(void* handle, int op_a, int op_b, int m, int n, int k, const void* alpha, const void* a, int type_a,
        int lda, const void* b, int type_b, int ldb, const void* beta, void* c, int type_c, int ldc, int, int) {
    return product("cublasGemmEx", handle, op_a, op_b, m, n, k, alpha, a, type_a, lda, 0, b, type_b, ldb, 0, beta, c, type_c,
            ldc, 0, 1);
}

API int cublasGemmStridedBatchedEx(void* handle, int op_a, int op_b, int m, int n, int k, const void* alpha, const void* a,
        int type_a, int lda, long long stride_a, const void* b, int type_b, int ldb, long long stride_b, const void* beta,
        void* c, int type_c, int ldc, long long stride_c, int batch, int, int) {
    return product("cublasGemmStridedBatchedEx", handle, op_a, op_b, m, n, k, alpha, a, type_a, lda, stride_a, b, type_b, ldb,
            stride_b, beta, c, type_c, ldc, stride_c, batch);
}
