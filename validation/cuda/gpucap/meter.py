"""Clocks, power, energy and temperature of one GPU through NVML, by pynvml or nvidia-smi."""

from __future__ import annotations

import importlib
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any, Final, Protocol

from gpucap.problems import note

_QUERY: Final = (
    "clocks.sm", "clocks.mem", "power.draw", "temperature.gpu", "clocks_throttle_reasons.active",
)  # fmt: skip
_TIMEOUT_S: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """None where the device does not tell. `energy_j` counts up since the driver was loaded."""

    sm_mhz: float | None = None
    mem_mhz: float | None = None
    power_w: float | None = None
    energy_j: float | None = None
    temperature_c: float | None = None
    throttle: str | None = None  # NVML's bits, hexadecimal


class Meter(Protocol):
    name: str

    def read(self) -> Reading: ...

    def driver(self) -> str: ...


class NoMeter:
    """Where neither NVML nor nvidia-smi answers: the columns stay empty."""

    name = "none"

    def read(self) -> Reading:
        return Reading()

    def driver(self) -> str:
        return ""


class NvmlMeter:
    """pynvml (package nvidia-ml-py). Raises its NVMLError from the constructor alone."""

    name = "nvml"

    def __init__(self, uuid: str, index: int) -> None:
        self._nvml: Any = importlib.import_module("pynvml")
        self._nvml.nvmlInit()
        self._gpu = self._handle(uuid, index)
        # Renamed with NVML 12; older modules have the first name, some newer ones only the second.
        names = ("CurrentClocksThrottleReasons", "CurrentClocksEventReasons")
        found = [f"nvmlDeviceGet{n}" for n in names if hasattr(self._nvml, f"nvmlDeviceGet{n}")]
        self._reasons: Any = getattr(self._nvml, found[0])

    def read(self) -> Reading:
        nvml, gpu = self._nvml, self._gpu
        milliwatts = self._asked(nvml.nvmlDeviceGetPowerUsage, gpu)
        millijoules = self._asked(nvml.nvmlDeviceGetTotalEnergyConsumption, gpu)
        reasons = self._asked(self._reasons, gpu)
        return Reading(
            sm_mhz=self._asked(nvml.nvmlDeviceGetClockInfo, gpu, nvml.NVML_CLOCK_SM),
            mem_mhz=self._asked(nvml.nvmlDeviceGetClockInfo, gpu, nvml.NVML_CLOCK_MEM),
            power_w=None if milliwatts is None else milliwatts / 1e3,
            energy_j=None if millijoules is None else millijoules / 1e3,
            temperature_c=self._asked(
                nvml.nvmlDeviceGetTemperature, gpu, nvml.NVML_TEMPERATURE_GPU
            ),
            throttle=None if reasons is None else f"{int(reasons):#x}",
        )

    def driver(self) -> str:
        return str(self._nvml.nvmlSystemGetDriverVersion())

    def _handle(self, uuid: str, index: int) -> Any:
        """By UUID: indices of CUDA differ from NVML's when CUDA_VISIBLE_DEVICES is set."""
        if uuid:
            return self._nvml.nvmlDeviceGetHandleByUUID(uuid)
        return self._nvml.nvmlDeviceGetHandleByIndex(index)

    def _asked(self, question: Any, *arguments: Any) -> Any:
        try:
            return question(*arguments)
        except self._nvml.NVMLError:
            return None  # not supported here: a virtual GPU, an old board


class SmiMeter:
    """nvidia-smi as a process: some 50 ms a reading, no energy counter."""

    name = "nvidia-smi"

    def __init__(self, uuid: str, index: int) -> None:
        self._gpu = uuid or str(index)

    def read(self) -> Reading:
        return parse_smi(self._asked(",".join(_QUERY)))

    def driver(self) -> str:
        return self._asked("driver_version").strip()

    def _asked(self, query: str) -> str:
        command = ["nvidia-smi", "-i", self._gpu, f"--query-gpu={query}"]
        command.append("--format=csv,noheader,nounits")
        try:
            ran = subprocess.run(
                command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return ran.stdout if ran.returncode == 0 else ""


def parse_smi(text: str) -> Reading:
    """One line of `nvidia-smi --query-gpu=... --format=csv,noheader,nounits`.

    What is not a number there (`[N/A]`, `[Not Supported]`) is None here.
    """
    cells = [cell.strip() for cell in text.strip().split(",")]
    if len(cells) != len(_QUERY):
        return Reading()
    sm_mhz, mem_mhz, power_w, temperature_c = (_number(cell) for cell in cells[:4])
    reasons = cells[4].lower()
    return Reading(
        sm_mhz=sm_mhz,
        mem_mhz=mem_mhz,
        power_w=power_w,
        temperature_c=temperature_c,
        throttle=f"{int(reasons, 16):#x}" if reasons.startswith("0x") else None,
    )


def open_meter(uuid: str, index: int) -> Meter:
    """The best that answers; says so when it is not NVML itself."""
    try:
        return NvmlMeter(uuid, index)
    except Exception as error:  # pynvml absent, or no access to NVML: both have the same remedy
        why = f"{type(error).__name__}: {error}"
    if shutil.which("nvidia-smi"):
        note(f"no NVML ({why}): nvidia-smi instead, no energy counter (pip install nvidia-ml-py)")
        return SmiMeter(uuid, index)
    note(f"no NVML ({why}) and no nvidia-smi: no clocks, power or energy")
    return NoMeter()


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
