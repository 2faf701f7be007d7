// The clock of the SMs under load, from the chip's own counters: no NVML needed.
//
// Each launch notes cycles and nanoseconds on one SM; their ratio is the clock while it ran. Loads:
// `idle` (one warp an SM), `fma` (fp32 everywhere), `tensor` (fp16 products everywhere).
#include "common.cuh"

#include <cuda_fp16.h>
#include <mma.h>

#include <chrono>

namespace wmma = nvcuda::wmma;

namespace {

enum class Load { idle, fma, tensor };

__device__ unsigned long long global_ns() {
    unsigned long long value;
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(value));
    return value;
}

__device__ float fma_steps(float x, int steps) {
    float chains[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        chains[i] = x + i;
    }
    for (int step = 0; step < steps; ++step) {
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            chains[i] = fmaf(chains[i], 0.999f, 1e-3f);
        }
    }
    float sum = 0;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        sum += chains[i];
    }
    return sum;
}

__device__ float tensor_steps(int steps) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 700
    wmma::fragment<wmma::matrix_a, 16, 16, 16, __half, wmma::row_major> a;
    wmma::fragment<wmma::matrix_b, 16, 16, 16, __half, wmma::col_major> b;
    wmma::fragment<wmma::accumulator, 16, 16, 16, float> sums[4];
    // Values that differ: zeros would draw less power and leave the clock higher.
    for (int i = 0; i < a.num_elements; ++i) {
        a.x[i] = __float2half(((threadIdx.x * 13 + i * 5) % 17) / 16.0f - 0.5f);
        b.x[i] = __float2half(((threadIdx.x * 11 + i * 3) % 19) / 16.0f - 0.5f);
    }
    for (int f = 0; f < 4; ++f) {
        wmma::fill_fragment(sums[f], static_cast<float>(f)); // alike, they would be one
    }
    for (int step = 0; step < steps; ++step) {
#pragma unroll
        for (int f = 0; f < 4; ++f) {
            wmma::mma_sync(sums[f], a, b, sums[f]);
        }
    }
    return sums[0].x[0] + sums[1].x[0] + sums[2].x[0] + sums[3].x[0];
#else
    return fma_steps(1.0f, steps);
#endif
}

// begin and end of block 0: cycles, nanoseconds.
__global__ void load(Load kind, int steps, unsigned long long *marks, float *sink) {
    const bool notes = blockIdx.x == 0 && threadIdx.x == 0;
    if (notes) {
        marks[0] = clock64();
        marks[1] = global_ns();
    }
    const float result = kind == Load::tensor ? tensor_steps(steps) : fma_steps(threadIdx.x * 1e-3f, steps);
    if (notes) {
        marks[2] = clock64();
        marks[3] = global_ns();
    }
    if (result == 12345.678f) {
        *sink = result;
    }
}

void run(const bench::Gpu &gpu, Load kind, const char *name, double seconds) {
    bench::Buffer<unsigned long long> marks(4);
    bench::Buffer<float> sink(1);
    const int threads = kind == Load::idle ? bench::kWarpThreads : 256;
    const int blocks = kind == Load::idle ? gpu.sms : 4 * gpu.sms;
    const int steps = kind == Load::fma ? 200000 : 400000; // some 10 to 30 ms a launch
    const auto begin = std::chrono::steady_clock::now();
    double now = 0;
    while (now < seconds) {
        load<<<blocks, threads>>>(kind, steps, marks.get(), sink.get());
        LAUNCHED();
        unsigned long long seen[4];
        CHECK(cudaMemcpy(seen, marks.get(), sizeof(seen), cudaMemcpyDeviceToHost));
        now = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
        const double mhz = 1e3 * double(seen[2] - seen[0]) / double(seen[3] - seen[1]);
        bench::row("clock", name, now, "s", mhz, "MHz");
    }
}

} // namespace

int main(int count, char **arguments) {
    const double seconds = count > 1 ? std::atof(arguments[1]) : 3.0;
    if (!(seconds > 0)) {
        std::fprintf(stderr, "error: seconds must be above 0, got %s\n", arguments[1]);
        return 2;
    }
    const bench::Gpu gpu = bench::open_gpu();
    bench::header(gpu);
    run(gpu, Load::idle, "idle", seconds / 3);
    run(gpu, Load::fma, "fma", seconds);
    run(gpu, Load::tensor, "tensor", seconds);
    return 0;
}
