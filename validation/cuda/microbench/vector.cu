// Rates outside the tensor cores: multiply-add in fp32, fp16 and bf16, and exp2.
//
// Independent chains in registers, enough warps to fill every SM.
#include "common.cuh"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace {

constexpr int kThreads = 512;
constexpr int kChains = 8;
constexpr int kSteps = 4096;
constexpr int kRepeats = 11;

struct Fp32 {
    using Value = float;
    static constexpr int per_step = 2; // flops: one multiply, one add
    __device__ static Value start(int i) { return 1.0f + i * 1e-3f; }
    __device__ static Value step(Value x) { return fmaf(x, 0.999f, 1e-3f); }
    __device__ static float plain(Value x) { return x; }
};

struct Fp16 {
    using Value = __half2;
    static constexpr int per_step = 4; // two lanes
    __device__ static Value start(int i) { return __float2half2_rn(1.0f + i * 1e-3f); }
    __device__ static Value step(Value x) {
        return __hfma2(x, __float2half2_rn(0.99f), __float2half2_rn(1e-2f));
    }
    __device__ static float plain(Value x) { return __low2float(x); }
};

struct Bf16 {
    using Value = __nv_bfloat162;
    static constexpr int per_step = 4;
    __device__ static Value start(int i) { return __float2bfloat162_rn(1.0f + i * 1e-3f); }
    __device__ static Value step(Value x) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
        return __hfma2(x, __float2bfloat162_rn(0.99f), __float2bfloat162_rn(1e-2f));
#else
        return x; // never launched there
#endif
    }
    __device__ static float plain(Value x) { return __low2float(x); }
};

struct Exp2 {
    using Value = float;
    static constexpr int per_step = 1;
    __device__ static Value start(int i) { return -0.5f - i * 1e-3f; }
    __device__ static Value step(Value x) {
        float y;
        asm volatile("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
        return y;
    }
    __device__ static float plain(Value x) { return x; }
};

template <typename Kind> __global__ void run(float *sink) {
    typename Kind::Value chains[kChains];
#pragma unroll
    for (int i = 0; i < kChains; ++i) {
        chains[i] = Kind::start(i + threadIdx.x);
    }
    for (int step = 0; step < kSteps; ++step) {
#pragma unroll
        for (int i = 0; i < kChains; ++i) {
            chains[i] = Kind::step(chains[i]);
        }
    }
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kChains; ++i) {
        sum += Kind::plain(chains[i]);
    }
    if (sum == 12345.678f) {
        *sink = sum;
    }
}

template <typename Kind> double rate(const bench::Gpu &gpu, float *sink) {
    const int blocks = gpu.sms * (gpu.properties.maxThreadsPerMultiProcessor / kThreads);
    const double seconds = bench::median_seconds(
        [&] {
            run<Kind><<<blocks, kThreads>>>(sink);
            LAUNCHED();
        },
        kRepeats);
    return double(blocks) * kThreads * kChains * kSteps * Kind::per_step / seconds;
}

} // namespace

int main() {
    const bench::Gpu gpu = bench::open_gpu();
    bench::header(gpu);
    bench::warm_up(gpu);
    bench::Buffer<float> sink(1);
    bench::row("vector", "fp32", 0, "none", rate<Fp32>(gpu, sink.get()) * 1e-12, "TFLOPS");
    bench::row("vector", "fp16", 0, "none", rate<Fp16>(gpu, sink.get()) * 1e-12, "TFLOPS");
    if (gpu.properties.major >= 8) {
        bench::row("vector", "bf16", 0, "none", rate<Bf16>(gpu, sink.get()) * 1e-12, "TFLOPS");
    }
    bench::row("vector", "exp2", 0, "none", rate<Exp2>(gpu, sink.get()) * 1e-9, "G/s");
    return 0;
}
