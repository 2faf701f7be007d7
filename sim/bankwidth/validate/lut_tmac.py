"""T-MAC (Wei et al., EuroSys 2025): published tokens per second and joules beside ours.

Its kernels are instructions counted off its sources (arch/libraries/t-mac.yaml), the chips are
described by public figures. Calibrated, each on one row that is not among those below or says so:
what starting threads costs (llama.cpp, Q4_0, 8 threads of M2-Ultra), and what the CPUs of the
Jetson and the Raspberry Pi draw from memory (llama.cpp Q4_0 on 12 threads; T-MAC int4 on 2).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bankwidth.validate.cpu_rows import CpuRow, case_of
from bankwidth.validate.verdicts import Case

ABSTRACT: Final = "Wei et al., T-MAC, EuroSys 2025 (arXiv 2407.00088v2), abstract"
SHEET: Final = "microsoft/T-MAC, docs/profiling_data.md at 0babfaf"
README: Final = "microsoft/T-MAC, README.md, compared to CUDA GPU"
T_MAC, PLAIN, GENERIC = "t-mac", "llama.cpp", "llama.cpp-without-dot"
FP16_HEAD: Final = {"lm_head": "fp16"}  # T-MAC leaves embeddings and the head unquantised
# Q4_0 and Q2_K files: the head in Q6_K; Q2_K also has Q3_K in the output and down projections.
Q4_FILE: Final = {"lm_head": "q6_k"}
Q2_FILE: Final = {"lm_head": "q6_k", "o": "q3_k", "down": "q3_k"}
OLDER: Final = "an older build than the abstract's 30 tokens/s"
GUESSED_BUILD: Final = (
    "assumed: built by CMake without SDOT: with it, a core of the Jetson would be twice as fast as "
    "published"
)
IN_ORDER: Final = (
    "known: a Cortex-A76 takes a quarter to a half longer for llama.cpp's kernels than its ports "
    "need; the wider A78 of the Jetson does not"
)
SPINNING: Final = "known: cores that wait for others spin, which we charge nothing for"


def published() -> Iterator[Case]:
    """The abstract's three figures, then the data sheet's, then energy."""
    yield from (case_of(row) for row in (*_HEADLINES, *_SHEET_ROWS, *_BASELINES, *_ENERGY))


def _row(
    machine: str, model: str, weights: str, threads: int, reference: float, **more: object
) -> CpuRow:
    values: dict[str, object] = {"library": T_MAC, "formats": FP16_HEAD, "source": SHEET}
    return CpuRow(
        machine=machine, model=model, weights=weights, threads=threads, reference=reference,
        **(values | more),  # type: ignore[arg-type]
    )  # fmt: skip


M2, PI, ORIN = "m2-ultra-tmac", "raspberry-pi-5-tmac", "jetson-orin-tmac"
BITNET, LLAMA = "bitnet-3b", "llama-2-7b"

_HEADLINES: Final = (
    _row(M2, BITNET, "int2", 1, 30.0, source=ABSTRACT),
    _row(M2, BITNET, "int2", 8, 71.0, source=ABSTRACT),
    _row(PI, BITNET, "int2", 2, 11.0, source=ABSTRACT, note="two threads, by the data sheet"),
)
_SHEET_ROWS: Final = (
    _row(M2, BITNET, "int2", 4, 54.46, note=OLDER),
    _row(M2, LLAMA, "int2", 1, 16.68),
    _row(M2, LLAMA, "int2", 8, 51.01),
    _row(M2, LLAMA, "int4", 1, 8.97),
    _row(M2, LLAMA, "int4", 8, 35.65),
    _row(PI, BITNET, "int2", 1, 8.03),
    _row(PI, LLAMA, "int2", 1, 4.40),
    _row(PI, LLAMA, "int2", 2, 5.92),
    _row(PI, LLAMA, "int4", 1, 2.42),
    _row(ORIN, BITNET, "int2", 1, 8.18),
    _row(ORIN, BITNET, "int2", 12, 26.02),
    _row(ORIN, LLAMA, "int2", 1, 4.36),
    _row(ORIN, LLAMA, "int2", 12, 15.62),
    _row(ORIN, LLAMA, "int4", 1, 2.46),
    _row(ORIN, LLAMA, "int4", 12, 8.09),
)
_BASELINES: Final = (
    _row(M2, LLAMA, "q4_0", 1, 5.65, library=PLAIN, formats=Q4_FILE),
    _row(M2, LLAMA, "q2_k", 1, 3.82, library=PLAIN, formats=Q2_FILE),
    _row(M2, LLAMA, "q2_k", 8, 22.06, library=PLAIN, formats=Q2_FILE),
    _row(ORIN, LLAMA, "q4_0", 1, 1.04, library=GENERIC, formats=Q4_FILE, note=GUESSED_BUILD),
    _row(ORIN, LLAMA, "q2_k", 1, 0.79, library=GENERIC, formats=Q2_FILE, note=GUESSED_BUILD),
    _row(ORIN, LLAMA, "q2_k", 12, 7.08, library=GENERIC, formats=Q2_FILE, note=GUESSED_BUILD),
    _row(PI, LLAMA, "q4_0", 1, 0.85, library=GENERIC, formats=Q4_FILE, note=IN_ORDER),
    _row(PI, LLAMA, "q2_k", 1, 0.66, library=GENERIC, formats=Q2_FILE, note=IN_ORDER),
)
_ENERGY: Final = (
    _row(ORIN, LLAMA, "int2", 12, 0.66, quantity="J per token", source=README, note="10.4 W"),
    _row(
        ORIN, LLAMA, "q2_k", 12, 2.12, quantity="J per token", source=README, library=GENERIC,
        formats=Q2_FILE, note=SPINNING,
    ),
)  # fmt: skip
