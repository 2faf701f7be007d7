"""What several commands share: their options, ways to print, progress.

Heavy modules are imported inside the functions, so that `--help` is instant.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from bankwidth.operators import Trace

Arch = Annotated[str, typer.Argument(help="A machine: shipped name or path of a YAML file.")]
Workload = Annotated[
    str,
    typer.Argument(
        help="A model: shipped name, YAML file, Hugging Face config.json, or a trace (.jsonl[.gz])."
    ),
]
Phase = Annotated[
    str,
    typer.Option(
        help="decode: one token per sequence; prefill: the prompt; generate: both.",
    ),
]
Batch = Annotated[int, typer.Option(help="Sequences processed together.")]
Context = Annotated[
    int, typer.Option(help="Tokens a decode step attends to, the new one included.")
]
Prompt = Annotated[
    int | None, typer.Option(help="Prompt tokens for prefill and generate (default: --context).")
]
Output = Annotated[int, typer.Option(help="Decode steps after the prompt, for generate.")]
WeightDtype = Annotated[
    str | None,
    typer.Option(
        help="Of the weights: bf16, int8 to int1, ternary, int4_g128, q4_0, ... By default bf16, "
        "or what a quantised checkpoint's configuration says."
    ),
]
ActivationDtype = Annotated[str, typer.Option(help="Of what operators hand to each other.")]
KvDtype = Annotated[str, typer.Option(help="Of the KV cache.")]
With = Annotated[
    list[str] | None,
    typer.Option(
        "--with",
        metavar="TECHNIQUE[:KEY=VALUE,...]",
        help="Turn a technique on, as kv_quant:k_bits=2,v_bits=2; repeat. See docs/techniques.md.",
    ),
]
Tp = Annotated[int | None, typer.Option(help="Tensor parallel over so many equal devices.")]
Pp = Annotated[int | None, typer.Option(help="Pipeline stages; one is simulated.")]
Ep = Annotated[int | None, typer.Option(help="Devices that the experts are shared out to.")]
Out = Annotated[Path | None, typer.Option(help="Write tables, timeline and report here.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print data as JSON on stdout.")]
NoSkip = Annotated[
    bool, typer.Option("--no-skip", help="Simulate repeating traffic period by period.")
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite files of an earlier run.")]


def trace_of(workload: str, *, techniques: list[str], **options: Any) -> Trace:
    """A trace file as it is, or a model's trace with the options given."""
    from bankwidth.errors import UserError
    from bankwidth.operators import make_trace, read_trace
    from bankwidth.spec import load_workload, with_techniques

    if workload.endswith((".jsonl", ".jsonl.gz")):
        if techniques:
            raise UserError(f"{workload} is a trace: techniques are chosen when it is made")
        return read_trace(workload)
    return make_trace(with_techniques(load_workload(workload), techniques), **options)


def with_parallel(techniques: list[str] | None, **ways: int | None) -> list[str]:
    """--tp and its like are short for an option of the technique `parallel`."""
    given = ",".join(f"{name}={count}" for name, count in ways.items() if count is not None)
    return [*(techniques or ()), *([f"parallel:{given}"] if given else ())]


def named_options(context: typer.Context) -> list[str]:
    """Names of the parameters that stand on the command line."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return [name for name, source in sources.items() if source and source.name == "COMMANDLINE"]


def prepare_kernels() -> None:
    from bankwidth.kernel_cache import prepare

    prepare(say)


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def print_json(data: Any) -> None:
    json.dump(data, sys.stdout, indent=2, allow_nan=False)
    sys.stdout.write("\n")


def console() -> Any:
    from rich.console import Console

    return Console()


class progress_bar:
    """A progress bar on stderr when that is a terminal; nothing otherwise."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._bar: Any = None

    def __enter__(self) -> Callable[..., None] | None:
        if not sys.stderr.isatty():
            return None
        from rich.console import Console
        from rich.progress import Progress as Bar

        self._bar = Bar(console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task(self._title, total=None)
        self._bar.start()
        return self._update

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _update(self, done: int, total: int, error: float | None = None) -> None:
        title = self._title if error is None else f"{self._title}, error {error:.4f}"
        self._bar.update(self._task, completed=done, total=total, description=title)
