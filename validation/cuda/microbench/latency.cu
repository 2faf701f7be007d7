// Latency of a load that depends on the one before, against footprint.
//
// One thread follows a random cycle through lines of 128 bytes, so that no prefetch helps; loads go
// past the L1. Cycles are those of the SM; nanoseconds come from events around the same walk.
#include "common.cuh"

#include <numeric>
#include <random>

namespace {

constexpr size_t kLine = 128;
constexpr int kWords = kLine / sizeof(unsigned);
constexpr int kSteps = 20000;
constexpr int kRepeats = 5;

__global__ void chase(const unsigned *lines, unsigned start, int steps, unsigned *end, long long *cycles) {
    unsigned at = start;
    const long long begin = clock64();
    for (int step = 0; step < steps; ++step) {
        at = __ldcg(lines + static_cast<size_t>(at) * kWords);
    }
    *cycles = clock64() - begin;
    *end = at;
}

// One cycle through all lines, in random order (Sattolo).
std::vector<unsigned> cycle_of(size_t lines, std::mt19937_64 &random) {
    std::vector<unsigned> next(lines);
    std::iota(next.begin(), next.end(), 0u);
    for (size_t i = lines - 1; i > 0; --i) {
        const size_t j = std::uniform_int_distribution<size_t>(0, i - 1)(random);
        std::swap(next[i], next[j]);
    }
    return next;
}

void fill(const bench::Buffer<unsigned> &buffer, const std::vector<unsigned> &next) {
    CHECK(cudaMemcpy2D(buffer.get(), kLine, next.data(), sizeof(unsigned), sizeof(unsigned), next.size(),
                       cudaMemcpyHostToDevice));
}

void measure(size_t bytes, std::mt19937_64 &random) {
    const size_t lines = bytes / kLine;
    bench::Buffer<unsigned> buffer(lines * kWords);
    bench::Buffer<unsigned> end(1);
    bench::Buffer<long long> cycles(1);
    fill(buffer, cycle_of(lines, random));
    std::vector<double> all_cycles;
    std::vector<double> all_ns;
    unsigned start = 0;
    bench::Stopwatch watch;
    for (int repeat = 0; repeat <= kRepeats; ++repeat) {
        // The first walk fills the caches as far as they go: it takes all lines if there are few.
        const int steps = repeat == 0 ? static_cast<int>(std::min<size_t>(2 * lines, 400000)) : kSteps;
        watch.start();
        chase<<<1, 1>>>(buffer.get(), start, steps, end.get(), cycles.get());
        LAUNCHED();
        watch.stop();
        const double seconds = watch.seconds();
        long long taken = 0;
        CHECK(cudaMemcpy(&taken, cycles.get(), sizeof(taken), cudaMemcpyDeviceToHost));
        CHECK(cudaMemcpy(&start, end.get(), sizeof(start), cudaMemcpyDeviceToHost));
        if (repeat > 0) {
            all_cycles.push_back(static_cast<double>(taken) / steps);
            all_ns.push_back(seconds / steps * 1e9);
        }
    }
    const double megabytes = bytes / 1048576.0;
    bench::row("latency", "load", megabytes, "MiB", bench::median(all_cycles), "cycles");
    bench::row("latency", "load", megabytes, "MiB", bench::median(all_ns), "ns");
}

} // namespace

int main() {
    const bench::Gpu gpu = bench::open_gpu();
    bench::header(gpu);
    bench::warm_up(gpu);
    std::mt19937_64 random(1);
    const size_t most = std::min<size_t>(16 * gpu.l2_bytes, static_cast<size_t>(0.5 * bench::free_bytes()));
    for (size_t bytes = size_t{1} << 17; bytes <= most; bytes = bytes * 3 / 2 / kLine * kLine) {
        measure(bytes, random);
    }
    return 0;
}
