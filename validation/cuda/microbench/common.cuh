// What every microbenchmark shares: checked calls, CSV rows, timing, arguments.
//
// A row is `benchmark,variant,x,x_unit,value,unit`; lines that start with # say what was measured
// on what. A failing call ends the program with exit code 1 and says where.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

// Every call of the CUDA runtime goes through this.
#define CHECK(call)                                                                           \
    do {                                                                                      \
        const cudaError_t status_ = (call);                                                   \
        if (status_ != cudaSuccess) {                                                         \
            std::fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call,                \
                         cudaGetErrorString(status_));                                        \
            std::exit(1);                                                                     \
        }                                                                                     \
    } while (0)

// A launch reports a wrong configuration here; what happens in the kernel, the next CHECK.
#define LAUNCHED() CHECK(cudaGetLastError())

namespace bench {

constexpr int kWarpThreads = 32;

struct Gpu {
    cudaDeviceProp properties;
    int sms;
    size_t l2_bytes;
};

inline Gpu open_gpu() {
    int count = 0;
    const cudaError_t status = cudaGetDeviceCount(&count);
    if (status != cudaSuccess || count == 0) {
        std::fprintf(stderr, "error: no CUDA device: %s\n", cudaGetErrorString(status));
        std::exit(2);
    }
    Gpu gpu{};
    CHECK(cudaSetDevice(0));
    CHECK(cudaGetDeviceProperties(&gpu.properties, 0));
    gpu.sms = gpu.properties.multiProcessorCount;
    gpu.l2_bytes = static_cast<size_t>(gpu.properties.l2CacheSize);
    return gpu;
}

inline int attribute(cudaDeviceAttr name) {
    int value = 0;
    CHECK(cudaDeviceGetAttribute(&value, name, 0));
    return value;
}

inline void header(const Gpu &gpu) {
    int driver = 0;
    int runtime = 0;
    CHECK(cudaDriverGetVersion(&driver));
    CHECK(cudaRuntimeGetVersion(&runtime));
    std::printf("# %s, driver API %d, runtime %d\n", gpu.properties.name, driver, runtime);
    std::printf("benchmark,variant,x,x_unit,value,unit\n");
}

inline void row(const char *benchmark, const char *variant, double x, const char *x_unit,
                double value, const char *unit) {
    std::printf("%s,%s,%.10g,%s,%.7g,%s\n", benchmark, variant, x, x_unit, value, unit);
    std::fflush(stdout);
}

// Device memory that is given back at the end of its scope.
template <typename T> class Buffer {
  public:
    explicit Buffer(size_t count) : count_(count) { CHECK(cudaMalloc(&data_, count * sizeof(T))); }
    ~Buffer() { CHECK(cudaFree(data_)); }
    Buffer(const Buffer &) = delete;
    Buffer &operator=(const Buffer &) = delete;
    T *get() const { return data_; }
    size_t count() const { return count_; }

  private:
    T *data_ = nullptr;
    size_t count_;
};

class Stopwatch {
  public:
    Stopwatch() {
        CHECK(cudaEventCreate(&begin_));
        CHECK(cudaEventCreate(&end_));
    }
    ~Stopwatch() {
        CHECK(cudaEventDestroy(begin_));
        CHECK(cudaEventDestroy(end_));
    }
    Stopwatch(const Stopwatch &) = delete;
    Stopwatch &operator=(const Stopwatch &) = delete;
    void start(cudaStream_t stream = nullptr) { CHECK(cudaEventRecord(begin_, stream)); }
    void stop(cudaStream_t stream = nullptr) { CHECK(cudaEventRecord(end_, stream)); }
    // Waits for the end.
    double seconds() {
        float milliseconds = 0.0f;
        CHECK(cudaEventSynchronize(end_));
        CHECK(cudaEventElapsedTime(&milliseconds, begin_, end_));
        return milliseconds * 1e-3;
    }

  private:
    cudaEvent_t begin_{};
    cudaEvent_t end_{};
};

inline double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const size_t middle = values.size() / 2;
    return values.size() % 2 ? values[middle] : 0.5 * (values[middle - 1] + values[middle]);
}

// Median seconds of `work`, after one run that is not counted.
inline double median_seconds(const std::function<void()> &work, int repeats) {
    Stopwatch watch;
    work();
    CHECK(cudaDeviceSynchronize());
    std::vector<double> seconds;
    for (int repeat = 0; repeat < repeats; ++repeat) {
        watch.start();
        work();
        watch.stop();
        seconds.push_back(watch.seconds());
    }
    return median(seconds);
}

// Keeps the clock up for this long, so that the first measurement finds it there. Each program is
// one translation unit, so a kernel may stand in a header.
__global__ void spin(long long cycles) {
    const long long begin = clock64();
    while (clock64() - begin < cycles) {
    }
}

inline void warm_up(const Gpu &gpu) {
    for (int launch = 0; launch < 20; ++launch) {
        spin<<<gpu.sms, kWarpThreads>>>(20'000'000);
        LAUNCHED();
    }
    CHECK(cudaDeviceSynchronize());
}

inline double free_bytes() {
    size_t free = 0;
    size_t total = 0;
    CHECK(cudaMemGetInfo(&free, &total));
    return static_cast<double>(free);
}

} // namespace bench
