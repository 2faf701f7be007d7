"""Figures 13 to 15 of CENT (ASPLOS'25) from our figures and the paper's measured GPUs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from bankwidth.validate.cent_model import Cut, cent_system, token_figures
from bankwidth.validate.cent_request import (
    PHASES,
    PROMPT,
    STEP,
    mean,
    request_cut,
    request_figures,
)
from bankwidth.validate.verdicts import Case

SOURCE: Final = "CENT (ASPLOS'25), source data of its figures (github.com/Yufeng98/CENT, MIT)"
TOLERANCE_PCT: Final = 10.0
TOKENS: Final = 4096  # of a request, 512 of them its prompt
MODELS: Final = ("Llama2-7B", "Llama2-13B", "Llama2-70B")
LARGEST: Final = "Llama2-70B"
# Measured by CENT's authors on A100 80 GB: tokens/s and W by phase (PHASES), latency of a request.
GPU_TOKENS_PER_S: Final = {
    "Llama2-7B": (12497.0, 960.0, 1085.0),
    "Llama2-13B": (12913.0, 953.0, 1077.0),
    "Llama2-70B": (3110.0, 917.0, 1006.0),
}
GPU_W: Final = {
    "Llama2-7B": (292.0, 293.0, 293.0),
    "Llama2-13B": (576.0, 577.0, 577.0),
    "Llama2-70B": (1096.0, 1107.0, 1107.0),
}
GPU_REQUEST_S: Final = {"Llama2-7B": 42.97, "Llama2-13B": 51.47, "Llama2-70B": 127.16}
GPU_LONG_TOKENS_PER_S: Final = {4096: 917.0, 8192: 413.0, 16384: 195.0, 32768: 89.0}

# Figure 13a: latency of a request, GPU over CENT, all devices tensor parallel.
LATENCY_RATIOS: Final = dict(zip(MODELS, (6.322699, 4.651408, 3.180050), strict=True))
# By phase, a stage per layer: tokens/s over GPU (13b), W (15a), tokens/J over GPU (15c).
RATE_RATIOS: Final = {
    "Llama2-7B": (0.326980, 2.969321, 2.769598),
    "Llama2-13B": (0.415983, 4.125310, 3.817494),
    "Llama2-70B": (0.458394, 1.254944, 1.178068),
}
RATE_GEOMEAN: Final = 2.318045  # of whole requests
POWERS_W: Final = {
    "Llama2-7B": (282.5447, 234.6161, 240.6072),
    "Llama2-13B": (720.4877, 614.7187, 627.9398),
    "Llama2-70B": (960.7361, 861.9018, 874.2560),
}
TOKENS_PER_J_RATIOS: Final = {
    "Llama2-7B": (0.375076, 4.242935, 3.845673),
    "Llama2-13B": (0.363123, 4.260432, 3.864899),
    "Llama2-70B": (0.546953, 1.789126, 1.603444),
}
TOKENS_PER_J_GEOMEAN: Final = 2.877761
# Figure 14a: tokens/s, CENT over GPU, by context; the length that stands for it in the paper.
LONG_RATIOS: Final = {
    4096: (2304, 1.245898),
    8192: (6400, 1.967952),
    16384: (14592, 2.633762),
    32768: (30976, 3.330168),
}
# Figure 14b: queries/min and min per query of the 70B model by (pipeline, tensor).
QUERIES: Final = {
    (1, 32): (1.630348, 0.666426),
    (2, 16): (3.162962, 0.683853),
    (4, 8): (5.808567, 0.736108),
    (8, 4): (9.727366, 0.865787),
    (16, 2): (14.685445, 1.126686),
    (80, 1): (17.360398, 4.676155),
}
# Figure 14c: minutes of a request in banks, CXL and near-memory units, by (pipeline, tensor).
PARTS_MIN: Final = {
    (80, 1): (4.829105, 0.00798174, 0.424189),
    (16, 2): (0.918854, 0.100826, 0.0924440),
    (8, 4): (0.644498, 0.116289, 0.0924440),
    (4, 8): (0.508008, 0.124101, 0.0924440),
    (2, 16): (0.449419, 0.130937, 0.0924440),
    (1, 32): (0.428863, 0.134192, 0.0924440),
}
LONG_TOKENS: Final = (6400, 14592, 30976)
# Figure 14d: minutes of prefill and of decoding by generated tokens, 70B, a stage per layer.
PREFILL_MIN: Final = 0.479012
DECODE_MIN: Final = {128: 0.123955, 512: 0.507242, 1024: 1.046856, 3584: 4.197143}
S_PER_MIN: Final = 60.0


def published() -> Iterator[Case]:
    """All figures that follow from tokens' figures; 13c needs prices that are not in the data."""
    yield from _figure_13a()
    yield from _by_phase()
    yield from _geomeans()
    yield from _figure_14a()
    yield from _figure_14b()
    yield from _figure_14c()
    yield from _figure_14d()


def _case(name: str, quantity: str, reference: float, ours: float, note: str = "") -> Case:
    return Case(
        id=f"CENT {name}",
        quantity=quantity,
        reference=reference,
        ours=ours,
        tolerance_pct=TOLERANCE_PCT,
        source=SOURCE,
        note=note,
    )


def _per_layer(model: str) -> Cut:
    return request_cut(model, cent_system(model).layers, 1)


def _figure_13a() -> Iterator[Case]:
    for model, ratio in LATENCY_RATIOS.items():
        cut = request_cut(model, 1, cent_system(model).parallel.devices)
        ours = GPU_REQUEST_S[model] / request_figures(cut, "end2end", TOKENS).latency_s
        yield _case(f"13a {model}", "latency, GPU over CENT", ratio, ours, "GPU as measured")


def _by_phase() -> Iterator[Case]:
    """Figures 13b, 15a and 15c."""
    for model in MODELS:
        for index, phase in enumerate(PHASES):
            ours = request_figures(_per_layer(model), phase, TOKENS)
            name = f"{model} {phase}"
            rate, per_j = _over_gpu(model, index)
            yield _case(
                f"13b {name}", "tokens/s over GPU", RATE_RATIOS[model][index], rate, "GPU measured"
            )
            yield _case(f"15a {name}", "power_w", POWERS_W[model][index], ours.power_w)
            reference = TOKENS_PER_J_RATIOS[model][index]
            note = "GPU's tokens/s and W as in figures 13b and 15a, rounded there"
            yield _case(f"15c {name}", "tokens/J over GPU", reference, per_j, note)


def _over_gpu(model: str, phase: int) -> tuple[float, float]:
    """(tokens/s, tokens/J) of CENT over the measured GPU's, in the `phase`-th of PHASES."""
    ours = request_figures(_per_layer(model), PHASES[phase], TOKENS)
    gpu_rate = GPU_TOKENS_PER_S[model][phase]
    gpu_per_j = gpu_rate / GPU_W[model][phase]
    return ours.tokens_per_s / gpu_rate, 1e3 / ours.token_mj / gpu_per_j


def _geomeans() -> Iterator[Case]:
    rates, per_j = zip(
        *(_over_gpu(model, PHASES.index("end2end")) for model in MODELS), strict=True
    )
    yield _case("13b geomean", "tokens/s over GPU", RATE_GEOMEAN, _geomean(rates))
    yield _case("15c geomean", "tokens/J over GPU", TOKENS_PER_J_GEOMEAN, _geomean(per_j))


def _geomean(values: tuple[float, ...]) -> float:
    return math.exp(math.fsum(math.log(value) for value in values) / len(values))


def _figure_14a() -> Iterator[Case]:
    for context, (tokens, ratio) in LONG_RATIOS.items():
        ours = token_figures(_per_layer(LARGEST), tokens).tokens_per_s
        gpu = GPU_LONG_TOKENS_PER_S[context]
        note = f"context {context} is stood for by {tokens} tokens, as in the paper"
        yield _case(f"14a {context}", "tokens/s over GPU", ratio, ours / gpu, note)


def _figure_14b() -> Iterator[Case]:
    for (pipeline, tensor), (queries, minutes) in QUERIES.items():
        ours = request_figures(request_cut(LARGEST, pipeline, tensor), "end2end", TOKENS)
        name = f"14b pp{pipeline} tp{tensor}"
        rate = ours.tokens_per_s * S_PER_MIN / TOKENS
        yield _case(name, "queries/min", queries, rate)
        yield _case(name, "min per query", minutes, ours.latency_s / S_PER_MIN)


def _figure_14c() -> Iterator[Case]:
    for (pipeline, tensor), parts in PARTS_MIN.items():
        cut = request_cut(LARGEST, pipeline, tensor)
        longer = LONG_TOKENS if cut.is_per_layer else ()
        note = f"the paper's mean takes in its long contexts {longer} as well" if longer else ""
        lengths = (*range(STEP, TOKENS + 1, STEP), *longer)
        figures = [token_figures(cut, tokens) for tokens in lengths]
        layers = cent_system(LARGEST).layers
        per_token_ms = (
            mean(figures, "pim_ms") * layers,
            mean(figures, "cxl_ms") * layers,
            mean(figures, "acc_ms") * layers,
        )
        for part, reference, ms in zip(
            ("banks", "CXL", "near memory"), parts, per_token_ms, strict=True
        ):
            ours = ms * TOKENS / 1e3 / S_PER_MIN
            yield _case(f"14c pp{pipeline} tp{tensor}", f"min, {part}", reference, ours, note)


def _figure_14d() -> Iterator[Case]:
    cut = _per_layer(LARGEST)
    prefill = request_figures(cut, "prefill", TOKENS).latency_s / S_PER_MIN
    yield _case("14d prefill", "min", PREFILL_MIN, prefill)
    for tokens, minutes in DECODE_MIN.items():
        ours = request_figures(cut, "decoding", PROMPT + tokens).latency_s / S_PER_MIN
        yield _case(f"14d {tokens} tokens", "min, decoding", minutes, ours)
