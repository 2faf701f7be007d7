"""Kineto files as a GPU's profiler writes them, with times chosen by the test.

Written after output_json.cpp of libkineto: operators on the CPU, the runtime calls that launch
their kernels (same `correlation`), and the kernels, which start when the device is free.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BF16 = "c10::BFloat16"
PID, TID, STREAM = 4242, 4243, 7


class Writer:
    """Collects events; `op` and `kernel` move the clock on. Times are in microseconds."""

    def __init__(self, *, external: bool = True, runtime: bool = True) -> None:
        self.events: list[dict[str, Any]] = []
        self.header: dict[str, Any] = {
            "schemaVersion": 1,
            "deviceProperties": [{"id": 0, "name": "NVIDIA H100", "numSms": 132}],
            "record_shapes": 1,
        }
        self.now = 1000.5
        self._has_external, self._has_runtime = external, runtime
        self._ids = 0
        self._device_free = 0.0

    def add(self, cat: str, name: str, start: float, end: float, **args: Any) -> None:
        place = {"pid": 0, "tid": STREAM} if cat == "kernel" else {"pid": PID, "tid": TID}
        times = {"ts": round(start, 3), "dur": round(end - start, 3)}
        self.events.append({"ph": "X", "cat": cat, "name": name, **place, **times, "args": args})

    @contextmanager
    def within(self, name: str, dims: Any = None, types: Any = None, **args: Any) -> Iterator[int]:
        """An operator, with what is done meanwhile within it; gives its external id."""
        external = self._next()
        start = self.now
        self.now += 1
        yield external
        self.now += 1
        shapes = {} if dims is None else {"Input Dims": dims, "Input type": types}
        shapes |= {"External id": external, "Sequence number": 1, "Ev Idx": external}
        self.add("cpu_op", name, start, self.now, **shapes, **args)

    def op(
        self,
        name: str,
        dims: Any = None,
        types: Any = None,
        *,
        kernels: Sequence[tuple[str, float]] = (),
        values: Sequence[str] | None = None,
        **args: Any,
    ) -> None:
        """An operator that launches kernels of some microseconds itself."""
        if dims is not None and types is None:
            types = [BF16 if shape else "Scalar" for shape in dims]
        if values is not None:
            args["Concrete Inputs"] = list(values)
        with self.within(name, dims, types, **args) as external:
            for kernel, duration in kernels:
                self.launch(kernel, duration, external)

    def launch(self, kernel: str, duration: float, external: int = 0) -> None:
        correlation = self._next()
        if self._has_runtime:
            ids = {"cbid": 211, "correlation": correlation, "External id": external}
            self.add("cuda_runtime", "cudaLaunchKernel", self.now, self.now + 0.5, **ids)
        self.now += 1
        self.run(kernel, duration, correlation, external)

    def run(
        self, kernel: str, duration: float, correlation: int, external: int = 0, **more: Any
    ) -> None:
        """A kernel on the device, which runs one after the other."""
        ids: dict[str, Any] = {"correlation": correlation, "stream": STREAM, **more}
        if self._has_external and external:
            ids["External id"] = external
        start = max(self.now + 5, self._device_free)
        self._device_free = start + duration
        self.add("kernel", kernel, start, self._device_free, grid=[1, 1, 1], **ids)

    @contextmanager
    def range(self, name: str) -> Iterator[None]:
        start = self.now
        self.now += 1
        yield
        self.now += 1
        self.add("user_annotation", name, start, self.now)

    @contextmanager
    def capture(self) -> Iterator[list[str]]:
        """A CUDA graph is recorded: launches put nothing on the device. Gives their kernels."""
        self._runtime("cudaStreamBeginCapture")
        first, has_external = len(self.events), self._has_external
        kernels: list[str] = []
        yield kernels
        self._has_external = has_external
        made = self.events[first:]
        kernels += [event["name"] for event in made if event["cat"] == "kernel"]
        self.events[first:] = [event for event in made if event["cat"] != "kernel"]
        self._runtime("cudaStreamEndCapture")

    def replay(self, kernels: Sequence[str], duration: float) -> None:
        """One launch of a graph; its kernels have no operator, and come in no order."""
        correlation = self._runtime("cudaGraphLaunch")
        first = len(self.events)
        for node, kernel in enumerate(kernels):
            more = {"graph id": 3, "graph node id": 100 + node}
            self.run(kernel, duration + node, correlation, **more)
        self.events[first:] = reversed(self.events[first:])

    def _runtime(self, name: str) -> int:
        correlation = self._next()
        self.add("cuda_runtime", name, self.now, self.now + 0.5, cbid=1, correlation=correlation)
        self.now += 1
        return correlation

    def _next(self) -> int:
        self._ids += 1
        return self._ids

    def text(self, **after: Any) -> str:
        """The file; `after` are members behind the events."""
        return json.dumps({**self.header, "traceEvents": self.events, **after}, indent=1)

    def save(self, path: Path, **after: Any) -> Path:
        data = self.text(**after).encode()
        path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
        return path


def decoder_layer(
    made: Writer, tokens: int, kv_len: int, batch: int = 1, *, slower: float = 0.0
) -> None:
    """A layer as vLLM runs it: 64 wide, 4 heads and 2 KV heads of 16, feed-forward 96."""
    x, q_len = [tokens, 64], tokens // batch
    slow = slower
    made.op("_C::fused_add_rms_norm", [x, x, [64], []], kernels=[("rms", 2 + slow)])
    matmul(made, tokens, 128, 64, 5 + slow)
    made.op("_C::rotary_embedding", [[tokens], x, [tokens, 32], [], [256, 16], []],
            ["long int", BF16, BF16, "Scalar", BF16, "Scalar"], kernels=[("rope", 1)],
            values=["", "", "", "16", "", "True"])  # fmt: skip
    cache = [9, 16, 2, 16]
    made.op("_C_cache_ops::reshape_and_cache_flash",
            [[tokens, 2, 16], [tokens, 2, 16], cache, cache, [tokens]],
            [BF16, BF16, BF16, BF16, "long int"], kernels=[("cache", 1)])  # fmt: skip
    made.op("flash_attn::_flash_attn_varlen_forward",
            [[tokens, 4, 16], cache, cache, [batch + 1], [batch + 1], [], [], [], [], []],
            [BF16, BF16, BF16, "int", "int", *["Scalar"] * 5], kernels=[("flash", 7 + slow)],
            values=["", "", "", "", "", str(q_len), str(kv_len), "0.", "0.25", "True"])  # fmt: skip
    matmul(made, tokens, 64, 64, 4)
    made.op("_C::fused_add_rms_norm", [x, x, [64], []], kernels=[("rms", 2)])
    matmul(made, tokens, 192, 64, 6)
    made.op("_C::silu_and_mul", [[tokens, 96], [tokens, 192]], kernels=[("silu", 1)])
    matmul(made, tokens, 64, 96, 5)


def matmul(made: Writer, m: int, n: int, k: int, duration: float) -> None:
    """aten::linear with what it calls."""
    with made.within("aten::linear", [[m, k], [n, k], []], [BF16, BF16, ""]):
        made.op("aten::t", [[n, k]])
        made.op("aten::mm", [[m, k], [k, n]], kernels=[("gemm", duration)])


def decode_step(
    made: Writer, layers: int = 3, tokens: int = 2, kv_len: int = 33, *, slower: float = 0.0
) -> None:
    """A whole step: look-up, layers, norm and logits."""
    made.op("aten::embedding", [[500, 64], [tokens], [], [], []],
            [BF16, "long int", "Scalar", "Scalar", "Scalar"], kernels=[("gather", 1)])  # fmt: skip
    for _ in range(layers):
        decoder_layer(made, tokens, kv_len, batch=tokens, slower=slower)
    made.op("_C::fused_add_rms_norm", [[tokens, 64], [tokens, 64], [64], []], kernels=[("rms", 2)])
    matmul(made, tokens, 500, 64, 8)
