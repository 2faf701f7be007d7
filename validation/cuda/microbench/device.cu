// What the device says of itself.
#include "common.cuh"

int main() {
    const bench::Gpu gpu = bench::open_gpu();
    const cudaDeviceProp &p = gpu.properties;
    bench::header(gpu);
    const auto say = [](const char *name, double value, const char *unit) {
        bench::row("device", name, 0, "none", value, unit);
    };
    say("capability", 10 * p.major + p.minor, "none");
    say("sms", p.multiProcessorCount, "none");
    say("l2", static_cast<double>(p.l2CacheSize), "bytes");
    say("memory", static_cast<double>(p.totalGlobalMem), "bytes");
    say("shared_per_sm", static_cast<double>(p.sharedMemPerMultiprocessor), "bytes");
    say("registers_per_sm", 4.0 * p.regsPerMultiprocessor, "bytes");
    say("threads_per_sm", p.maxThreadsPerMultiProcessor, "none");
    say("memory_bus", p.memoryBusWidth, "bits");
    // Attributes, since newer runtimes have dropped the fields of the properties.
    say("clock", bench::attribute(cudaDevAttrClockRate) * 1e-3, "MHz");
    say("memory_clock", bench::attribute(cudaDevAttrMemoryClockRate) * 1e-3, "MHz");
    return 0;
}
