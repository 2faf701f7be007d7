"""Drives: against MQSim, closed forms, and what papers of drives that compute have published."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bankwidth.spec.files import ROOT
from bankwidth.system.run import Progress
from bankwidth.validate.design_suite import DesignSuite
from bankwidth.validate.verdicts import Verdict

# To add a design: its module, and a name here.
FLASH: Final = DesignSuite(
    name="flash",
    folder=ROOT / "validation" / "flash",
    golden=ROOT.parent / "shared" / "reference" / "flash",
    designs=("flash_mqsim", "flash_laws", "flash_instinfer", "flash_llm_in_a_flash"),
)


def run_flash(
    reference: Path | Sequence[Path] | None = None, progress: Progress | None = None
) -> Verdict:
    """Compares every row of the files, or of all that are at hand, and then what was published.

    Raises TraceError for a file or a row that is wrong.
    """
    return FLASH.run(reference, progress)
