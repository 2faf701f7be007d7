// Bandwidth of L2 and memory against footprint, and against the number of SMs that ask.
//
// All threads together go round and round the footprint, 16 bytes a load: a footprint below the L2 is
// served from there, one well beyond it from memory, since each line is gone when its turn comes again.
#include "common.cuh"

namespace {

constexpr int kThreads = 512;
constexpr int kUnroll = 8;
constexpr int kRepeats = 11;
constexpr size_t kLeastTraffic = size_t{1} << 31; // bytes that one timed launch moves

// Load number j of thread t is at (t + j * threads) mod count; without a division in the loop.
struct Walk {
    size_t at, advance, count;

    __device__ explicit Walk(size_t length) : count(length) {
        const size_t threads = static_cast<size_t>(gridDim.x) * blockDim.x;
        at = (static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x) % count;
        advance = threads % count;
    }
    __device__ size_t next() {
        const size_t here = at;
        at += advance;
        at = at >= count ? at - count : at;
        return here;
    }
};

__global__ void read(const uint4 *data, size_t count, int loads, unsigned *sink) {
    Walk walk(count);
    unsigned sum = 0;
    for (int load = 0; load < loads; load += kUnroll) {
        uint4 parts[kUnroll];
#pragma unroll
        for (int u = 0; u < kUnroll; ++u) {
            parts[u] = __ldcg(data + walk.next()); // past the L1
        }
#pragma unroll
        for (int u = 0; u < kUnroll; ++u) {
            sum += parts[u].x ^ parts[u].y ^ parts[u].z ^ parts[u].w;
        }
    }
    if (sum == 0x12345678u) {
        *sink = sum; // hardly ever; the loads must not be optimised away
    }
}

__global__ void write(uint4 *data, size_t count, int stores) {
    Walk walk(count);
    for (int store = 0; store < stores; ++store) {
        const unsigned value = threadIdx.x + store;
        data[walk.next()] = make_uint4(value, value, value, value);
    }
}

__global__ void copy(const uint4 *from, uint4 *to, size_t count, int moves) {
    Walk walk(count);
    for (int move = 0; move < moves; move += kUnroll) {
        uint4 parts[kUnroll];
        size_t places[kUnroll];
#pragma unroll
        for (int u = 0; u < kUnroll; ++u) {
            places[u] = walk.next();
            parts[u] = __ldcg(from + places[u]);
        }
#pragma unroll
        for (int u = 0; u < kUnroll; ++u) {
            to[places[u]] = parts[u];
        }
    }
}

// Accesses of each thread, so that all of them move enough bytes and go round at least twice.
int accesses_of(size_t bytes, int blocks) {
    const size_t traffic = std::max(kLeastTraffic, 2 * bytes);
    const size_t per_access = sizeof(uint4) * kThreads * static_cast<size_t>(blocks);
    const size_t accesses = traffic / per_access + 1;
    return static_cast<int>((accesses + kUnroll - 1) / kUnroll * kUnroll);
}

// GB/s of a kernel that moves 16 bytes an access.
double rate(int blocks, int accesses, const std::function<void()> &work) {
    const double bytes = double(sizeof(uint4)) * kThreads * blocks * accesses;
    return bytes / bench::median_seconds(work, kRepeats) * 1e-9;
}

double read_rate(const uint4 *data, size_t bytes, int blocks, unsigned *sink) {
    const int loads = accesses_of(bytes, blocks);
    return rate(blocks, loads, [&] {
        read<<<blocks, kThreads>>>(data, bytes / sizeof(uint4), loads, sink);
        LAUNCHED();
    });
}

void against_footprint(const bench::Gpu &gpu, uint4 *data, size_t most, unsigned *sink) {
    const int blocks = 4 * gpu.sms;
    for (size_t bytes = size_t{1} << 18; bytes <= most; bytes = bytes * 5 / 4 / 4096 * 4096) {
        const double megabytes = bytes / 1048576.0;
        const size_t count = bytes / sizeof(uint4);
        const int accesses = accesses_of(bytes, blocks);
        bench::row("bandwidth", "read", megabytes, "MiB", read_rate(data, bytes, blocks, sink), "GB/s");
        const double written = rate(blocks, accesses, [&] {
            write<<<blocks, kThreads>>>(data, count, accesses);
            LAUNCHED();
        });
        bench::row("bandwidth", "write", megabytes, "MiB", written, "GB/s");
        const double copied = rate(blocks, accesses, [&] {
            copy<<<blocks, kThreads>>>(data, data + count / 2, count / 2, accesses);
            LAUNCHED();
        });
        bench::row("bandwidth", "copy", megabytes, "MiB", 2.0 * copied, "GB/s"); // read and written
    }
}

// One block of 512 threads an SM: how much a few SMs can draw.
void against_blocks(const bench::Gpu &gpu, const uint4 *data, size_t most, unsigned *sink) {
    const size_t cached = gpu.l2_bytes / 4 / 4096 * 4096;
    const auto both = [&](int blocks) {
        bench::row("blocks", "l2", blocks, "blocks", read_rate(data, cached, blocks, sink), "GB/s");
        bench::row("blocks", "memory", blocks, "blocks", read_rate(data, most, blocks, sink), "GB/s");
    };
    for (int blocks = 1; blocks < gpu.sms; blocks *= 2) {
        both(blocks);
    }
    both(gpu.sms);
    both(2 * gpu.sms);
}

} // namespace

int main() {
    const bench::Gpu gpu = bench::open_gpu();
    bench::header(gpu);
    const double wanted = std::min(20.0 * gpu.l2_bytes, 0.8 * bench::free_bytes());
    const size_t most = static_cast<size_t>(wanted) / 4096 * 4096;
    bench::Buffer<uint4> data(most / sizeof(uint4));
    bench::Buffer<unsigned> sink(1);
    CHECK(cudaMemset(data.get(), 1, most));
    bench::warm_up(gpu);
    against_footprint(gpu, data.get(), most, sink.get());
    against_blocks(gpu, data.get(), most, sink.get());
    return 0;
}
