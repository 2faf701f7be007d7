"""llama.cpp on CPUs: published tokens per second beside ours.

The M2 Max is the chip of ik_llama.cpp's tables of July 2024; what its CPU draws from memory is
calibrated on their row of F16 with six threads, what starting threads costs on another chip
(lut_tmac). Of the prompt's rows only Q5_0 runs the kernels that are described here: for F16, Q8_0
and Q4_0 that build has kernels of its own (tinyBLAS, I8MM).

No table of llama.cpp on Neoverse N1 was found; one figure of an Ampere A1 (four N1 cores) was.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bankwidth.validate.cpu_rows import CpuRow, case_of
from bankwidth.validate.verdicts import Case

GENERATION: Final = "ik_llama.cpp wiki, July 2024, token generation: llama.cpp at 081fe431"
PROMPTS: Final = "ik_llama.cpp wiki, July 2024, prompt processing: llama.cpp at 081fe431"
A1: Final = (
    "Local LLM inference in OCI Ampere A1 (eight posts, 2025): llama-server, four cores, fixed "
    "short prompt"
)
OLLAMA: Final = "dambergn/ollama-benchmarks, README.md: Ollama, llama3.2:1b (Q8_0)"
MODEL: Final = "llama-2-7b"
HEAD: Final = {"lm_head": "q6_k"}  # of a Q4_0 file
A1_NOTE: Final = (
    "assumed: an image built for any Armv8-A, without SDOT; Q4_K_M there, Q4_0 here (5.0 and 4.7 "
    "bits)"
)


def published() -> Iterator[Case]:
    """Tokens one by one by format and threads, a prompt, and the N1."""
    yield from (case_of(row) for row in (*_generation(), *_others()))


def _generation() -> Iterator[CpuRow]:
    for weights, threads, reference in (
        ("fp16", 2, 6.94), ("fp16", 4, 8.73),
        ("q8_0", 2, 8.29), ("q8_0", 4, 13.53), ("q8_0", 8, 16.24),
        ("q4_0", 2, 9.77), ("q4_0", 4, 17.82), ("q4_0", 8, 26.63),
    ):  # fmt: skip
        yield CpuRow(
            machine="m2-max-llamacpp",
            model=MODEL,
            weights=weights,
            library="llama.cpp",
            threads=threads,
            reference=reference,
            formats=HEAD if weights == "q4_0" else {},
            source=GENERATION,
        )


def _others() -> Iterator[CpuRow]:
    yield CpuRow(
        machine="m2-max-llamacpp",
        model=MODEL,
        weights="q5_0",
        library="llama.cpp",
        threads=8,
        reference=29.31,
        quantity="prompt tokens/s",
        prompt=512,
        source=PROMPTS,
    )
    yield CpuRow(
        machine="raspberry-pi-5-llamacpp",
        model="llama-3.2-1b",
        weights="q8_0",
        library="llama.cpp",
        threads=4,
        reference=7.69,
        source=OLLAMA,
        note="bound by memory, whose bandwidth is calibrated on T-MAC (lut_tmac)",
    )
    yield CpuRow(
        machine="neoverse-n1",
        model="qwen2.5-3b",
        weights="q4_0",
        library="llama.cpp-without-dot",
        threads=4,
        reference=10.57,
        formats=HEAD,
        clock_ghz=3.0,
        source=A1,
        note=A1_NOTE,
    )
