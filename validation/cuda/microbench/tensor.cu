// Tensor-core rate: in registers alone, and as a block tile fed from memory, against tile and K.
//
// `peak` multiplies fragments that stay in registers. `tile_MxN` is a plain kernel with WMMA
// instructions: operands to shared memory in two stages, one block per tile, one wave of blocks. It is no rival to cuBLAS: it shows how the rate rises with K and with the tile.
// WMMA reaches about two thirds of the peak of chips whose full rate needs warp-group instructions
// (compute capability 9.0) or tensor memory (10.0).
#include "common.cuh"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_pipeline_primitives.h>
#include <mma.h>

namespace wmma = nvcuda::wmma;

namespace {

constexpr int kRepeats = 11;
constexpr int kSteps = 2048;
constexpr int kFragments = 4; // independent products of a warp

struct Fp16 {
    using Value = __half;
    using Sum = float;
    using Layout = __half;
    static constexpr int m = 16, n = 16, k = 16, least = 70;
};

struct Bf16 {
    using Value = __nv_bfloat16;
    using Sum = float;
    using Layout = __nv_bfloat16;
    static constexpr int m = 16, n = 16, k = 16, least = 80;
};

struct Tf32 {
    using Value = float;
    using Sum = float;
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
    using Layout = wmma::precision::tf32;
#else
    using Layout = float; // never used there
#endif
    static constexpr int m = 16, n = 16, k = 8, least = 80;
};

struct Int8 {
    using Value = signed char;
    using Sum = int;
    using Layout = signed char;
    static constexpr int m = 16, n = 16, k = 16, least = 72;
};

template <typename Kind> __host__ __device__ constexpr bool is_compiled() {
#ifdef __CUDA_ARCH__
    return __CUDA_ARCH__ >= 10 * Kind::least;
#else
    return true;
#endif
}

template <typename Kind> __global__ void peak(typename Kind::Sum *sink) {
    if constexpr (is_compiled<Kind>()) {
        wmma::fragment<wmma::matrix_a, Kind::m, Kind::n, Kind::k, typename Kind::Layout, wmma::row_major> a;
        wmma::fragment<wmma::matrix_b, Kind::m, Kind::n, Kind::k, typename Kind::Layout, wmma::col_major> b;
        wmma::fragment<wmma::accumulator, Kind::m, Kind::n, Kind::k, typename Kind::Sum> sums[kFragments];
        // Small values that differ between lanes: zeros would draw less power.
        for (int i = 0; i < a.num_elements; ++i) {
            a.x[i] = static_cast<typename Kind::Value>(static_cast<float>((threadIdx.x * 7 + i) % 5 - 2));
        }
        for (int i = 0; i < b.num_elements; ++i) {
            b.x[i] = static_cast<typename Kind::Value>(static_cast<float>((threadIdx.x * 3 + i) % 7 - 3));
        }
#pragma unroll
        for (int f = 0; f < kFragments; ++f) {
            // Not all alike: the compiler would do one product for the four.
            wmma::fill_fragment(sums[f], static_cast<typename Kind::Sum>(f));
        }
        for (int step = 0; step < kSteps; ++step) {
#pragma unroll
            for (int f = 0; f < kFragments; ++f) {
                wmma::mma_sync(sums[f], a, b, sums[f]);
            }
        }
        typename Kind::Sum total = 0;
#pragma unroll
        for (int f = 0; f < kFragments; ++f) {
            for (int i = 0; i < sums[f].num_elements; ++i) {
                total += sums[f].x[i];
            }
        }
        if (total == static_cast<typename Kind::Sum>(123456789)) {
            *sink = total;
        }
    }
}

template <typename Kind> void peak_row(const bench::Gpu &gpu, const char *name) {
    if (10 * gpu.properties.major + gpu.properties.minor < Kind::least) {
        return;
    }
    constexpr int threads = 256;
    const int blocks = 4 * gpu.sms;
    bench::Buffer<typename Kind::Sum> sink(1);
    const double seconds = bench::median_seconds(
        [&] {
            peak<Kind><<<blocks, threads>>>(sink.get());
            LAUNCHED();
        },
        kRepeats);
    const double warps = double(blocks) * threads / bench::kWarpThreads;
    const double flops = warps * kSteps * kFragments * 2.0 * Kind::m * Kind::n * Kind::k;
    bench::row("tensor", name, 0, "none", flops / seconds * 1e-12, "TFLOPS");
}

// y[TM, TN] of a block: a [k, row major], b [k, column major], fp16 in, fp32 out.
constexpr int kTileK = 32;
constexpr int kPad = 8; // halves a row, against bank conflicts
constexpr int kWarpTile = 32;

template <int TM, int TN> struct Tile {
    static constexpr int warps = (TM / kWarpTile) * (TN / kWarpTile);
    static constexpr int threads = warps * bench::kWarpThreads;
    static constexpr int stride = kTileK + kPad;
    static constexpr int stage = (TM + TN) * stride;
};

template <int ROWS, int THREADS>
__device__ void fetch(__half *to, const __half *from, int stride, int k, int at) {
    constexpr int per_row = kTileK / 8;
    for (int i = threadIdx.x; i < ROWS * per_row; i += THREADS) {
        const int line = i / per_row;
        const int part = i % per_row * 8;
        __pipeline_memcpy_async(to + line * stride + part, from + static_cast<size_t>(line) * k + at + part, 16);
    }
}

template <int TM, int TN>
__global__ void __launch_bounds__(Tile<TM, TN>::threads)
    tile(const __half *a, const __half *b, float *y, int n, int k) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 700
    using Shape = Tile<TM, TN>;
    extern __shared__ __align__(16) __half shared[];
    const int tiles_n = n / TN;
    const int row = blockIdx.x / tiles_n * TM;
    const int column = blockIdx.x % tiles_n * TN;
    const int warp = threadIdx.x / bench::kWarpThreads;
    const int warp_row = warp / (TN / kWarpTile) * kWarpTile;
    const int warp_column = warp % (TN / kWarpTile) * kWarpTile;
    const __half *own_a = a + static_cast<size_t>(row) * k;
    const __half *own_b = b + static_cast<size_t>(column) * k;
    wmma::fragment<wmma::accumulator, 16, 16, 16, float> sums[2][2];
    for (int i = 0; i < 4; ++i) {
        wmma::fill_fragment(sums[i / 2][i % 2], 0.0f);
    }
    const auto load = [&](int stage, int at) {
        __half *to = shared + stage * Shape::stage;
        fetch<TM, Shape::threads>(to, own_a, Shape::stride, k, at);
        fetch<TN, Shape::threads>(to + TM * Shape::stride, own_b, Shape::stride, k, at);
        __pipeline_commit();
    };
    load(0, 0);
    __pipeline_wait_prior(0);
    __syncthreads();
    for (int at = 0; at < k; at += kTileK) {
        const int stage = at / kTileK % 2;
        if (at + kTileK < k) {
            load(1 - stage, at + kTileK);
        }
        const __half *from_a = shared + stage * Shape::stage;
        const __half *from_b = from_a + TM * Shape::stride;
#pragma unroll
        for (int inner = 0; inner < kTileK; inner += 16) {
            wmma::fragment<wmma::matrix_a, 16, 16, 16, __half, wmma::row_major> left[2];
            wmma::fragment<wmma::matrix_b, 16, 16, 16, __half, wmma::col_major> right[2];
            for (int i = 0; i < 2; ++i) {
                wmma::load_matrix_sync(left[i], from_a + (warp_row + 16 * i) * Shape::stride + inner, Shape::stride);
                wmma::load_matrix_sync(right[i], from_b + (warp_column + 16 * i) * Shape::stride + inner, Shape::stride);
            }
            for (int i = 0; i < 4; ++i) {
                wmma::mma_sync(sums[i / 2][i % 2], left[i / 2], right[i % 2], sums[i / 2][i % 2]);
            }
        }
        __pipeline_wait_prior(0);
        __syncthreads();
    }
    for (int i = 0; i < 4; ++i) {
        float *to = y + static_cast<size_t>(row + warp_row + 16 * (i / 2)) * n + column + warp_column + 16 * (i % 2);
        wmma::store_matrix_sync(to, sums[i / 2][i % 2], n, wmma::mem_row_major);
    }
#endif
}

__global__ void fill(__half *data, size_t count, unsigned seed) {
    for (size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
         i += static_cast<size_t>(gridDim.x) * blockDim.x) {
        const unsigned hash = (static_cast<unsigned>(i) * 2654435761u) ^ seed;
        data[i] = __float2half(static_cast<float>(hash >> 8 & 0xff) / 128.0f - 1.0f);
    }
}

// Some results against the CPU in double precision. False where one is wrong.
bool is_right(const bench::Buffer<__half> &a, const bench::Buffer<__half> &b, const bench::Buffer<float> &y,
              int m, int n, int k) {
    std::vector<__half> left(k);
    std::vector<__half> right(k);
    for (const int row : {0, m / 3, m - 1}) {
        for (const int column : {0, n / 2 + 1, n - 1}) {
            CHECK(cudaMemcpy(left.data(), a.get() + static_cast<size_t>(row) * k, k * sizeof(__half),
                             cudaMemcpyDeviceToHost));
            CHECK(cudaMemcpy(right.data(), b.get() + static_cast<size_t>(column) * k, k * sizeof(__half),
                             cudaMemcpyDeviceToHost));
            double sum = 0;
            double size = 0;
            for (int i = 0; i < k; ++i) {
                const double term = double(__half2float(left[i])) * double(__half2float(right[i]));
                sum += term;
                size += std::abs(term);
            }
            float ours = 0;
            CHECK(cudaMemcpy(&ours, y.get() + static_cast<size_t>(row) * n + column, sizeof(ours),
                             cudaMemcpyDeviceToHost));
            if (!(std::abs(ours - sum) <= 1e-4 * size)) {
                std::fprintf(stderr, "wrong result at (%d, %d), k %d: %g, not %g\n", row, column, k, ours, sum);
                return false;
            }
        }
    }
    return true;
}

// One block an SM, as far as a rectangle of tiles allows.
template <int TM, int TN> bool tile_rows(const bench::Gpu &gpu, const char *name) {
    using Shape = Tile<TM, TN>;
    int down = 1;
    while (down * down < gpu.sms) {
        down *= 2;
    }
    const int across = std::max(1, gpu.sms / down);
    const int m = down * TM;
    const int n = across * TN;
    constexpr int most_k = 16384;
    constexpr size_t shared_bytes = 2 * Shape::stage * sizeof(__half);
    CHECK(cudaFuncSetAttribute(tile<TM, TN>, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes));
    bench::Buffer<__half> a(static_cast<size_t>(m) * most_k);
    bench::Buffer<__half> b(static_cast<size_t>(n) * most_k);
    bench::Buffer<float> y(static_cast<size_t>(m) * n);
    fill<<<gpu.sms, 256>>>(a.get(), a.count(), 1u);
    LAUNCHED();
    fill<<<gpu.sms, 256>>>(b.get(), b.count(), 2u);
    LAUNCHED();
    for (int k = 64; k <= most_k; k *= 2) {
        CHECK(cudaMemset(y.get(), 0xff, y.count() * sizeof(float))); // not a number until written
        const double seconds = bench::median_seconds(
            [&] {
                tile<TM, TN><<<down * across, Shape::threads, shared_bytes>>>(a.get(), b.get(), y.get(), n, k);
                LAUNCHED();
            },
            kRepeats);
        if (!is_right(a, b, y, m, n, k)) {
            return false;
        }
        bench::row("tensor", name, k, "k", 2.0 * m * n * k / seconds * 1e-12, "TFLOPS");
    }
    return true;
}

} // namespace

int main() {
    const bench::Gpu gpu = bench::open_gpu();
    bench::header(gpu);
    if (gpu.properties.major < 7) {
        std::fprintf(stderr, "error: no tensor cores: compute capability below 7.0\n");
        return 2;
    }
    bench::warm_up(gpu);
    peak_row<Fp16>(gpu, "fp16");
    peak_row<Bf16>(gpu, "bf16");
    peak_row<Tf32>(gpu, "tf32");
    peak_row<Int8>(gpu, "int8");
    const bool are_right = tile_rows<64, 64>(gpu, "tile_64x64") && tile_rows<128, 64>(gpu, "tile_128x64") &&
                           tile_rows<128, 128>(gpu, "tile_128x128") && tile_rows<256, 128>(gpu, "tile_256x128");
    return are_right ? 0 : 1;
}
