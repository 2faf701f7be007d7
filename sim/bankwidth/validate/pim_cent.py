"""CENT (ASPLOS'25): its simulator's tokens one by one, its means over a request, its figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from bankwidth.errors import TraceError
from bankwidth.system.run import Progress
from bankwidth.validate.cent_model import MACHINES, Cut, cent_system, token_figures
from bankwidth.validate.cent_published import published
from bankwidth.validate.cent_request import PHASES, request_cut, request_figures
from bankwidth.validate.reference_rows import Row
from bankwidth.validate.verdicts import Case

__all__ = ["REFERENCES", "compare_requests", "compare_tokens", "published"]

SOURCE: Final = "github.com/Yufeng98/CENT (MIT), cent_simulation"
CUT_COLUMNS: Final = ("Model", "Device number", "Pipeline parallelism", "Tensor parallelism")
# Column -> (our figure, how far off it may be in %).
TOKEN_FIGURES: Final[Mapping[str, tuple[str, float]]] = {
    "PIM latency": ("pim_ms", 5.0),
    "CXL latency": ("cxl_ms", 10.0),
    "Acc latency": ("acc_ms", 10.0),
    "TransformerBlock latency": ("block_ms", 10.0),
    "Embedding latency": ("embedding_ms", 10.0),
    "Token latency (ms)": ("token_ms", 10.0),
    "Throughput (tokens/s)": ("tokens_per_s", 10.0),
    "Token energy (mJ)": ("token_mj", 10.0),
    "Total power (W)": ("power_w", 10.0),
    "Device utilization": ("utilisation", 0.01),
}
REQUEST_FIGURES: Final[Mapping[str, tuple[str, float]]] = {
    "Total Latency (s)": ("latency_s", 10.0),
    "Throughput (tokens/s)": ("tokens_per_s", 10.0),
    "Energy per Token (mJ)": ("token_mj", 10.0),
    "Total power (W)": ("power_w", 10.0),
}
TOKEN_COLUMNS: Final = (
    *CUT_COLUMNS, "Channels per device", "Channels per block", "Sequence length", *TOKEN_FIGURES,
)  # fmt: skip
REQUEST_COLUMNS: Final = (*CUT_COLUMNS, "Seqlen", "Phase", *REQUEST_FIGURES)


def compare_tokens(rows: Sequence[Row], progress: Progress | None = None) -> Iterator[Case]:
    """One token at one length of the cache. Raises TraceError for a row that is wrong."""
    for number, row in enumerate(rows):
        if progress is not None:
            progress(number, len(rows))
        cut, tokens = _token_cut(row), row.count("Sequence length", least=1)
        name = f"{cut.model} pp{cut.pipeline} tp{cut.tensor} context={tokens}"
        yield from _cases(name, row, token_figures(cut, tokens), TOKEN_FIGURES)


def compare_requests(rows: Sequence[Row], progress: Progress | None = None) -> Iterator[Case]:
    """The means over a phase of a request. Raises TraceError for a row that is wrong."""
    for number, row in enumerate(rows):
        if progress is not None:
            progress(number, len(rows))
        cut, phase = _request_cut(row), row.text("Phase", PHASES)
        figures = request_figures(cut, phase, row.count("Seqlen", least=1024))
        name = f"{cut.model} pp{cut.pipeline} tp{cut.tensor} {phase}"
        yield from _cases(name, row, figures, REQUEST_FIGURES)


def _cases(
    name: str, row: Row, ours: object, figures: Mapping[str, tuple[str, float]]
) -> Iterator[Case]:
    for column, (figure, tolerance_pct) in figures.items():
        yield Case(
            id=name,
            quantity=figure,
            reference=row.number(column),
            ours=getattr(ours, figure),
            tolerance_pct=tolerance_pct,
            source=SOURCE,
        )


def _token_cut(row: Row) -> Cut:
    cut = _request_cut(row)
    device_channels = row.count("Channels per device", least=1)
    channels = row.count("Channels per block", least=1)
    if device_channels != cut.system.channels:
        raise TraceError(
            f"{row.where}: Channels per device: {device_channels}, the machine has "
            f"{cut.system.channels}"
        )
    if channels != cut.channels:
        raise TraceError(
            f"{row.where}: Channels per block: {channels}, but {cut.pipeline} stages on "
            f"{cut.system.parallel.devices} devices leave {cut.channels} to each"
        )
    return cut


def _request_cut(row: Row) -> Cut:
    model = row.text("Model", MACHINES)
    devices = row.count("Device number", least=1)
    pipeline = row.count("Pipeline parallelism", least=1)
    tensor = row.count("Tensor parallelism", least=1)
    system = cent_system(model)
    if devices != system.parallel.devices:
        known = system.parallel.devices
        raise TraceError(f"{row.where}: Device number: {devices}, CENT for {model} has {known}")
    is_per_layer = pipeline == system.layers and tensor == 1
    if not is_per_layer and pipeline * tensor != devices:
        raise TraceError(
            f"{row.where}: {pipeline} stages of {tensor} devices are neither {devices} devices nor "
            f"one stage per layer ({system.layers})"
        )
    return request_cut(model, pipeline, tensor)


REFERENCES: Final = ((TOKEN_COLUMNS, compare_tokens), (REQUEST_COLUMNS, compare_requests))
