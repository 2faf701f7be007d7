"""One point of a model: weights, check of a layer against float64, timing of the step."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from gpucap.decoder import Decoder, in_float64, make_decoder, run_layers, run_step
from gpucap.launch import make_launch
from gpucap.machine import Machine, torch_module
from gpucap.measure import Failed, Row, now_utc, timing_cells
from gpucap.model_plan import Point
from gpucap.options import Options
from gpucap.tensors import TOLERANCE, Maker, Tensor, error_of
from gpucap.timing import launch_seconds, time_launch, warm_up

MODEL_KEY: Final = (
    "model", "part", "phase", "batch", "context", "layers", "dtype", "attention", "fused", "moe",
)  # fmt: skip
MODEL_COLUMNS: Final = (
    "device", *MODEL_KEY, "weight_bytes", "kv_bytes",
    "latency_s", "latency_p10_s", "latency_p90_s", "repeats", "calls_per_repeat", "timing",
    "sustained_latency_s", "sm_mhz", "mem_mhz", "power_w", "energy_j", "temperature_c", "throttle",
    "error", "library", "driver", "cuda", "time_utc",
)  # fmt: skip
# Five products, an attention and two norms in a row.
_LAYER_FACTOR: Final = 3
_CHECK_BATCH, _CHECK_CONTEXT = 2, 48


def model_head(point: Point, machine: Machine, options: Options) -> Row:
    """The cells that are known before anything runs. `layers` 1: the time of one layer."""
    return {
        "device": machine.name,
        "library": machine.library,
        "model": point.model.name,
        "part": point.part,
        "phase": point.phase,
        "batch": point.batch,
        "context": point.context,
        "layers": 1 if point.part == "layer" else point.layers,
        "dtype": point.dtype,
        "attention": options.attention,
        "fused": options.fused,
        "moe": options.moe if point.model.experts else "",
    }


def measure_model(point: Point, machine: Machine, options: Options) -> Row | Failed:
    """Latency of a step, or of one layer of a stack; errors of torch are passed on."""
    torch = torch_module()
    torch.manual_seed(options.seed)
    make = Maker(machine.torch_device, point.dtype)
    with torch.inference_mode():
        error = layer_error(point, options, make)
        tolerance = _LAYER_FACTOR * TOLERANCE[point.dtype]
        if not error <= tolerance:
            problem = f"a layer differs from float64 by {error:.3g}, allowed {tolerance:g}"
            return Failed(problem, is_wrong=True)
        decoder = _decoder(point, options, make)
        call = _call(decoder, point, make)
        if not bool(call().isfinite().all()):
            return Failed("the result is not finite", is_wrong=True)
        return _timed(point, machine, options, call) | {"error": error}


def layer_error(point: Point, options: Options, make: Maker) -> float:
    """One layer with few tokens, as it is timed, against the same in float64."""
    tokens = 1 if point.phase == "decode" else _CHECK_CONTEXT
    decoder = make_decoder(
        point.model, batch=_CHECK_BATCH, tokens=tokens, context=_CHECK_CONTEXT, layers=1,
        is_whole=False, options=options, make=make,
    )  # fmt: skip
    x = make.normal(_CHECK_BATCH, tokens, point.model.hidden)
    reference = run_layers(in_float64(decoder), x.double()).cpu()
    return error_of(run_layers(decoder, x), reference)


def _decoder(point: Point, options: Options, make: Maker) -> Decoder:
    return make_decoder(
        point.model, batch=point.batch, tokens=point.tokens, context=point.context,
        layers=point.layers, is_whole=point.part == "step", options=options, make=make,
    )  # fmt: skip


def _call(decoder: Decoder, point: Point, make: Maker) -> Callable[[], Tensor]:
    if point.part == "layer":
        x = make.normal(point.batch, point.tokens, point.model.hidden)
        return partial(run_layers, decoder, x)
    ids = make.choice(point.batch * point.tokens, point.model.vocab)
    return partial(run_step, decoder, ids.view(point.batch, point.tokens))


def _timed(point: Point, machine: Machine, options: Options, call: Callable[[], Tensor]) -> Row:
    launch = make_launch(machine, [call], options.timing)
    once_s = launch_seconds(machine, launch)
    warm_up(machine, launch, options.warmup_seconds)
    timing = time_launch(machine, launch, options, launch_s=once_s)
    return {
        **model_head(point, machine, options),
        **_per_layer(timing_cells(timing), point),
        "weight_bytes": point.weight_bytes,
        "kv_bytes": point.kv_bytes,
        "driver": machine.driver,
        "cuda": machine.cuda,
        "time_utc": now_utc(),
    }


def _per_layer(cells: Row, point: Point) -> Row:
    """Times and energy of a stack, divided by its layers."""
    if point.part == "step":
        return cells
    shared = ("latency_s", "latency_p10_s", "latency_p90_s", "sustained_latency_s", "energy_j")
    parts = {name: cells[name] for name in shared}
    divided = {k: v / point.layers for k, v in parts.items() if isinstance(v, float)}
    return {**cells, **divided}
