"""The commands of `bankwidth trace`: make, import, export and show operator traces."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bankwidth.cli.shared import (
    ActivationDtype,
    AsJson,
    Batch,
    Context,
    Ep,
    Force,
    KvDtype,
    Output,
    Phase,
    Pp,
    Prompt,
    Tp,
    WeightDtype,
    With,
    Workload,
    console,
    print_json,
    progress_bar,
    say,
    trace_of,
    with_parallel,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bankwidth.operators import Trace

trace_app = typer.Typer(
    help="Operator traces: made from a model, other tools' in and out, shown.",
    no_args_is_help=True,
)
Format = Annotated[
    str | None,
    typer.Option(help="Format of the other tool's file; by default told by content or suffix."),
]


@trace_app.command("make")
def trace_make(
    workload: Workload,
    file: Annotated[Path, typer.Argument(help="Trace to write: .jsonl or .jsonl.gz.")],
    phase: Phase = "decode",
    batch: Batch = 1,
    context: Context = 1024,
    prompt: Prompt = None,
    output: Output = 1,
    weight_dtype: WeightDtype = None,
    activation_dtype: ActivationDtype = "bf16",
    kv_dtype: KvDtype = "bf16",
    techniques: With = None,
    tp: Tp = None,
    pp: Pp = None,
    ep: Ep = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Write the operator trace of a model."""
    from bankwidth.operators import write_trace
    from bankwidth.operators.textfile import check_free

    check_free(file, force=force)
    trace = trace_of(
        workload,
        phase=phase,
        batch=batch,
        context=context,
        prompt=prompt,
        output=output,
        weight_dtype=weight_dtype,
        activation_dtype=activation_dtype,
        kv_dtype=kv_dtype,
        techniques=with_parallel(techniques, tensor=tp, pipeline=pp, expert=ep),
    )
    write_trace(trace, file)
    _say_written(trace, file, (), as_json)


@trace_app.command("import")
def trace_import(
    source: Annotated[
        Path, typer.Argument(help="PyTorch profiler JSON, Chakra, ONNX or CSV file; gzip allowed.")
    ],
    file: Annotated[Path, typer.Argument(help="Trace to write: .jsonl or .jsonl.gz.")],
    format: Format = None,
    step: Annotated[
        int | None, typer.Option(help="Kineto: a ProfilerStep; the last whole one by default.")
    ] = None,
    annotation: Annotated[
        str | None, typer.Option(help="Kineto: what ran under this record_function name.")
    ] = None,
    rank: Annotated[int | None, typer.Option(help="Kineto: of a folder with one per rank.")] = None,
    ranks: Annotated[
        int | None, typer.Option(help="Chakra of other tools: how many take part in a collective.")
    ] = None,
    dims: Annotated[
        list[str] | None,
        typer.Option("--dim", metavar="NAME=SIZE", help="ONNX: a named dimension; repeat."),
    ] = None,
    eager: Annotated[
        bool, typer.Option("--eager", help="Kineto: small calls as they are, not as one operator.")
    ] = False,
    partial: Annotated[
        bool,
        typer.Option("--partial", help="Leave out what is not understood, and mark the trace."),
    ] = False,
    measured: Annotated[
        Path | None,
        typer.Option(help="Write the recorded times here, as CSV for `bankwidth compare`."),
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Turn a recorded or exported file of another tool into a trace that `run` takes.

    Example: bankwidth trace import recorded.pt.trace.json.gz model.jsonl.gz
    """
    from bankwidth.operators import write_trace
    from bankwidth.operators.formats import import_trace
    from bankwidth.operators.formats.measured import write_measured
    from bankwidth.operators.textfile import check_free

    for target in (file, *([measured] if measured else [])):
        check_free(target, force=force)
    asked = {
        "step": step, "annotation": annotation, "rank": rank, "ranks": ranks, "dims": _sizes(dims),
        "fuse_sequences": False if eager else None,
    }  # fmt: skip
    options = {name: value for name, value in asked.items() if value is not None}
    with progress_bar(f"import {source.name}"):
        found = import_trace(source, format=format, partial=partial, **options)
    lost = found.lost
    if measured is not None:
        lost += write_measured(found, measured, force=force)
    write_trace(found.trace, file)
    _say_written(found.trace, file, lost, as_json)


@trace_app.command("export")
def trace_export(
    source: Annotated[
        Path,
        typer.Argument(help="A trace of any format that can be read, or the folder of a run."),
    ],
    file: Annotated[Path, typer.Argument(help="File to write; its suffix says the format.")],
    format: Format = None,
    run: Annotated[
        Path | None,
        typer.Option(help="Chakra: the folder of a run of this trace, whose times are written."),
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Write a trace for another tool, and say what its format cannot hold.

    The folder of a run (run --out) has times: it becomes a timeline, Chrome's or Perfetto's.

    Example: bankwidth trace export model.jsonl.gz model.0.et
    """
    from bankwidth.operators.formats import export_trace, import_trace
    from bankwidth.operators.formats.runs import export_run, export_timed

    if source.is_dir():
        export_run(source, file, format=format, force=force)
        _say_file(file, as_json)
        return
    trace = import_trace(source).trace
    if run is None:
        lost = export_trace(trace, file, format=format, force=force)
    else:
        lost = export_timed(trace, run, file, force=force)
    _say_written(trace, file, lost, as_json)


@trace_app.command("show")
def trace_show(
    file: Annotated[Path, typer.Argument(help="A trace, of any format that can be read.")],
    as_json: AsJson = False,
) -> None:
    """Show the blocks and operators of a trace."""
    from bankwidth.operators.formats import import_trace
    from bankwidth.report import print_trace

    summary = _trace_summary(import_trace(file).trace)
    if as_json:
        print_json(summary)
    else:
        print_trace(summary, console())


def _sizes(texts: Sequence[str] | None) -> dict[str, int] | None:
    """`NAME=SIZE` of --dim. Raises UserError."""
    from bankwidth.errors import UserError

    sizes: dict[str, int] = {}
    for text in texts or ():
        name, equals, size = text.rpartition("=")
        if not (name and equals and size.isdecimal()):
            raise UserError(f"--dim {text}: need NAME=SIZE, as batch=1")
        if name in sizes:
            raise UserError(f"--dim {text}: {name!r} is given twice")
        sizes[name] = int(size)
    return sizes or None


def _say_file(file: Path, as_json: bool) -> None:
    if as_json:
        print_json({"file": str(file), "lost": []})
    else:
        say(f"wrote {file}")


def _say_written(trace: Trace, file: Path, lost: Sequence[str], as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "file": str(file),
                "operators": trace.num_steps,
                "blocks": len(trace.blocks),
                "partial": bool(trace.meta.get("partial")),
                "lost": list(lost),
            }
        )
        return
    for sentence in lost:
        say(f"lost: {sentence}")
    if trace.meta.get("partial"):
        say(f"PARTIAL: left out are {trace.meta.get('left_out')}")
    say(f"wrote {trace.num_steps} operators in {len(trace.blocks)} blocks to {file}")


def _trace_summary(trace: Trace) -> dict[str, Any]:
    return {
        "model": trace.model,
        "phase": trace.phase,
        "batch": trace.batch,
        "context": trace.context,
        "dtypes": dict(trace.dtypes),
        "weight_bytes": trace.weight_bytes,
        "kv_bytes": trace.kv_bytes,
        "activation_bytes": trace.activation_bytes,
        "far_bytes": trace.far_bytes,
        "meta": dict(trace.meta),
        "operators": [
            {
                "block": block.name,
                "repeat": block.repeat,
                "name": op.name,
                "kind": op.kind,
                "flops": op.flops,
                "read_bytes": op.read_bytes,
                "write_bytes": op.write_bytes,
            }
            for block in trace.blocks
            for op in block.operators
        ],
    }
