// Time from one kernel to the next: on a stream, in a graph, and against the number of blocks.
//
// `stream` and `graph`: kernels that do nothing, each after the one before. `blocks`: what more
// blocks of the same kernel cost, in a graph, up to many waves. `busy`: kernels that run for a known
// number of cycles; what is left after those is the gap of a kernel that works.
#include "common.cuh"

namespace {

__global__ void nothing() {}

constexpr int kKernels = 1000;
constexpr int kRepeats = 21;

using Launch = std::function<void(cudaStream_t)>;

double on_stream(const Launch &launch, cudaStream_t stream) {
    return bench::median_seconds(
               [&] {
                   for (int kernel = 0; kernel < kKernels; ++kernel) {
                       launch(stream);
                   }
                   CHECK(cudaStreamSynchronize(stream));
               },
               kRepeats) /
           kKernels;
}

double in_graph(const Launch &launch, cudaStream_t stream) {
    cudaGraph_t graph;
    cudaGraphExec_t executable;
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    for (int kernel = 0; kernel < kKernels; ++kernel) {
        launch(stream);
    }
    CHECK(cudaStreamEndCapture(stream, &graph));
    CHECK(cudaGraphInstantiateWithFlags(&executable, graph, 0));
    bench::Stopwatch watch;
    std::vector<double> seconds;
    for (int repeat = 0; repeat <= kRepeats; ++repeat) {
        watch.start(stream);
        CHECK(cudaGraphLaunch(executable, stream));
        watch.stop(stream);
        const double taken = watch.seconds();
        if (repeat > 0) {
            seconds.push_back(taken); // the first one uploads the graph
        }
    }
    CHECK(cudaGraphExecDestroy(executable));
    CHECK(cudaGraphDestroy(graph));
    return bench::median(seconds) / kKernels;
}

} // namespace

int main() {
    const bench::Gpu gpu = bench::open_gpu();
    bench::header(gpu);
    bench::warm_up(gpu);
    cudaStream_t stream;
    CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    const auto empty = [&](int blocks, int threads) {
        return [=](cudaStream_t on) {
            nothing<<<blocks, threads, 0, on>>>();
            LAUNCHED();
        };
    };
    bench::row("launch", "stream", gpu.sms, "blocks", on_stream(empty(gpu.sms, 128), stream) * 1e9, "ns");
    bench::row("launch", "graph", gpu.sms, "blocks", in_graph(empty(gpu.sms, 128), stream) * 1e9, "ns");
    for (int per_sm = 1; per_sm <= 256; per_sm *= 2) {
        const int blocks = per_sm * gpu.sms;
        bench::row("launch", "blocks", blocks, "blocks", in_graph(empty(blocks, 128), stream) * 1e9, "ns");
    }
    for (const int cycles : {2000, 10000, 50000}) {
        const auto busy = [=](cudaStream_t on) {
            bench::spin<<<gpu.sms, 128, 0, on>>>(cycles);
            LAUNCHED();
        };
        bench::row("launch", "busy", cycles, "cycles", in_graph(busy, stream) * 1e9, "ns");
    }
    CHECK(cudaStreamDestroy(stream));
    return 0;
}
