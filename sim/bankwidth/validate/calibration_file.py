"""The file that a calibration writes: the machine's own text, with the fitted values in it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from bankwidth.errors import OutputError
from bankwidth.spec import MachineSpec, load_machine
from bankwidth.spec.edit import Fitted, moved, with_fitted
from bankwidth.spec.files import SUFFIXES, read_text


def check_out(out: Path, *, force: bool = False) -> None:
    """Raises OutputError now where writing would be refused later: call it before a long run."""
    if not out.name.endswith(SUFFIXES):
        raise OutputError(f"{out}: need a file name that ends in .yaml")
    if out.is_dir():
        raise OutputError(f"{out} is a folder: give a file name")
    if not out.absolute().parent.is_dir():
        raise OutputError(f"cannot write {out}: no such folder")
    if not os.access(out.absolute().parent, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write {out}: no permission")
    if out.exists() and not force:
        raise OutputError(f"{out} exists; --force overwrites it")


def text_with(machine: Path, out: Path, fitted: Sequence[Fitted]) -> str:
    """The text of a machine's file as it is to stand in `out`.

    Raises SpecError for a value that cannot be written: one in a list of another file.
    """
    text = moved(read_text(machine, str(machine)), machine.parent, out.absolute().parent)
    return with_fitted(text, fitted)


def write_machine(text: str, machine: MachineSpec, out: Path, *, force: bool = False) -> None:
    """Writes the text of a machine once it is sure to describe that machine.

    Raises OutputError where it cannot be written, or would describe another machine because a file
    that it refers to has changed.
    """
    check_out(out, force=force)
    passing = out.with_name(f".{out.stem}.{os.getpid()}.part.yaml")
    try:
        with passing.open("x", encoding="utf-8", newline="") as file:
            file.write(text)
        if load_machine(passing) != machine:
            raise OutputError(
                f"cannot write {out}: it would not describe the machine that was calibrated; "
                "has a file that it is made of changed since?"
            )
        os.replace(passing, out)
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror or error}") from error
    finally:
        passing.unlink(missing_ok=True)
