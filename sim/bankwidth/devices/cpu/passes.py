"""How often weights go by, and from where: rows of x in passes over the outputs of a thread."""

from __future__ import annotations

from dataclasses import dataclass

from bankwidth.devices.cpu.chip import Chip
from bankwidth.devices.cpu.cost import Traffic

KEPT_SHARE = 0.5  # of a cache, for what is read again: the rest goes to what streams by


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A product x[m, k] W[k, n] on threads: the busiest has `outputs` by `rows` of it."""

    outputs: float
    rows: int
    threads: int  # that have any


def share_of(m: int, n: int, threads: int, granule: int = 1) -> Share:
    """Outputs are dealt out in granules; rows of x, where there are more of them.

    ggml does so (ggml_compute_forward_mul_mat): the longer side is cut, in equal parts but for
    the rest.
    """
    granules = -(-n // granule)
    if m > granules:
        rows = -(-m // threads)
        return Share(outputs=n, rows=rows, threads=-(-m // rows))
    each = -(-granules // threads)
    return Share(outputs=min(n, each * granule), rows=m, threads=-(-granules // each))


def memory_passes(chip: Chip, weight_bytes: float, passes: int) -> int:
    """Times that weights come from memory: once where the last cache keeps them."""
    return 1 if weight_bytes <= KEPT_SHARE * chip.llc_bytes else passes


def traffic_of(
    chip: Chip,
    share: Share,
    *,
    weight_bytes: float,
    all_weight_bytes: float,
    row_bytes: float,
    rows_per_pass: int,
    outputs_together: int = 1,
) -> Traffic:
    """Weights of the busiest thread once from memory, then from where they still are.

    Rows of a pass that the L1 does not hold come from the L2 for every `outputs_together`.
    """
    passes = -(-share.rows // rows_per_pass)
    again = weight_bytes * (passes - 1)
    rows_bytes = min(share.rows, rows_per_pass) * row_bytes
    x = 0.0
    if rows_bytes > KEPT_SHARE * chip.l1_bytes:
        x = rows_bytes * passes * share.outputs / outputs_together
    if weight_bytes <= KEPT_SHARE * chip.l2_bytes:
        return Traffic(l2=again + x, memory=weight_bytes)
    if all_weight_bytes <= KEPT_SHARE * chip.llc_bytes:
        return Traffic(l2=x, llc=again * share.threads, memory=weight_bytes)
    return Traffic(l2=x, memory=weight_bytes * passes)
