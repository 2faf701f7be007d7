"""The device to measure on: a GPU through torch, or the CPU to try the tool itself."""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
import time
from dataclasses import dataclass
from typing import Any, Final, Protocol

from gpucap.meter import Meter, NoMeter, open_meter
from gpucap.options import Options
from gpucap.problems import CaptureError

# The CPU plays a GPU with an L2 so small that trials need little memory.
_CPU_L2_BYTES: Final = 2**20
_CPU_MEMORY_BYTES: Final = 2 * 10**9


class Stopwatch(Protocol):
    """One stretch of work on the device."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def seconds(self) -> float:
        """Waits for the stretch to end."""


class CudaStopwatch:
    """Two CUDA events on the current stream; resolution about half a microsecond."""

    def __init__(self) -> None:
        cuda = torch_module().cuda
        self._begin, self._end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)

    def start(self) -> None:
        self._begin.record()

    def stop(self) -> None:
        self._end.record()

    def seconds(self) -> float:
        self._end.synchronize()
        return float(self._begin.elapsed_time(self._end)) * 1e-3


class HostStopwatch:
    """The host's clock: right where a call returns when its work is done."""

    def __init__(self) -> None:
        self._begin = self._end = 0.0

    def start(self) -> None:
        self._begin = time.perf_counter()

    def stop(self) -> None:
        self._end = time.perf_counter()

    def seconds(self) -> float:
        return self._end - self._begin


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """`name` goes into the column `device`; `torch_device` is what tensors are made on."""

    name: str
    torch_device: str
    library: str
    driver: str
    cuda: str
    l2_bytes: int
    memory_bytes: int
    capability: tuple[int, int]
    meter: Meter

    @property
    def is_cuda(self) -> bool:
        return self.torch_device.startswith("cuda")

    def stopwatch(self) -> Stopwatch:
        return CudaStopwatch() if self.is_cuda else HostStopwatch()

    def synchronize(self) -> None:
        if self.is_cuda:
            torch_module().cuda.synchronize()


def torch_module() -> Any:
    """torch. Raises CaptureError with the remedy where it is not installed."""
    try:
        return importlib.import_module("torch")
    except ImportError as error:
        raise CaptureError(
            f"torch cannot be imported ({error}): pip install torch; --dry-run works without"
        ) from error


def open_machine(device: str, options: Options) -> Machine:
    """`cuda`, `cuda:1` or `cpu`. Raises CaptureError where there is no such device."""
    torch = torch_module()
    library = " ".join([f"torch {torch.__version__}", *_attention_library(options)])
    if device == "cpu":
        return _cpu(torch, library)
    if device.partition(":")[0] != "cuda":
        raise CaptureError(f"device must be cuda, cuda:N or cpu, got {device!r}")
    if not torch.cuda.is_available():
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built for CPUs"
        problem = f"no CUDA device: torch {torch.__version__} ({built}) finds none"
        raise CaptureError(f"{problem}; --dry-run shows the plan without one")
    return _gpu(torch, device, library)


def _cpu(torch: Any, library: str) -> Machine:
    torch.set_num_threads(1)  # a trial of the tool, no measurement
    return Machine(
        name=f"cpu {platform.machine()}",
        torch_device="cpu",
        library=library,
        driver="",
        cuda="",
        l2_bytes=_CPU_L2_BYTES,
        memory_bytes=_CPU_MEMORY_BYTES,
        capability=(0, 0),
        meter=NoMeter(),
    )


def _gpu(torch: Any, device: str, library: str) -> Machine:
    index = _index(torch, device)
    torch.cuda.set_device(index)
    properties = torch.cuda.get_device_properties(index)
    free_bytes, _ = torch.cuda.mem_get_info(index)
    meter = open_meter(_uuid(properties), index)
    return Machine(
        name=str(properties.name),
        torch_device=f"cuda:{index}",
        library=library,
        driver=meter.driver(),
        cuda=str(torch.version.cuda),
        l2_bytes=int(properties.L2_cache_size),
        memory_bytes=int(free_bytes),
        capability=(int(properties.major), int(properties.minor)),
        meter=meter,
    )


def _uuid(properties: Any) -> str:
    """As NVML wants it; empty where torch does not tell."""
    uuid = str(getattr(properties, "uuid", "") or "")
    return uuid if not uuid or uuid.startswith("GPU-") else f"GPU-{uuid}"


def _index(torch: Any, device: str) -> int:
    text = device.partition(":")[2] or "0"
    count = torch.cuda.device_count()
    if not text.isdecimal() or int(text) >= count:
        raise CaptureError(f"no device {device!r}: torch finds {count}, the first is cuda:0")
    return int(text)


def _attention_library(options: Options) -> list[str]:
    """Name and version of the package that attention is asked of, if it is not torch."""
    if not options.attention.startswith("flash_attn"):
        return []
    module = "flash_attn_interface" if options.attention == "flash_attn_3" else "flash_attn"
    try:
        importlib.import_module(module)
    except ImportError as error:
        problem = f"--attention {options.attention}: {module} cannot be imported ({error})"
        raise CaptureError(f"{problem}; --attention sdpa needs torch alone") from error
    return [f"{options.attention} {_version(options.attention)}"]


def _version(package: str) -> str:
    for name in (package, "flash_attn", "flash-attn"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "unknown"
