"""The suites of `bankwidth validate`: what is compared with what, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bankwidth.errors import SpecError, did_you_mean
from bankwidth.system.run import Progress
from bankwidth.validate.dram_suite import run_dram
from bankwidth.validate.flash_suite import run_flash
from bankwidth.validate.gpu_suite import run_gpu
from bankwidth.validate.lut_suite import run_sram_lut
from bankwidth.validate.pim_suite import run_pim
from bankwidth.validate.verdicts import Verdict

# Takes files of reference figures (None: the suite's own) and where to report progress.
RunSuite = Callable[..., Verdict]
SUITES: Final[dict[str, RunSuite]] = {
    "dram": run_dram,
    "gpu": run_gpu,
    "pim": run_pim,
    "flash": run_flash,
    "sram-lut": run_sram_lut,
}
# Suites that take more than one file.
TAKE_SEVERAL: Final = frozenset({"gpu", "pim", "flash", "sram-lut"})


def validate(
    names: Sequence[str] = (),
    *,
    reference: Path | Sequence[Path] | None = None,
    progress: Progress | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Verdict]:
    """Runs suites by name, all of them if none is named, in the order of the table.

    `options` are a suite's own, by its name. Raises SpecError for an unknown name, a reference
    file for several suites or several files for one that takes one, TraceError for a reference
    file that is wrong.
    """
    chosen = chosen_suites(names)
    references = [reference] if isinstance(reference, Path) else list(reference or ())
    _check_references(references, chosen)
    more = options or {}
    one = references[0] if len(references) == 1 else references or None
    return [SUITES[name](one, progress, **more.get(name, {})) for name in chosen]


def chosen_suites(names: Sequence[str]) -> list[str]:
    """Those named, each once and in the order of the table. Raises SpecError for an unknown one."""
    for name in names:
        if name not in SUITES:
            hint = did_you_mean(name, SUITES)
            raise SpecError(f"unknown suite {name!r}{hint} (known: {', '.join(SUITES)})")
    return [name for name in SUITES if name in names or not names]


def check_options(suite: str, given: Sequence[str], chosen: Sequence[str]) -> None:
    """Raises SpecError for options of a suite where others run, or it does not."""
    if given and list(chosen) != [suite]:
        raise SpecError(f"{', '.join(given)}: only with suite {suite}: name it, and no other")


def _check_references(references: Sequence[Path], chosen: Sequence[str]) -> None:
    if references and len(chosen) > 1:
        raise SpecError(
            f"{references[0]}: reference for which suite? name one of {', '.join(chosen)}"
        )
    if len(references) > 1 and not TAKE_SEVERAL.issuperset(chosen):
        raise SpecError(f"{references[1]}: suite {chosen[0]} takes one reference")
