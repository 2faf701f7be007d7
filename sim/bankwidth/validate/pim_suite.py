"""Banks that compute: against the simulators of their designs, and against published figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bankwidth.spec.files import ROOT
from bankwidth.system.run import Progress
from bankwidth.validate.design_suite import DesignSuite
from bankwidth.validate.verdicts import Verdict

# To add a design: its module, and a name here.
PIM: Final = DesignSuite(
    name="pim",
    folder=ROOT / "validation" / "pim",
    golden=ROOT.parent / "shared" / "reference" / "pim",
    designs=(
        "pim_aim", "pim_cent", "pim_hbm", "pim_functional", "pim_attacc", "pim_attacc_system",
        "pim_ianus", "pim_neupims", "pim_gpt",
    ),
)  # fmt: skip


def run_pim(
    reference: Path | Sequence[Path] | None = None, progress: Progress | None = None
) -> Verdict:
    """Compares every row of the files, or of all that are at hand, and then what was published.

    Raises TraceError for a file or a row that is wrong.
    """
    return PIM.run(reference, progress)
