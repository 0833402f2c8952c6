// Stand-in for libcudnn: softmax and convolution on the CPU, with the checks of the device's memory.
#include "api.h"
#include "library.h"

#include <algorithm>
#include <climits>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

namespace {

enum Status { SUCCESS = 0, NOT_INITIALIZED = 1001, BAD_PARAM = 2000, NOT_SUPPORTED = 3000, EXECUTION_FAILED = 5000 };
enum { FLOAT = 0, NCHW = 0 };
enum { ACCURATE = 1 };
enum { INSTANCE = 0, CHANNEL = 1 };
enum { CROSS_CORRELATION = 1, IMPLICIT_GEMM = 0 };

struct Handle {
    void* stream = nullptr;
};

// Sizes and strides of four axes, in the order n, c, h, w; sizes are 0 until they are set.
struct Tensor {
    int size[4] = {0, 0, 0, 0};
    long stride[4] = {0, 0, 0, 0};

    size_t bytes() const {
        long last = 0;
        for (int axis = 0; axis < 4; axis++) {
            last += (size[axis] - 1) * stride[axis];
        }
        return size_t(last + 1) * sizeof(float);
    }

    bool same_size(const Tensor& other) const {
        return std::equal(size, size + 4, other.size);
    }

    bool operator==(const Tensor& other) const {
        return same_size(other) && std::equal(stride, stride + 4, other.stride);
    }
};

struct Convolution {
    int pad_h, pad_w, stride_h, stride_w, dilation_h, dilation_w, mode, type;
    int math = 0;
};

int refused(int status, const char* what, const char* why, const char* argument = "") {
    emulator::say("%s: %s%s", what, why, argument);
    return status;
}

// An argument of a call and how much of it is read or written.
struct Array {
    const char* name;
    const Tensor& tensor;
    const void* address;
};

// Whether sizes are set and the memory is the device's; the last array is written. It may be one of the others, if that has
// the same descriptor, but may not overlap them otherwise.
int checked(const char* what, const void* handle, std::initializer_list<Array> arrays) {
    if (handle == nullptr) {
        return NOT_INITIALIZED;
    }
    if (emulator_get("fail_cudnn") == 2) {
        return EXECUTION_FAILED;
    }
    const Array& out = *(arrays.end() - 1);
    for (const Array& array : arrays) {
        if (array.tensor.size[0] == 0) {
            return refused(BAD_PARAM, what, "no sizes were set for ", array.name);
        }
        if (reinterpret_cast<uintptr_t>(array.address) % sizeof(float) != 0
                || !emulator_check_device_range(what, array.address, array.tensor.bytes())) {
            return BAD_PARAM;
        }
        auto first = static_cast<const char*>(array.address), to = static_cast<const char*>(out.address);
        bool apart = first + array.tensor.bytes() <= to || to + out.tensor.bytes() <= first;
        if (!apart && !(first == to && array.tensor == out.tensor)) {
            return refused(BAD_PARAM, what, "what is written overlaps ", array.name);
        }
    }
    return SUCCESS;
}

template <class Work> int submit(void* handle, const Work& work) {
    int code = emulator_submit(static_cast<Handle*>(handle)->stream, [](const void* argument) {
        static_cast<const Work*>(argument)->run();
    }, &work, sizeof work);
    return code == 0 ? SUCCESS : EXECUTION_FAILED;
}

// Softmax over c, or over c, h and w together; its gradient if there is dy.
struct Softmax {
    bool instance;
    float alpha, beta;
    Tensor in, gradient, out;
    const float *x, *dy;
    float* y;

    // Calls with the offsets in the three arrays of each element that is normalised with element (n, h, w).
    template <class Each> void row(int n, int h, int w, Each each) const {
        int heights = instance ? in.size[2] : 1, widths = instance ? in.size[3] : 1;
        for (int c = 0; c < in.size[1]; c++) {
            for (int i = h; i < h + heights; i++) {
                for (int j = w; j < w + widths; j++) {
                    auto at = [&](const Tensor& t) {
                        return n * t.stride[0] + c * t.stride[1] + i * t.stride[2] + j * t.stride[3];
                    };
                    each(at(in), at(gradient), at(out));
                }
            }
        }
    }

    void run() const {
        for (int n = 0; n < in.size[0]; n++) {
            for (int h = 0; h < (instance ? 1 : in.size[2]); h++) {
                for (int w = 0; w < (instance ? 1 : in.size[3]); w++) {
                    dy == nullptr ? forward(n, h, w) : backward(n, h, w);
                }
            }
        }
    }

    void store(long at, float value) const {
        y[at] = beta == 0 ? alpha * value : alpha * value + beta * y[at];
    }

    void forward(int n, int h, int w) const {
        float largest = -INFINITY;
        row(n, h, w, [&](long from, long, long) { largest = std::fmax(largest, x[from]); });
        double sum = 0;
        row(n, h, w, [&](long from, long, long) { sum += std::exp(x[from] - largest); });
        row(n, h, w, [&](long from, long, long to) { store(to, std::exp(x[from] - largest) / float(sum)); });
    }

    void backward(int n, int h, int w) const {
        double sum = 0;
        row(n, h, w, [&](long from, long change, long) { sum += double(x[from]) * dy[change]; });
        row(n, h, w, [&](long from, long change, long to) { store(to, x[from] * (dy[change] - float(sum))); });
    }
};

int softmax(const char* what, void* handle, int algorithm, int mode, const float* alpha, const Tensor* in, const void* x,
        const Tensor* gradient, const void* dy, const float* beta, const Tensor* out, void* y) {
    if (alpha == nullptr || beta == nullptr || in == nullptr || gradient == nullptr || out == nullptr) {
        return refused(BAD_PARAM, what, "an argument is missing");
    }
    if (algorithm != ACCURATE || (mode != INSTANCE && mode != CHANNEL)) {
        return refused(NOT_SUPPORTED, what, "only the accurate algorithm is emulated");
    }
    if (!in->same_size(*out) || !in->same_size(*gradient)) {
        return refused(BAD_PARAM, what, "the tensors have different sizes");
    }
    bool backward = dy != nullptr;
    int status = backward ? checked(what, handle, {{"y", *in, x}, {"dy", *gradient, dy}, {"dx", *out, y}})
            : checked(what, handle, {{"x", *in, x}, {"y", *out, y}});
    return status != SUCCESS ? status : submit(handle, Softmax{mode == INSTANCE, *alpha, *beta, *in, *gradient, *out,
            static_cast<const float*>(x), static_cast<const float*>(dy), static_cast<float*>(y)});
}

// y[n, k, p, q] = sum over c, r, s of x[n, c, stride p + dilation r - pad, ...] w[k, c, r, s]
struct Product {
    Convolution how;
    float alpha, beta;
    Tensor in, filter, out;
    const float *x, *weights;
    float* y;

    void run() const {
        for (int n = 0; n < out.size[0]; n++) {
            for (int k = 0; k < out.size[1]; k++) {
                for (int p = 0; p < out.size[2]; p++) {
                    for (int q = 0; q < out.size[3]; q++) {
                        float& to = y[n * out.stride[0] + k * out.stride[1] + p * out.stride[2] + q * out.stride[3]];
                        float value = alpha * sum(n, k, p, q);
                        to = beta == 0 ? value : value + beta * to;
                    }
                }
            }
        }
    }

    float sum(int n, int k, int p, int q) const {
        float sum = 0;
        for (int c = 0; c < filter.size[1]; c++) {
            for (int r = 0; r < filter.size[2]; r++) {
                for (int s = 0; s < filter.size[3]; s++) {
                    int i = p * how.stride_h + r * how.dilation_h - how.pad_h;
                    int j = q * how.stride_w + s * how.dilation_w - how.pad_w;
                    if (i >= 0 && i < in.size[2] && j >= 0 && j < in.size[3]) {
                        sum += x[n * in.stride[0] + c * in.stride[1] + i * in.stride[2] + j * in.stride[3]]
                                * weights[k * filter.stride[0] + c * filter.stride[1] + r * filter.stride[2]
                                        + s * filter.stride[3]];
                    }
                }
            }
        }
        return sum;
    }
};

// Size of an axis of a convolution's output.
int output(int in, int pad, int filter, int dilation, int stride) {
    return (in + 2 * pad - ((filter - 1) * dilation + 1)) / stride + 1;
}

bool fits(const Convolution& how, const Tensor& in, const Tensor& filter, const Tensor& out) {
    return out.size[0] == in.size[0] && out.size[1] == filter.size[0] && in.size[1] == filter.size[1]
            && out.size[2] == output(in.size[2], how.pad_h, filter.size[2], how.dilation_h, how.stride_h)
            && out.size[3] == output(in.size[3], how.pad_w, filter.size[3], how.dilation_w, how.stride_w);
}

template <class T> int create(T** made) {
    if (made == nullptr) {
        return BAD_PARAM;
    }
    *made = new T();
    return SUCCESS;
}

template <class T> int destroy(T* made) {
    delete made;
    return SUCCESS;
}

int describe(const char* what, Tensor* tensor, int type, const int (&size)[4], const long (&stride)[4]) {
    double elements = 1;
    for (int axis = 0; axis < 4; axis++) {
        if (tensor == nullptr || size[axis] < 1 || stride[axis] < 1) {
            return refused(BAD_PARAM, what, "sizes and strides are at least 1");
        }
        elements *= size[axis];
    }
    if (type != FLOAT) {
        return refused(NOT_SUPPORTED, what, "only float32 is emulated");
    }
    if (elements > INT_MAX) {
        return refused(NOT_SUPPORTED, what, "a tensor has at most 2^31 - 1 elements");
    }
    std::copy(size, size + 4, tensor->size);
    std::copy(stride, stride + 4, tensor->stride);
    return SUCCESS;
}

int describe_dense(const char* what, Tensor* tensor, int format, int type, const int (&size)[4]) {
    if (format != NCHW) {
        return refused(NOT_SUPPORTED, what, "only the order n, c, h, w is emulated");
    }
    long w = size[3], h = w * size[2];
    return describe(what, tensor, type, size, {h * size[1], h, w, 1});
}

}  // namespace

API size_t cudnnGetVersion() {
    return 90000;
}

API const char* cudnnGetErrorString(int status) {
    switch (status) {
        case SUCCESS: return "CUDNN_STATUS_SUCCESS";
        case NOT_INITIALIZED: return "CUDNN_STATUS_NOT_INITIALIZED";
        case BAD_PARAM: return "CUDNN_STATUS_BAD_PARAM";
        case NOT_SUPPORTED: return "CUDNN_STATUS_NOT_SUPPORTED";
        case EXECUTION_FAILED: return "CUDNN_STATUS_EXECUTION_FAILED";
        default: return "CUDNN_UNKNOWN_STATUS";
    }
}

API int cudnnCreate(Handle** handle) {
    return emulator_get("fail_cudnn") == 1 || emulator_current_device() < 0 ? int(NOT_INITIALIZED) : create(handle);
}

API int cudnnDestroy(Handle* handle) {
    return handle == nullptr ? int(NOT_INITIALIZED) : destroy(handle);
}

API int cudnnSetStream(Handle* handle, void* stream) {
    if (handle == nullptr) {
        return NOT_INITIALIZED;
    }
    handle->stream = stream;
    return SUCCESS;
}

API int cudnnCreateTensorDescriptor(Tensor** tensor) {
    return create(tensor);
}

API int cudnnDestroyTensorDescriptor(Tensor* tensor) {
    return destroy(tensor);
}

API int cudnnSetTensor4dDescriptor(Tensor* tensor, int format, int type, int n, int c, int h, int w) {
    return describe_dense("cudnnSetTensor4dDescriptor", tensor, format, type, {n, c, h, w});
}

API int cudnnSetTensor4dDescriptorEx(Tensor* tensor, int type, int n, int c, int h, int w, int stride_n, int stride_c,
        int stride_h, int stride_w) {
    return describe("cudnnSetTensor4dDescriptorEx", tensor, type, {n, c, h, w}, {stride_n, stride_c, stride_h, stride_w});
}

API int cudnnSoftmaxForward(Handle* handle, int algorithm, int mode, const float* alpha, const Tensor* x_shape, const void* x,
        const float* beta, const Tensor* y_shape, void* y) {
    return softmax("cudnnSoftmaxForward", handle, algorithm, mode, alpha, x_shape, x, y_shape, nullptr, beta, y_shape, y);
}

API int cudnnSoftmaxBackward(Handle* handle, int algorithm, int mode, const float* alpha, const Tensor* y_shape, const void* y,
        const Tensor* dy_shape, const void* dy, const float* beta, const Tensor* dx_shape, void* dx) {
    if (dy == nullptr) {
        return refused(BAD_PARAM, "cudnnSoftmaxBackward", "dy is missing");
    }
    return softmax("cudnnSoftmaxBackward", handle, algorithm, mode, alpha, y_shape, y, dy_shape, dy, beta, dx_shape, dx);
}

API int cudnnCreateFilterDescriptor(Tensor** filter) {
    return create(filter);
}

API int cudnnDestroyFilterDescriptor(Tensor* filter) {
    return destroy(filter);
}

API int cudnnSetFilter4dDescriptor(Tensor* filter, int type, int format, int k, int c, int h, int w) {
    return describe_dense("cudnnSetFilter4dDescriptor", filter, format, type, {k, c, h, w});
}

API int cudnnCreateConvolutionDescriptor(Convolution** how) {
    return create(how);
}

API int cudnnDestroyConvolutionDescriptor(Convolution* how) {
    return destroy(how);
}

API int cudnnSetConvolution2dDescriptor(Convolution* how, int pad_h, int pad_w, int stride_h, int stride_w, int dilation_h,
        int dilation_w, int mode, int type) {
    if (how == nullptr || pad_h < 0 || pad_w < 0 || stride_h < 1 || stride_w < 1 || dilation_h < 1 || dilation_w < 1) {
        return BAD_PARAM;
    }
    if (mode != CROSS_CORRELATION || type != FLOAT) {
        return refused(NOT_SUPPORTED, "cudnnSetConvolution2dDescriptor", "only cross-correlation in float32 is emulated");
    }
    *how = {pad_h, pad_w, stride_h, stride_w, dilation_h, dilation_w, mode, type};
    return SUCCESS;
}

API int cudnnSetConvolutionMathType(Convolution* how, int math) {
    how->math = math;
    return SUCCESS;
}

// One algorithm, which needs some workspace so that callers have to give it.
namespace {
struct Performance {
    int algorithm, status;
    float time;
    size_t memory;
    int determinism, math;
    int reserved[3];
};
constexpr size_t WORKSPACE = 1 << 10;
}

API int cudnnGetConvolutionForwardAlgorithm_v7(Handle*, const Tensor* in, const Tensor* filter, const Convolution* how,
        const Tensor* out, int asked, int* given, Performance* results) {
    if (asked < 1 || !fits(*how, *in, *filter, *out)) {
        return refused(BAD_PARAM, "cudnnGetConvolutionForwardAlgorithm", "the tensors do not fit");
    }
    *given = 1;
    results[0] = {IMPLICIT_GEMM, SUCCESS, -1, WORKSPACE, 1, how->math, {0, 0, 0}};
    return SUCCESS;
}

API int cudnnConvolutionForward(Handle* handle, const float* alpha, const Tensor* in, const void* x, const Tensor* filter,
        const void* weights, const Convolution* how, int algorithm, void* workspace, size_t bytes, const float* beta,
        const Tensor* out, void* y) {
    const char* what = "cudnnConvolutionForward";
    if (alpha == nullptr || beta == nullptr || algorithm != IMPLICIT_GEMM || !fits(*how, *in, *filter, *out)) {
        return refused(BAD_PARAM, what, "the tensors do not fit, or an argument is missing");
    }
    if (bytes < WORKSPACE || !emulator_check_device_range(what, workspace, bytes)) {
        return refused(BAD_PARAM, what, "the workspace is too small");
    }
    int status = checked(what, handle, {{"x", *in, x}, {"w", *filter, weights}, {"y", *out, y}});
    return status != SUCCESS ? status : submit(handle, Product{*how, *alpha, *beta, *in, *filter, *out,
            static_cast<const float*>(x), static_cast<const float*>(weights), static_cast<float*>(y)});
}
