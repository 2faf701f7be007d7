"""Our cycles beside those of the AiM simulator, row by row.

    python validation/pim/compare.py ../shared/reference/pim/aim_simulator_micro.csv

prints a Markdown table and a last line with the number of equal rows; exits with 1 if any differs.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

from bankwidth.devices.pim.aim import micro_cycles
from bankwidth.devices.pim.config import config_of
from bankwidth.spec import PimSpec, load_device

DEVICE = "pim/gddr6-aim"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("reference", type=Path, help="CSV: case, params, memory_system_cycles, ...")
    rows = compare(parser.parse_args().reference)
    print("| case | parameters | reference, ck | ours, ck | difference |\n|---|---|---|---|---|")
    for case, params, theirs, ours in rows:
        print(f"| {case} | {params} | {theirs} | {ours} | {ours - theirs} |")
    equal = sum(theirs == ours for _, _, theirs, ours in rows)
    print(f"\n{equal} of {len(rows)} equal, to the cycle")
    return int(equal != len(rows))


def compare(reference: Path) -> list[tuple[str, str, int, int]]:
    """(case, parameters, their cycles, our cycles) of each row."""
    spec = load_device(DEVICE)
    if not isinstance(spec, PimSpec):
        raise TypeError(f"{DEVICE} describes no computing banks")
    config = config_of(spec)
    with reference.open() as file:
        return [
            (
                row["case"],
                row["params"],
                int(row["memory_system_cycles"]),
                micro_cycles(row["case"], row["params"], config),
            )
            for row in csv.DictReader(file)
        ]


if __name__ == "__main__":
    sys.exit(main())
