"""Every exception of the package.

BankwidthError
+-- UserError            the user can fix it; the command line prints it and exits with 2
|   +-- SpecError        a YAML file or a quantity in it is wrong (also a ValueError)
|   +-- TraceError       an operator trace or an operator table is wrong (also a ValueError)
|   +-- MappingError     the workload does not fit the machine, or no engine runs an operator
|   +-- OutputError      an output folder or file cannot be written, or would be overwritten
+-- SimulationError      a bug of ours, or a deadlock: says who waits for what (a RuntimeError)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BankwidthError(Exception):
    """Root of the tree."""


class UserError(BankwidthError):
    """The input is wrong; the message says what, where and what is allowed."""


class SpecError(UserError, ValueError):
    """A description (YAML) or a quantity is wrong."""


class TraceError(UserError, ValueError):
    """An operator trace or an operator table is wrong."""


class MappingError(UserError):
    """The workload does not fit, or nothing on the machine can run an operator."""


class OutputError(UserError):
    """An output cannot be written, or exists already."""


class SimulationError(BankwidthError, RuntimeError):
    """The simulation cannot go on."""


def did_you_mean(found: str, known: Iterable[str]) -> str:
    """`, did you mean 'x'?` when a known name is close to what was found, whatever its case."""
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(found.lower(), by_lower, n=1, cutoff=0.6)
    return f", did you mean {by_lower[close[0]]!r}?" if close else ""
