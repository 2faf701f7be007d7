"""Import of a large Kineto file: seconds, megabytes per second, and peak memory of the process.

    python benchmarks/kineto.py [--megabytes 50] [--share 0.5] [--keep FILE] [--packed]

A file is written as torch 2.14 lays it out: decode steps of a model of 32 layers on a GPU, with the
views, runtime calls, kernels and flows that belong to them, and `--share` of the file's bytes in
Python functions. It is imported by a process of its own; peak memory is that process's, with the
interpreter and numpy. The goal is constant memory, under 500 MB for 2 GB, and 30 MB/s.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from io import BufferedWriter
from pathlib import Path
from typing import Any, Final

LAYERS, HIDDEN, HEADS, KV_HEADS, HEAD_DIM, INTER = 32, 4096, 32, 8, 128, 14336
GOAL_MB, GOAL_MB_PER_S = 500, 30
BF16: Final = "c10::BFloat16"
CHILD: Final = """
import json, resource, sys, time
from bankwidth.operators.formats import import_trace
start, start_cpu = time.perf_counter(), time.process_time()
found = import_trace(sys.argv[1])
print(json.dumps({
    "seconds": time.perf_counter() - start,
    "cpu_seconds": time.process_time() - start_cpu,
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    "operators": found.trace.num_steps,
    "repeats": [block.repeat for block in found.trace.blocks],
    "step": found.trace.meta["step"],
}))
"""


class Writer:
    """Writes events one after the other; counts bytes and numbers."""

    def __init__(self, file: gzip.GzipFile | BufferedWriter, share: float) -> None:
        self._file = file
        self._share = share
        self._python_bytes = 0
        self.bytes = 0
        self.ids = 0
        self.now_us = 1_000_000.0

    def write(self, text: str) -> int:
        self.bytes += self._file.write(text.encode())
        return len(text)

    def event(self, cat: str, name: str, took_us: float, args: str) -> int:
        self.ids += 1
        return self.write(
            f'  {{\n    "ph": "X",\n    "cat": "{cat}",\n    "name": "{name}",\n    "pid": 7,\n'
            f'    "tid": 7,\n    "ts": {self.now_us:.3f},\n    "dur": {took_us:.3f}\n    ,\n'
            f'    "args": {{\n      {args}\n    }}\n  }},\n'
        )

    def op(self, name: str, dims: list[Any], types: list[str], values: list[str]) -> None:
        """An operator, some views before it, its launch, its kernel and the flow between them."""
        for view in ("aten::view", "aten::transpose", "aten::as_strided"):
            self._cpu_op(view, 0.4, [[1, HIDDEN], []], [BF16, "ScalarList"], ["", "[1, 4096]"])
            self.now_us += 0.6
        self._cpu_op(name, 8.0, dims, types, values)
        external, self.now_us = self.ids, self.now_us + 2
        ids = f'"External id": {external}, "correlation": {external}'
        self.event("cuda_runtime", "cudaLaunchKernel", 3.0, f'"cbid": 211, {ids}')
        grid = '"grid": [32, 1, 1], "block": [128, 1, 1], "registers per thread": 168'
        self.event("kernel", f"void kernel_of_{name}", 5.5, f'"device": 0, {ids}, {grid}')
        self.event("ac2g", "ac2g", 0.0, f'"id": {external}')
        self.now_us += 8
        self._python()

    def _cpu_op(
        self, name: str, took_us: float, dims: list[Any], types: list[str], values: list[str]
    ) -> None:
        said = {"Concrete Inputs": values, "Input type": types, "Input Dims": dims}
        args = json.dumps({"External id": self.ids + 1, "Record function id": 0, **said})
        self.event("cpu_op", name, took_us, args[1:-1])

    def _python(self) -> None:
        """Python functions until they have their share of the file."""
        while self._python_bytes < self._share * self.bytes:
            args = f'"Python parent id": {self.ids}, "Python id": {self.ids}, "Ev Idx": {self.ids}'
            name = f"models/llama/modeling_llama.py({self.ids % 900}): forward"
            self._python_bytes += self.event("python_function", name, 9.0, args)


def linear(made: Writer, n: int, k: int) -> None:
    made.op("aten::mm", [[1, k], [k, n]], [BF16, BF16], ["", ""])


def layer(made: Writer, kv_len: int) -> None:
    """As vLLM runs it; the attention's shape is another one in each step."""
    x, q, kv = [1, HIDDEN], [1, HEADS, 1, HEAD_DIM], [1, KV_HEADS, kv_len, HEAD_DIM]
    norm = ("_C::fused_add_rms_norm", [x, x, [HIDDEN], []], [BF16, BF16, BF16, "Scalar"])
    made.op(*norm, ["", "", "", "1e-05"])
    linear(made, (HEADS + 2 * KV_HEADS) * HEAD_DIM, HIDDEN)
    dims, types = [q, kv, kv, [], [], []], [BF16, BF16, BF16, "", "Scalar", "Scalar"]
    made.op("aten::scaled_dot_product_attention", dims, types, ["", "", "", "", "0.", "False"])
    linear(made, HIDDEN, HIDDEN)
    made.op(*norm, ["", "", "", "1e-05"])
    linear(made, 2 * INTER, HIDDEN)
    made.op("_C::silu_and_mul", [[1, INTER], [1, 2 * INTER]], [BF16, BF16], ["", ""])
    linear(made, HIDDEN, INTER)


def steps(made: Writer, limit_bytes: int) -> Iterator[int]:
    """Decode steps until the file is large enough."""
    number = 0
    while made.bytes < limit_bytes:
        start_us = made.now_us
        made.now_us += 5
        for _ in range(LAYERS):
            layer(made, 1000 + number)
        took_us, made.now_us = made.now_us - start_us, start_us
        made.event("user_annotation", f"ProfilerStep#{number}", took_us + 5, '"Ev Idx": 1')
        made.now_us = start_us + took_us + 20
        yield number
        number += 1


def write(path: Path, limit_bytes: int, share: float, *, packed: bool) -> int:
    """Write a file; returns its bytes unpacked."""
    with gzip.open(path, "wb", compresslevel=1) if packed else path.open("wb") as file:
        made = Writer(file, share)
        made.write('{\n  "schemaVersion": 1,\n  "deviceProperties": [{"name": "H100"}],\n')
        made.write('  "record_shapes": 1,\n  "traceEvents": [\n')
        for _ in steps(made, limit_bytes):
            pass
        made.write('  {"ph": "i", "name": "End", "ts": 1}\n  ],\n  "traceName": "t.json"\n}\n')
    return made.bytes


def measure(path: Path) -> dict[str, Any]:
    """Import in a process of its own."""
    done = subprocess.run([sys.executable, "-c", CHILD, str(path)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=50)
    parser.add_argument("--share", type=float, default=0.5, help="of bytes in Python functions")
    parser.add_argument("--packed", action="store_true", help="gzip the file")
    parser.add_argument("--keep", type=Path, help="write the file here, and leave it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        name = "large.pt.trace.json" + (".gz" if options.packed else "")
        path = options.keep or Path(folder) / name
        start = time.perf_counter()
        size = write(path, options.megabytes * 10**6, options.share, packed=options.packed)
        print(f"wrote {size / 1e6:.0f} MB in {time.perf_counter() - start:.1f} s")
        found = measure(path)
    rates = [size / 1e6 / found[key] for key in ("seconds", "cpu_seconds")]
    print(
        f"imported in {found['seconds']:.1f} s: {rates[0]:.0f} MB/s, {rates[1]:.0f} per second of "
        f"CPU (goal {GOAL_MB_PER_S}), peak memory {found['peak_mb']:.0f} MB (goal under {GOAL_MB})"
    )
    operators, repeats = found["operators"], found["repeats"]
    print(f"step {found['step']}: {operators} operators, blocks repeated {repeats}")


if __name__ == "__main__":
    main()
