"""Compute SRAM and look-up tables: cost laws, the numbers themselves, and published figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bankwidth.spec.files import ROOT
from bankwidth.system.run import Progress
from bankwidth.validate.design_suite import DesignSuite
from bankwidth.validate.verdicts import Verdict

# To add a design: its module, and a name here.
SRAM_LUT: Final = DesignSuite(
    name="sram-lut",
    folder=ROOT / "validation" / "sram-lut",
    golden=ROOT.parent / "shared" / "reference" / "cim",
    designs=(
        "lut_laws",
        "lut_gemv",
        "lut_conversion",
        "lut_patterns",
        "lut_sail",
        "lut_cpu",
        "lut_tmac",
        "lut_v100",
        "lut_tellme",
        "lut_ternary",
    ),
)


def run_sram_lut(
    reference: Path | Sequence[Path] | None = None, progress: Progress | None = None
) -> Verdict:
    """Compares every row of the files, or of all that are at hand, and then what was published.

    Raises TraceError for a file or a row that is wrong.
    """
    return SRAM_LUT.run(reference, progress)
