// cuBLASLt against K at 4096 x 4096: built only where the library is there (not part of nvcc alone).
//
// The first algorithm that its heuristic names, as torch takes it; bf16, fp16 below capability 8.0.
#include "common.cuh"

#include <cublasLt.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#define CHECK_BLAS(call)                                                                      \
    do {                                                                                      \
        const cublasStatus_t status_ = (call);                                                \
        if (status_ != CUBLAS_STATUS_SUCCESS) {                                               \
            std::fprintf(stderr, "%s:%d: %s: status %d\n", __FILE__, __LINE__, #call,         \
                         static_cast<int>(status_));                                          \
            std::exit(1);                                                                     \
        }                                                                                     \
    } while (0)

namespace {

constexpr int kSize = 4096;
constexpr size_t kWorkspace = size_t{32} << 20;

__global__ void fill(unsigned short *data, size_t count, bool is_bf16) {
    for (size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
         i += static_cast<size_t>(gridDim.x) * blockDim.x) {
        const unsigned hash = static_cast<unsigned>(i) * 2654435761u;
        const float value = static_cast<float>(hash >> 8 & 0xff) / 128.0f - 1.0f;
        data[i] = is_bf16 ? __bfloat16_as_ushort(__float2bfloat16(value))
                          : __half_as_ushort(__float2half(value));
    }
}

// y (column major, m x n) = a^T b, both k x ..., as a linear layer calls it.
double seconds_of(cublasLtHandle_t handle, cudaDataType_t type, const void *a, const void *b, void *y, int k,
                  void *workspace) {
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t a_layout, b_layout, y_layout;
    cublasLtMatmulPreference_t preference;
    const cublasOperation_t transposed = CUBLAS_OP_T;
    CHECK_BLAS(cublasLtMatmulDescCreate(&product, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    CHECK_BLAS(cublasLtMatmulDescSetAttribute(product, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof(transposed)));
    CHECK_BLAS(cublasLtMatrixLayoutCreate(&a_layout, type, k, kSize, k));
    CHECK_BLAS(cublasLtMatrixLayoutCreate(&b_layout, type, k, kSize, k));
    CHECK_BLAS(cublasLtMatrixLayoutCreate(&y_layout, type, kSize, kSize, kSize));
    CHECK_BLAS(cublasLtMatmulPreferenceCreate(&preference));
    CHECK_BLAS(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                    &kWorkspace, sizeof(kWorkspace)));
    cublasLtMatmulHeuristicResult_t found{};
    int count = 0;
    CHECK_BLAS(cublasLtMatmulAlgoGetHeuristic(handle, product, a_layout, b_layout, y_layout, y_layout, preference,
                                              1, &found, &count));
    if (count == 0) {
        std::fprintf(stderr, "cuBLASLt has no algorithm for k %d\n", k);
        std::exit(1);
    }
    const float one = 1.0f;
    const float zero = 0.0f;
    const double seconds = bench::median_seconds(
        [&] {
            CHECK_BLAS(cublasLtMatmul(handle, product, &one, a, a_layout, b, b_layout, &zero, y, y_layout, y, y_layout,
                                      &found.algo, workspace, kWorkspace, nullptr));
        },
        21);
    CHECK_BLAS(cublasLtMatmulPreferenceDestroy(preference));
    CHECK_BLAS(cublasLtMatrixLayoutDestroy(y_layout));
    CHECK_BLAS(cublasLtMatrixLayoutDestroy(b_layout));
    CHECK_BLAS(cublasLtMatrixLayoutDestroy(a_layout));
    CHECK_BLAS(cublasLtMatmulDescDestroy(product));
    return seconds;
}

} // namespace

int main() {
    const bench::Gpu gpu = bench::open_gpu();
    bench::header(gpu);
    bench::warm_up(gpu);
    const bool is_bf16 = gpu.properties.major >= 8;
    const cudaDataType_t type = is_bf16 ? CUDA_R_16BF : CUDA_R_16F;
    constexpr int most_k = 16384;
    bench::Buffer<unsigned short> a(size_t{kSize} * most_k);
    bench::Buffer<unsigned short> b(size_t{kSize} * most_k);
    bench::Buffer<unsigned short> y(size_t{kSize} * kSize);
    bench::Buffer<unsigned char> workspace(kWorkspace);
    for (auto *operand : {&a, &b}) {
        fill<<<gpu.sms, 256>>>(operand->get(), operand->count(), is_bf16);
        LAUNCHED();
    }
    cublasLtHandle_t handle;
    CHECK_BLAS(cublasLtCreate(&handle));
    for (int k = 64; k <= most_k; k *= 2) {
        const double seconds = seconds_of(handle, type, a.get(), b.get(), y.get(), k, workspace.get());
        const double flops = 2.0 * kSize * double(kSize) * k;
        bench::row("cublas", is_bf16 ? "bf16" : "fp16", k, "k", flops / seconds * 1e-12, "TFLOPS");
    }
    CHECK_BLAS(cublasLtDestroy(handle));
    return 0;
}
