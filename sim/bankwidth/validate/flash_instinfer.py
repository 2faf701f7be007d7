"""InstInfer (Pan et al., HPCA 2025): its ratios of throughput, cliffs and data rates beside ours.

The paper gives ratios in its text, absolute throughputs only as pictures. A throughput here is that
of a whole generation, prefill and decode (`offload_runs.py`). What FlexGen's software costs is
calibrated on one of the ratios, which is no case; what DeepSpeed's costs on DeepSpeed's own figures
(arch/flexgen-ssd.yaml, arch/deepspeed-host.yaml).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Final

from bankwidth.operators import make_trace
from bankwidth.spec import MachineSpec, load_machine, load_workload
from bankwidth.validate.offload_runs import (
    LEAST,
    Generation,
    best,
    first_refused,
    layer_job_ps,
    run_of_step,
    seconds,
    step_s,
    sum_of_steps,
    tokens_per_s,
    with_retries,
)
from bankwidth.validate.verdicts import Band, Case

PUBLISHED: Final = "InstInfer (InstAttention), HPCA 2025, 10.1109/HPCA61900.2025.00113"
ZERO_INFERENCE: Final = (
    "microsoft/DeepSpeedExamples at 04574c1, inference/huggingface/zero_inference/README.md"
)
TOLERANCE_PCT: Final = 15.0
BATCHES: Final = (4, 8, 16, 32, 64, 128)
DENSE, SPARF, DENSE_2, SPARF_2 = "instinfer", "instinfer-sparf", "instinfer-2", "instinfer-2-sparf"
DENSE_20, SPARF_20 = "instinfer-20", "instinfer-20-sparf"
FLEXGEN, FLEXGEN_2, DEEPSPEED, RECOMPUTE = (
    "flexgen-ssd", "flexgen-ssd-2", "deepspeed-host", "recompute",
)  # fmt: skip
FULL: Final = 256  # the paper's largest batch
LAYERS_OF_OPT_13B: Final = 40
RETRIES: Final = 0.003  # a page: the paper's mean of the worst case
MIDDLE: Final = 1536  # context in the middle of the decode
RECOMPUTED: Final = (
    "The paper does not say what Recomp computes again. Here: all sequences without room, whole, "
    "in each step. 256 x 1536 tokens of 26 GFLOP are 84 s on an A6000, 3 tokens/s for any large "
    "batch; only the sequences that fit would run at 150. Neither reading gives 10 tokens/s."
)

NOT_KV: Final = (
    "By rows 12 to 14 the paper's steps at batch 64 to 256 spend 0.7 to 2.4 s on something else "
    "than keys and values, and what is not said. Weights that lie in the GPU's memory and products "
    "of one token take ours 0.05 to 0.15 s."
)
WHOLE_STEP: Final = (
    "Ours is what the buses pass: 4096 of 4544 bytes a page, 0.3 us of command. Over the 80.7 % of "
    "a step that the paper's access takes (row 13), its 7.66 GB/s would be 9.5."
)
SPLIT: Final = (
    "How channels and tokens share the compression of 1/8 is not said. Here 16 of 128 channels and "
    "1/8 of the tokens: 40 % of what dense attention reads; the paper's figure is 53 % of it. 32 "
    "channels, usual in SparQ, would be 52 %, and 1.8 times dense, not 2.1 (row 2)."
)
TWO_HOSTS: Final = (
    "DeepSpeed's path is calibrated on its authors' host, FlexGen's on the paper's: a DeepSpeed a "
    "fifth faster would agree."
)
LARGER: Final = (
    "FlexGen's software is calibrated on a 13B model. OPT-30B's weights come from the host too; "
    "both copies overlap here, and the GPUs of InstInfer's machine wait for no weights."
)
AGAIN: Final = (
    "A page that is read again takes its die and the channel's bus once more, 3 per mille of what "
    "binds; that heads wait for their last page comes on top. What the paper's emulator charges "
    "for a retry is not said."
)
WHY: Final = {
    "4": TWO_HOSTS, "5": RECOMPUTED, "10": LARGER, "12": NOT_KV, "13": NOT_KV, "14": NOT_KV,
    "17": WHOLE_STEP, "19": SPLIT,
}  # fmt: skip


def published() -> Iterator[Case | Band]:
    """All figures that the paper gives as numbers in its text."""
    yield from _single_drive()
    yield from _cliffs()
    yield from _several_drives()
    yield from _other_models()
    yield from _shares()
    yield from _data_rates()
    yield from _zero_inference()


def generation(machine: str, batch: int, *, sparse: bool = False) -> Generation:
    """OPT-13B, 1024 tokens in and out."""
    return Generation(machine=machine, batch=batch, sparse=sparse)


def opt_30b(machine: str, batch: int) -> Generation:
    """OPT-30B; FlexGen has its 60 GB of weights in the host."""
    weights = "host" if machine == FLEXGEN else None
    return Generation(machine=machine, model="opt-30b", batch=batch, weights=weights)


def llama_4k(machine: str, batch: int) -> Generation:
    """Llama-2-13B, 2048 tokens in and out."""
    chunk = 16 if machine == RECOMPUTE else None
    return Generation(
        machine=machine, model="llama-2-13b", batch=batch, prompt=2048, output=2048, chunk=chunk
    )


def recomputed(batch: int) -> Generation:
    """OPT-13B, computed again; its prefill goes in chunks."""
    return Generation(machine=RECOMPUTE, batch=batch, chunk=16)


# ---- the figures


def _single_drive() -> Iterator[Case]:
    dense, sparf = generation(DENSE, FULL), generation(SPARF, FULL)
    flexgen = generation(FLEXGEN, 64)
    yield _ratio("1", 6.85, generation(DENSE, 64), flexgen)
    yield _ratio("2", 2.08, sparf, dense)
    yield _over_best("3", 11.1, sparf, generation(FLEXGEN, 1))
    yield _case(
        "4",
        "best of instinfer over best of deepspeed-host (batch 16)",
        1.046,
        _best_of_instinfer() / tokens_per_s(generation(DEEPSPEED, 16)),
    )
    yield _ratio("5", 1.713, sparf, recomputed(FULL))


def _cliffs() -> Iterator[Case]:
    falls = [
        after
        for before, after in pairwise(BATCHES)
        if after <= 32 and _falls(DEEPSPEED, before, after)
    ]
    yield _case(
        "6", "batch at which deepspeed-host falls", 32, falls[0] if falls else 0, exact=True
    )
    drop = tokens_per_s(generation(DEEPSPEED, 16)) / tokens_per_s(generation(DEEPSPEED, 32))
    yield _case(
        "6", "deepspeed-host, batch 16 over batch 32", 32.6, drop,
        note="How the kernel swaps is assumed: least recently used, 8 pages a fault, one at a time",
    )  # fmt: skip
    refused = first_refused(generation(FLEXGEN, 1), BATCHES)
    yield _case("7", "batch that flexgen-ssd has no room for", 128, refused or 0, exact=True)


def _several_drives() -> Iterator[Case]:
    dense, sparf = generation(DENSE_2, FULL), generation(SPARF_2, FULL)
    yield _over_best("8", 10.5, dense, generation(FLEXGEN_2, 1))
    batch, _ = _best_batch(generation(FLEXGEN_2, 1))
    yield _case("8", "best batch of flexgen-ssd-2", 32, batch, exact=True)
    yield _ratio("9", 3.11, sparf, generation(FLEXGEN_2, 32, sparse=True))
    yield _ratio("12", 8.99, generation(DENSE_20, FULL), generation(DENSE, FULL))
    yield _ratio("12", 7.29, generation(SPARF_20, FULL), generation(SPARF, FULL))


def _other_models() -> Iterator[Case]:
    flexgen = opt_30b(FLEXGEN, 8)
    yield _ratio("10", 4.09, opt_30b("instinfer-2gpu", 128), flexgen)
    yield _ratio("10", 9.39, opt_30b("instinfer-2gpu-sparf", 128), flexgen)
    batch, _ = _best_batch(flexgen)
    yield _case("10", "best batch of flexgen-ssd, opt-30b", 8, batch, exact=True)
    flexgen = llama_4k(FLEXGEN, 16)
    # The dense drive's 5.68 is what FlexGen's software is calibrated on: no case.
    yield _ratio("11", 12.48, llama_4k(SPARF, 128), flexgen)
    yield _ratio("11", 9.26, llama_4k(RECOMPUTE, 128), flexgen, note=RECOMPUTED)
    batch, _ = _best_batch(flexgen)
    yield _case("11", "best batch of flexgen-ssd, llama-2-13b", 16, batch, exact=True)


def _shares() -> Iterator[Case]:
    """Of a decode step in the middle, batch 64: what uses keys and values."""
    for row, machine, sparse, reference in (
        ("13", FLEXGEN, False, 98.9),
        ("13", DENSE, False, 80.7),
        ("13", DENSE_2, False, 76.4),
        ("14", FLEXGEN, True, 92.4),
        ("14", SPARF, False, 82.3),
        ("14", SPARF_2, False, 74.0),
    ):
        one = generation(machine, 64, sparse=sparse)
        quantity = f"% of decode that is access to keys and values, {one.label}"
        yield _case(row, quantity, reference, 100.0 * kv_share(one))


def _data_rates() -> Iterator[Case | Band]:
    prefill = make_trace(load_workload("opt-13b"), phase="prefill", batch=64, context=1024)
    layer_gb = prefill.kv_bytes / LAYERS_OF_OPT_13B / 1e9
    yield _case(
        "16", "GB written by the prefill of a layer, batch 64", 1.34, layer_gb, tolerance_pct=1
    )
    yield _case("17", "GB/s read in decode, batch 64", 7.66, read_rate(generation(DENSE, 64)))
    volume_gb = sum_of_steps(lambda n: read_gb(generation(SPARF, 64), n), 1025, 2048, LEAST)
    layer_gb = volume_gb / LAYERS_OF_OPT_13B
    yield _case("19", "GB read by the decode of a layer, SparF, batch 64", 1085.65, layer_gb)
    clean_ps, again_ps = (layer_job_ps(generation(DENSE, 64), MIDDLE, n) for n in (0.0, RETRIES))
    lost = 1000.0 * (1.0 - clean_ps / again_ps)
    yield Band(
        id="row 20", quantity="per mille lost to 0.003 read retries a page", low=0.0, high=4.7,
        ours=lost, source=PUBLISHED, note=AGAIN,
    )  # fmt: skip


def _zero_inference() -> Iterator[Case]:
    """Not of the paper: DeepSpeed's own table, whose first row the host's path is calibrated on."""
    for model, batch, reference in (("opt-66b", 40, 3.59),):
        machine = _with_larger_host()
        workload = load_workload(model)
        prefill = make_trace(workload, phase="prefill", batch=batch, context=512)
        middle = make_trace(workload, phase="decode", batch=batch, context=512 + 16)
        whole_s = seconds(machine, prefill) + 32 * seconds(machine, middle)
        yield Case(
            id=f"ZeRO-Inference, {model}, batch {batch}, 512+32",
            quantity="tokens/s",
            reference=reference,
            ours=batch * 32 / whole_s,
            tolerance_pct=TOLERANCE_PCT,
            source=ZERO_INFERENCE,
        )


# ---- what they are made of


def _case(
    row: str,
    quantity: str,
    reference: float,
    ours: float,
    *,
    tolerance_pct: float = TOLERANCE_PCT,
    exact: bool = False,
    note: str = "",
) -> Case:
    return Case(
        id=f"row {row}",
        quantity=quantity,
        reference=reference,
        ours=ours,
        tolerance_pct=0.0 if exact else tolerance_pct,
        source=PUBLISHED,
        note=note or WHY.get(row, ""),
    )


def _ratio(row: str, reference: float, over: Generation, under: Generation, note: str = "") -> Case:
    """Throughput of one generation over that of another."""
    quantity = f"{over.label} over {under.label}"
    return _case(row, quantity, reference, tokens_per_s(over) / tokens_per_s(under), note=note)


def _over_best(row: str, reference: float, over: Generation, under: Generation) -> Case:
    """The same over the best batch of the other machine."""
    _, rate = _best_batch(under)
    quantity = f"{over.label} over best of {under.machine}"
    return _case(row, quantity, reference, tokens_per_s(over) / rate)


@cache
def _best_batch(generation: Generation) -> tuple[int, float]:
    return best(replace(generation, batch=1), BATCHES)


def _best_of_instinfer() -> float:
    return max(tokens_per_s(generation(DENSE, batch)) for batch in (64, FULL))


def _falls(machine: str, before: int, after: int) -> bool:
    """Whether a larger batch gets less through."""
    first, then = (tokens_per_s(generation(machine, batch)) for batch in (before, after))
    return then < first


def read_rate(generation: Generation) -> float:
    """Bytes per ns that a decode step in the middle reads from all drives, over the whole step."""
    return read_gb(generation, MIDDLE) / step_s(generation, MIDDLE)


def read_gb(generation: Generation, context: int) -> float:
    """What a decode step reads from the flash of all drives."""
    return (
        sum(task.program_read_bytes for task in run_of_step(generation, context).plan.tasks) / 1e9
    )


def _with_larger_host() -> MachineSpec:
    """ZeRO-Inference's own machine: 252 GB of host memory, its cache not pinned."""
    machine = with_retries(load_machine(DEEPSPEED), 0.0)
    host = machine.memories["host"]
    assert host.kind == "dram"
    ranks = host.organisation.model_copy(update={"ranks": 8})
    larger = host.model_copy(update={"capacity_bytes": 252 * 10**9, "organisation": ranks})
    offload = machine.mapping.offload.model_copy(update={"rounding": {}})
    return machine.model_copy(
        update={
            "memories": {**machine.memories, "host": larger},
            "mapping": machine.mapping.model_copy(update={"offload": offload}),
        }
    )


def kv_share(generation: Generation, context: int = MIDDLE) -> float:
    """Part of a decode step in which keys and values are read or used: in any of its attentions."""
    run = run_of_step(generation, context)
    spans = sorted(
        (record.start_ps, record.end_ps)
        for task, record in zip(run.plan.tasks, run.records, strict=True)
        if task.name.startswith("attention")
    )
    return covered_ps(spans) / 1e12 / step_s(generation, context)


def covered_ps(spans: Sequence[tuple[int, int]]) -> int:
    """Time within any of some spans, sorted by their starts; they may overlap."""
    total = until = 0
    for start, end in spans:
        total += max(0, end - max(start, until))
        until = max(until, end)
    return total
