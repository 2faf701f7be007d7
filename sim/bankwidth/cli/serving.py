"""`bankwidth run --requests`: recorded requests through a machine, or through two pools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bankwidth.cli.shared import console, prepare_kernels, print_json, progress_bar, say

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bankwidth.serving.requests import Requests
    from bankwidth.serving.run import ServingResult
    from bankwidth.spec import MachineSpec, WorkloadSpec
    from bankwidth.spec.serving import ServingSpec
    from bankwidth.spec.serving_split import ServingSplitSpec

PANEL = "Requests"
RequestsFile = Annotated[
    Path | None,
    typer.Option(
        help="Replay recorded requests: Azure, Mooncake, Vidur, ShareGPT or BurstGPT lengths; gzip "
        "allowed.",
        rich_help_panel=PANEL,
    ),
]
Limit = Annotated[
    int | None, typer.Option(help="The first so many requests only.", rich_help_panel=PANEL)
]
Rate = Annotated[
    float | None,
    typer.Option(
        help="Draw arrivals, so many a second, in place of recorded ones.", rich_help_panel=PANEL
    ),
]
RateScale = Annotated[
    float | None,
    typer.Option(help="So many times as many requests a second.", rich_help_panel=PANEL),
]
Seed = Annotated[int, typer.Option(help="Of the arrivals that are drawn.", rich_help_panel=PANEL)]
Concurrency = Annotated[
    int | None,
    typer.Option(
        help="So many users, each with one request at a time; arrivals do not count.",
        rich_help_panel=PANEL,
    ),
]
Serving = Annotated[
    list[str] | None,
    typer.Option(
        "--serving",
        metavar="KEY=VALUE,...",
        help="How requests are served: policy=sarathi,chunk_tokens=512,slo_ttft=1 s; see "
        "docs/serving.md.",
        rich_help_panel=PANEL,
    ),
]
Split = Annotated[
    str | None,
    typer.Option(
        "--split",
        metavar="KEY=VALUE,...",
        help="Prompts and other tokens on different machines: decode_on=a100,prefill=2,decode=2,"
        "bandwidth=50 GB/s.",
        rich_help_panel=PANEL,
    ),
]
ExactShapes = Annotated[
    bool,
    typer.Option(
        "--exact-shapes",
        help="Simulate every shape of an iteration, none between others. Slow.",
        rich_help_panel=PANEL,
    ),
]


def serve_requests(
    machine: MachineSpec,
    workload: WorkloadSpec,
    file: Path,
    *,
    limit: int | None,
    rate: float | None,
    rate_scale: float | None,
    seed: int,
    concurrency: int | None,
    serving: Sequence[str] | None,
    split: str | None,
    out: Path | None,
    force: bool,
    as_json: bool,
    **model: Any,
) -> None:
    """Replay, print and write; exit code 130 when it was interrupted."""
    from bankwidth.report import check_target
    from bankwidth.report.serving_console import print_serving
    from bankwidth.report.serving_files import SERVING_FILES, write_serving
    from bankwidth.serving.requests import read_requests, with_arrivals
    from bankwidth.spec.serving import serving_options, serving_spec

    options = serving_spec(serving_options(serving or ()))
    pools = _pools(split)
    if concurrency is not None:
        _check_alone({"--rate": rate, "--rate-scale": rate_scale, "--split": split})
        model["concurrency"] = concurrency
    asked = with_arrivals(read_requests(file, limit), rate=rate, scale=rate_scale, seed=seed)
    if out is not None:
        check_target(out, force=force, files=SERVING_FILES)
    prepare_kernels()
    with progress_bar(f"{len(asked)} requests on {machine.name}") as progress:
        result = _served(machine, workload, asked, options, pools, progress, model)
    summary = result.to_json()
    if out is not None:
        write_serving(summary, result.tables(), out, force=force)
        say(f"wrote {out}/report.html and the tables beside it")
    if as_json:
        print_json(summary)
    else:
        print_serving(summary, console())
    if not result.complete:
        raise typer.Exit(130)


def _check_alone(others: dict[str, Any]) -> None:
    """Raises UserError for options that make no sense with --concurrency."""
    from bankwidth.errors import UserError

    given = [name for name, value in others.items() if value is not None]
    if given:
        raise UserError(f"{', '.join(given)}: not with --concurrency, where users wait for answers")


def _pools(split: str | None) -> ServingSplitSpec | None:
    from bankwidth.spec.option_text import parse_values
    from bankwidth.spec.serving_split import ServingSplitSpec

    return None if split is None else parse_values("--split", split, ServingSplitSpec)


def _served(
    machine: MachineSpec,
    workload: WorkloadSpec,
    requests: Requests,
    options: ServingSpec,
    pools: ServingSplitSpec | None,
    progress: Callable[..., None] | None,
    model: dict[str, Any],
) -> ServingResult:
    from bankwidth.serving.run import serve
    from bankwidth.spec import load_machine

    if pools is None:
        return serve(machine, workload, requests, options, progress=progress, **model)
    from bankwidth.serving.split import serve_on_pools

    other = machine if pools.decode_on is None else load_machine(pools.decode_on)
    return serve_on_pools(
        machine, other, workload, requests, options, pools, progress=progress, **model
    )
