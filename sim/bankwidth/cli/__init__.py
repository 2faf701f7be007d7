"""The commands. Each is thin: read, call the package, print. Data on stdout, the rest on stderr.

Heavy modules are imported inside the commands, so that `--help` is instant.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bankwidth.cli.replay import replay
from bankwidth.cli.serving import (
    Concurrency,
    ExactShapes,
    Limit,
    Rate,
    RateScale,
    RequestsFile,
    Seed,
    Serving,
    Split,
    serve_requests,
)
from bankwidth.cli.shared import (
    ActivationDtype,
    Arch,
    AsJson,
    Batch,
    Context,
    Ep,
    Force,
    KvDtype,
    NoSkip,
    Out,
    Output,
    Phase,
    Pp,
    Prompt,
    Tp,
    WeightDtype,
    With,
    Workload,
    console,
    named_options,
    prepare_kernels,
    print_json,
    progress_bar,
    say,
    trace_of,
    with_parallel,
)
from bankwidth.cli.trace import trace_app

app = typer.Typer(
    name="bankwidth",
    help="Cycle-level simulation of memory-centric hardware for transformer inference.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
)
app.add_typer(trace_app, name="trace")


def _version(show: bool) -> None:
    if show:
        from bankwidth import __version__

        typer.echo(f"bankwidth {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Cycle-level simulation of memory-centric hardware for transformer inference."""


@app.command()
def run(
    given: typer.Context,
    arch: Arch,
    workload: Workload,
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
    out: Out = None,
    force: Force = False,
    no_skip: NoSkip = False,
    exact_memory: Annotated[
        bool,
        typer.Option("--exact-memory", help="Plain DRAM command by command in long runs as well."),
    ] = False,
    no_pim: Annotated[
        bool, typer.Option("--without-pim", help="The same memory, its banks not computing.")
    ] = False,
    requests: RequestsFile = None,
    limit: Limit = None,
    rate: Rate = None,
    rate_scale: RateScale = None,
    seed: Seed = 0,
    concurrency: Concurrency = None,
    serving: Serving = None,
    split: Split = None,
    exact_shapes: ExactShapes = False,
    as_json: AsJson = False,
) -> None:
    """Simulate a model on a machine and say where the time and the energy went.

    With --requests, replay recorded requests: latencies, throughput, what the cache held.
    """
    from bankwidth.report import check_target, print_result, write_run
    from bankwidth.simulation import simulate
    from bankwidth.spec import load_machine, load_workload, with_techniques, without_pim

    _check_kind(named_options(given), requests is not None)
    if out is not None and requests is None:
        check_target(out, force=force)
    machine = load_machine(arch)
    if no_pim:
        machine = without_pim(machine)
    chosen = with_parallel(techniques, tensor=tp, pipeline=pp, expert=ep)
    dtypes = {
        "weight_dtype": weight_dtype, "activation_dtype": activation_dtype, "kv_dtype": kv_dtype,
    }  # fmt: skip
    if requests is not None:
        serve_requests(
            machine,
            with_techniques(load_workload(workload), chosen),
            requests,
            limit=limit,
            rate=rate,
            rate_scale=rate_scale,
            seed=seed,
            concurrency=concurrency,
            serving=serving,
            split=split,
            out=out,
            force=force,
            as_json=as_json,
            exact_shapes=exact_shapes,
            **dtypes,
        )
        return
    trace = trace_of(
        workload,
        phase=phase,
        batch=batch,
        context=context,
        prompt=prompt,
        output=output,
        techniques=chosen,
        **dtypes,
    )
    prepare_kernels()
    with progress_bar(f"{trace.model} on {machine.name}") as progress:
        result = simulate(
            machine, trace, skip=not no_skip, exact_memory=exact_memory, progress=progress
        )
    if out is not None:
        write_run(result, out, force=force)
        say(f"wrote {out}/report.html and the tables beside it")
    if as_json:
        print_json(result.to_json())
    else:
        print_result(result, console())


_OF_ONE_RUN = ("phase", "batch", "context", "prompt", "output", "no_skip", "exact_memory")
_OF_REQUESTS = (
    "limit", "rate", "rate_scale", "seed", "concurrency", "serving", "split", "exact_shapes",
)  # fmt: skip


def _check_kind(given: list[str], has_requests: bool) -> None:
    """Raises UserError for options of the other kind of run."""
    from bankwidth.errors import UserError

    wrong = [name for name in given if name in (_OF_ONE_RUN if has_requests else _OF_REQUESTS)]
    if wrong:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in wrong)
        why = "requests say that themselves" if has_requests else "is for runs with --requests"
        raise UserError(f"{names}: {why}")


@app.command()
def ops(
    arch: Arch,
    table: Annotated[Path, typer.Argument(help="CSV of operators (gzip allowed).")],
    as_json: AsJson = False,
) -> None:
    """Simulate each row of an operator table on its own: latency, bound and energy."""
    from bankwidth.report import print_table
    from bankwidth.spec import load_machine
    from bankwidth.validate import run_ops

    prepare_kernels()
    machine = load_machine(arch)
    with progress_bar(f"{table.name} on {machine.name}") as progress:
        result = run_ops(machine, table, progress=progress)
    if as_json:
        print_json(result.rows())
    else:
        print_table(result, console())


@app.command()
def compare(
    arch: Arch,
    measured: Annotated[Path, typer.Argument(help="CSV of measured operators (gzip allowed).")],
    worst: Annotated[int, typer.Option(help="How many of the worst rows to show.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Simulate each measured row and give the error per operator family, and the worst rows.

    A row is run with the kernel library that it was measured with, where the machine knows it.
    """
    from bankwidth.report import print_comparison
    from bankwidth.spec import load_machine
    from bankwidth.validate import compare as compare_table

    prepare_kernels()
    machine = load_machine(arch)
    with progress_bar(f"{measured.name} on {machine.name}") as progress:
        comparison = compare_table(machine, measured, worst=worst, progress=progress)
    if as_json:
        print_json(comparison.to_json())
    else:
        print_comparison(comparison.to_json(), console())


@app.command()
def calibrate(
    arch: Arch,
    measured: Annotated[
        list[Path], typer.Argument(help="CSVs of measured operators (gzip allowed).")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Write the machine with the fitted values here (.yaml).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the split in two halves and of the search.")] = 0,
    rows: Annotated[int, typer.Option(min=1, help="Rows of the half to fit used at most.")] = 600,
    evaluations: Annotated[
        int | None, typer.Option(min=1, help="Of the search; by default 120 per parameter.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Rows of this device only, where the tables have several.")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Fit the marked parameters of a machine to measured operators, and report held-out error.

    A parameter is marked by bounds: launch: {value: 1 us, source: ..., fit: [0.1 us, 5 us]}.
    Half of the shapes, chosen by the seed, is fitted to; the other half only tests the result.

    Example: bankwidth calibrate h200 my_capture.csv --out my-h200.yaml
    """
    from bankwidth.report.calibration import print_calibration
    from bankwidth.validate.calibrate import calibrate as fit
    from bankwidth.validate.calibration_file import check_out, write_machine

    if out is not None:
        check_out(out, force=force)
    prepare_kernels()
    with progress_bar(f"calibrate {arch}") as progress:
        found = fit(
            arch,
            measured,
            out=out,
            seed=seed,
            rows=rows,
            evaluations=evaluations,
            device=device,
            progress=progress,
        )
    if out is not None:
        write_machine(found.text, found.machine, out, force=force)
        say(f"wrote {out}")
    if as_json:
        print_json(found.to_json())
    else:
        print_calibration(found.to_json(), console())


app.command()(replay)


@app.command()
def validate(
    suites: Annotated[list[str] | None, typer.Argument(help="Suites; all if none.")] = None,
    reference: Annotated[
        list[Path] | None,
        typer.Option(help="Another file of reference runs, or (gpu) of measured kernels; repeat."),
    ] = None,
    arch: Annotated[
        str | None, typer.Option(help="gpu: the machine of all rows, else their device says it.")
    ] = None,
    measured: Annotated[
        Path | None, typer.Option(help="gpu: a folder of measured tables instead of ../shared's.")
    ] = None,
    worst: Annotated[int, typer.Option(min=0, help="gpu: how many of the worst rows.")] = 20,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="gpu: print the tables as Markdown.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="gpu: write a page with scatter plots.")] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Compare with reference simulators and measured kernels; exit code 1 if one does not hold."""
    from bankwidth.report.gpu_validation import gpu_markdown
    from bankwidth.report.gpu_validation_page import check_gpu_target, write_gpu_validation
    from bankwidth.report.validation_table import print_validation
    from bankwidth.validate import suites as known
    from bankwidth.validate import verdicts_to_json

    given = {"--arch": arch, "--measured": measured, "--markdown": markdown or None, "--out": out}
    chosen = known.chosen_suites(suites or ())
    known.check_options("gpu", [name for name, value in given.items() if value], chosen)
    if out is not None:
        check_gpu_target(out, force=force)
    prepare_kernels()
    gpu = {"arch": arch, "measured": measured, "worst": worst}
    with progress_bar("validate") as progress:
        verdicts = known.validate(
            chosen, reference=reference, progress=progress, options={"gpu": gpu}
        )
    data = verdicts_to_json(verdicts)
    if out is not None:
        write_gpu_validation(verdicts[0].to_json(), verdicts[0].points, out, force=force)
        say(f"wrote {out}/report.html and summary.json")
    if as_json:
        print_json(data)
    elif markdown:
        typer.echo(gpu_markdown(verdicts[0].to_json()), nl=False)
    else:
        print_validation(data, console())
    if not all(verdict.ok for verdict in verdicts):
        raise typer.Exit(1)


@app.command()
def check(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Machine, device or workload YAML files; or command traces, with --device."
        ),
    ],
    device: Annotated[
        str | None,
        typer.Option(help="Check DRAM command traces (.csv, .csv.gz) against its timing table."),
    ] = None,
    refresh: Annotated[
        str, typer.Option(help="Refreshes that a command trace should have, see replay.")
    ] = "NoRefresh",
    as_json: AsJson = False,
) -> None:
    """Check YAML files: every mistake with its line, what is allowed and a suggestion.

    With --device, check command traces: the first command that breaks a rule (exit code 1).
    """
    from bankwidth.errors import SpecError
    from bankwidth.spec import check_file

    if device is not None:
        _check_commands(files, device, refresh, as_json)
        return
    problems: list[tuple[Path, object]] = []
    for file in files:
        problems += [(file, problem) for problem in check_file(file) or _model_problems(file)]
    if as_json:
        print_json([{"file": str(file), "problem": str(problem)} for file, problem in problems])
    if problems:
        raise SpecError("\n".join(str(problem) for _, problem in problems))
    if not as_json:
        typer.echo(f"{len(files)} file{'s' if len(files) > 1 else ''} in order")


def _model_problems(file: Path) -> list[str]:
    """What is wrong with the model that a workload describes; its family says it."""
    from bankwidth.errors import SpecError
    from bankwidth.operators import model_shape
    from bankwidth.spec import load_workload
    from bankwidth.spec.heading import heading_of

    if file.suffix != ".json" and heading_of(file)["kind"] != "workload":
        return []
    workload = load_workload(file)
    try:
        model_shape(workload.config, workload.name, workload.config_places)
    except SpecError as error:
        return [str(error)]
    return []


def _check_commands(files: list[Path], device: str, refresh: str, as_json: bool) -> None:
    from bankwidth.replaying import check_commands

    violations = {str(file): check_commands(file, device, refresh) for file in files}
    broken = {file: str(violation) for file, violation in violations.items() if violation}
    if as_json:
        print_json([{"file": file, "problem": broken.get(file)} for file in violations])
    else:
        for file in violations:
            typer.echo(f"{file}: {broken.get(file, 'every command is legal')}")
    if broken:
        raise typer.Exit(1)


@app.command()
def schema(
    kind: Annotated[str, typer.Argument(help="machine, workload, or a device kind.")] = "machine",
) -> None:
    """Print the JSON schema of a kind of YAML file, for editors."""
    from bankwidth.spec import json_schema

    print_json(json_schema(kind))


@app.command(name="list")
def list_presets(as_json: AsJson = False) -> None:
    """List the shipped machines, devices and workloads, and the techniques that --with knows."""
    from bankwidth.operators.techniques import TECHNIQUES
    from bankwidth.presets import list_presets as presets
    from bankwidth.report import print_presets

    techniques = [
        {"name": each.name, "title": each.paper, "example": each.example} for each in TECHNIQUES
    ]
    found = presets() | {"techniques": techniques}
    if as_json:
        print_json(found)
    else:
        print_presets(found, console())
