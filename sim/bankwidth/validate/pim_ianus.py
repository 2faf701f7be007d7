"""IANUS (Seo et al., ASPLOS 2024): its times per token, speed-ups and energies beside ours.

A generation's time and energy are linear in the context but for whole rows, so the token in the
middle stands for all of them (within 1 %; a test holds it). Layers are alike: prefills and
energies are those of a few layers, extended to all.

The GPU of the paper runs models operator by operator from Python. Its 29.9 ms per token of the 2.5B
model give the time that the framework takes for one operator of ours; all other models' times on
the GPU are predicted with it, an operator taking that long or what its kernel takes, the longer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from statistics import mean
from typing import Any, Final

from bankwidth.operators import make_trace
from bankwidth.results import Result
from bankwidth.simulation import simulate
from bankwidth.spec import MachineSpec, load_machine, load_workload
from bankwidth.validate.verdicts import Band, Case

PAPER: Final = "IANUS, ASPLOS 2024, 10.1145/3620666.3651324"
TOLERANCE_PCT: Final = 10.0
PIM, PLAIN, GPU, HALVES = "ianus", "npu-mem", "a100", "ianus-partitioned"
# IANUS with a part of it left unused.
IDLE: Final = "ianus, banks idle"
SERIAL: Final = "ianus, attention unscheduled"
CORES: Final = "npu"
PJ_PER_MJ: Final = 1e9
PS_PER_MS: Final = 1e9
FEW_LAYERS: Final = (2, 5)
# Published: ms per token of the 2.5B model on the A100, 128 tokens in, 64 out.
GPU_TOKEN_MS: Final = 29.9
# Operators of a layer by the parts of the paper's Figure 10; additions go with the product before.
PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "FC": ("qkv", "o", "add1"),
    "self-attention": ("attention", "kv_append"),
}
REFRESH: Final = "REF"  # commands of that name start so; the paper counts none
SPEEDUPS: Final = {"m": 12.0, "l": 8.1, "xl": 6.6}  # over the A100, 128 in, 512 out
ENERGY_RATIOS: Final = {"m": 3.7, "l": 3.6, "xl": 3.9, "2.5b": 4.4}  # 256 in, 512 out
TOTALS: Final = {"xl": 4.0, "l": 3.6}
# Its FFN, 5.1 times, is what the time of a command is calibrated on: no case.
PART_RATIOS: Final = {"FC": 4.1, "self-attention": 4.3}
FC_MS: Final = {PLAIN: 890.0, PIM: 215.0}


@dataclass(frozen=True, slots=True)
class Request:
    """Tokens in and out of one sequence of a model."""

    model: str
    prompt: int
    output: int

    @property
    def middle(self) -> int:
        """Context of the token in the middle of the generation, whose first is the prefill's."""
        return self.prompt + self.output // 2

    @property
    def label(self) -> str:
        return f"gpt2-{self.model} ({self.prompt},{self.output})"


def published() -> Iterator[Case | Band]:
    """All figures that the paper gives as numbers in its text."""
    yield from _tokens()
    yield from _parts()
    yield from _totals()
    yield from _scheduling()
    yield from _partitioned()
    yield from _gpu_speedups()
    yield from _energies()


# ---- what is simulated


@cache
def token(machine: str, request: Request) -> Result:
    """The token in the middle of a generation."""
    return _simulated(machine, request.model, "decode", request.middle)


def token_ms(machine: str, request: Request) -> float:
    """Mean time per generated token."""
    return _latency_ms(token(machine, request))


def request_ms(machine: str, request: Request) -> float:
    """A whole request: the prefill gives the first token."""
    first_ms = _of_all_layers(_latency_ms, machine, request.model, "prefill", request.prompt)
    return first_ms + (request.output - 1) * token_ms(machine, request)


def framework_ms() -> float:
    """What the framework takes for one operator, from the published token of the 2.5B model."""
    return GPU_TOKEN_MS / len(token(GPU, Request("2.5b", 128, 64)).operators)


def gpu_request_ms(request: Request) -> float:
    """A whole request on the GPU, its operators dispatched one by one."""
    first_ms = _of_all_layers(_dispatched_ms, GPU, request.model, "prefill", request.prompt)
    return first_ms + (request.output - 1) * _dispatched_ms(token(GPU, request))


def part_ms(machine: str, request: Request, part: str) -> float:
    """A part of the layers in one token; time that another operator hides is not in it."""
    table = token(machine, request).operators
    named = zip(table["name"], table["time_ns"], strict=True)
    return math.fsum(ns for name, ns in named if name in PARTS[part]) / 1e6


def dynamic_mj(machine: str, request: Request) -> float:
    """A request's energy as the paper counts it: cores, plain accesses, computing banks."""
    first_mj = _of_all_layers(_dynamic_mj, machine, request.model, "prefill", request.prompt)
    token_mj = _of_all_layers(_dynamic_mj, machine, request.model, "decode", request.middle)
    return first_mj + (request.output - 1) * token_mj


def _simulated(
    machine: str, model: str, phase: str, tokens: int, layers: int | None = None
) -> Result:
    workload = load_workload(f"ianus-gpt2-{model}")
    if layers is not None:
        config = {**workload.config, "n_layer": layers}
        workload = workload.model_copy(update={"config": config})
    return simulate(_machine(machine), make_trace(workload, phase=phase, context=tokens))


def _of_all_layers(
    figure: Callable[[Result], float], machine: str, model: str, phase: str, tokens: int
) -> float:
    """A figure of all layers from that of a few, and of a few more."""
    few, more = (figure(_few(machine, model, phase, tokens, layers)) for layers in FEW_LAYERS)
    layers = load_workload(f"ianus-gpt2-{model}").config["n_layer"]
    per_layer = (more - few) / (FEW_LAYERS[1] - FEW_LAYERS[0])
    return few + (int(str(layers)) - FEW_LAYERS[0]) * per_layer


@cache
def _few(machine: str, model: str, phase: str, tokens: int, layers: int) -> Result:
    return _simulated(machine, model, phase, tokens, layers)


def _latency_ms(result: Result) -> float:
    return result.latency_ps / PS_PER_MS


def _machine(name: str) -> MachineSpec:
    """A machine, or IANUS with idle banks (the same commands, so energies compare), or serial."""
    unused: dict[str, dict[str, Any]] = {
        IDLE: {"run": {"default": CORES}, "heads_together": None},
        SERIAL: {"heads_together": None},
    }
    if name not in unused:
        return load_machine(name)
    spec = load_machine(PIM)
    return spec.model_copy(update={"mapping": spec.mapping.model_copy(update=unused[name])})


def _dispatched_ms(result: Result) -> float:
    least = framework_ms()
    return math.fsum(max(least, ns / 1e6) for ns in result.operators["time_ns"])


def _dynamic_mj(result: Result) -> float:
    """Of the cores, and of all commands of the memory but refreshes; interfaces are not in it."""
    units = zip(result.components["name"], result.components["energy_dynamic_pj"], strict=True)
    commands = zip(result.commands["command"], result.commands["energy_pj"], strict=True)
    cores_pj = math.fsum(pj for name, pj in units if name == CORES)
    counted = (pj for name, pj in commands if not name.startswith(REFRESH))
    memory_pj = math.fsum(pj for pj in counted if not math.isnan(pj))  # not a number: has none
    return (cores_pj + memory_pj) / PJ_PER_MJ


# ---- the figures


def _case(name: str, quantity: str, reference: float, ours: float, where: str, note: str) -> Case:
    return Case(
        id=f"IANUS {name}",
        quantity=quantity,
        reference=reference,
        ours=ours,
        tolerance_pct=TOLERANCE_PCT,
        source=f"{PAPER}, {where}",
        note=note,
    )


def _tokens() -> Iterator[Case]:
    xl, larger = Request("xl", 64, 256), Request("2.5b", 128, 64)
    rows = (
        (PIM, xl, 3.8, "predicted"),
        (PIM, larger, 5.7, "predicted"),
        (PLAIN, xl, 15.5, "predicted"),
    )
    for machine, request, reference, note in rows:
        ours = token_ms(machine, request)
        name = f"{machine} {request.label}"
        yield _case(name, "ms per token", reference, ours, "section 7.2", note)


def _parts() -> Iterator[Case]:
    request = Request("xl", 64, 256)
    for machine, reference in FC_MS.items():
        ours = (request.output - 1) * part_ms(machine, request, "FC")
        yield _case(
            f"{machine} {request.label}", "ms of FC", reference, ours, "Figure 10", _FC_NOTE
        )
    for part, reference in PART_RATIOS.items():
        ours = part_ms(PLAIN, request, part) / part_ms(PIM, request, part)
        note = _PART_NOTES[part]
        yield _case(request.label, f"speed-up of {part}", reference, ours, "Figure 10", note)


def _totals() -> Iterator[Case]:
    for model, reference in TOTALS.items():
        request = Request(model, 64, 256)
        ours = token_ms(PLAIN, request) / token_ms(PIM, request)
        note = "tokens in and out of Figure 10 are not said; taken as those of Figure 9's text"
        yield _case(request.label, "speed-up over NPU-MEM", reference, ours, "Figure 10", note)


def _scheduling() -> Iterator[Case]:
    """Attention heads beside the banks that make the next ones, over all heads behind them."""
    requests = {model: Request(model, 256, 512) for model in ENERGY_RATIOS}
    gains = {
        model: 100 * (token_ms(SERIAL, request) / token_ms(PIM, request) - 1)
        for model, request in requests.items()
    }
    rows = (("gpt2-2.5b (256,512)", 24.0, gains["2.5b"]), ("mean of 4", 34.0, mean(gains.values())))
    for name, reference, ours in rows:
        yield _case(name, "% gained by scheduling", reference, ours, "Figure 13", _SCHEDULE_NOTE)


def _partitioned() -> Iterator[Band]:
    """The memory as a whole over one in two halves; the paper gives a range for the three."""
    for model in ("m", "l", "xl"):
        request = Request(model, 256, 512)
        ours = token_ms(HALVES, request) / token_ms(PIM, request)
        yield Band(
            id=f"IANUS {request.label}",
            quantity="speed-up over partitioned memory",
            low=1.4,
            high=1.6,
            ours=ours,
            source=f"{PAPER}, Figure 13",
            note="a range for M to XL",
        )


def _gpu_speedups() -> Iterator[Case]:
    for model, reference in SPEEDUPS.items():
        request = Request(model, 128, 512)
        ours = gpu_request_ms(request) / request_ms(PIM, request)
        yield _case(request.label, "speed-up over A100", reference, ours, "section 7.2", _GPU_NOTE)


def _energies() -> Iterator[Case]:
    for model, reference in ENERGY_RATIOS.items():
        request = Request(model, 256, 512)
        ours = dynamic_mj(IDLE, request) / dynamic_mj(PIM, request)
        note = _ENERGY_NOTE
        yield _case(
            request.label, "energy of NPU-MEM over IANUS", reference, ours, "Figure 11", note
        )


_FC_NOTE: Final = (
    "read as the products for queries, keys and values and behind attention, over 255 tokens: of "
    "the readings that the text leaves, the one that NPU-MEM's 256 GB/s can serve. IANUS: a "
    "command's time is charged to each product, and loads of keys come between the banks' programs"
)
_PART_NOTES: Final = {
    "FC": "parts as in FC ms",
    "self-attention": (
        "without its products; what the banks' products hide is not counted, which the paper may "
        "share out otherwise"
    ),
}
_SCHEDULE_NOTE: Final = (
    "scores and context on the matrix unit, heads cut into pieces or not; the paper does not say "
    "on which unit its unscheduled attention runs"
)
_ENERGY_NOTE: Final = (
    "cores at 7 nm (the paper names no process), DRAM commands as CENT's constants; NPU-MEM is "
    "IANUS with idle banks here, for both to have the energies of the same commands"
)
_GPU_NOTE: Final = (
    "the framework's time per operator from the 29.9 ms of the 2.5B model on the A100; models M to "
    "XL run other code (Huggingface) than 2.5B (Megatron-LM)"
)
