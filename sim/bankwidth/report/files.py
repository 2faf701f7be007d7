"""Folders of results: files written under passing names first, so that none is half there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from bankwidth.errors import OutputError
from bankwidth.report.html import report_page
from bankwidth.report.replay_page import replay_page
from bankwidth.report.timeline import plain_number, timeline_gz
from bankwidth.results import Result, Table

RUN_FILES: Final = (
    *("operators.csv", "components.csv", "summary.csv", "summary.json"),
    *("timeline.json.gz", "report.html"),
)
REPLAY_FILES: Final = ("summary.json", "banks.csv", "report.html")
_NAMED: Final = 3  # foreign files that a refusal names


def check_target(
    folder: str | Path, *, force: bool = False, files: tuple[str, ...] = RUN_FILES
) -> Path:
    """Raise OutputError now where writing would be refused later: call it before a long run."""
    path = Path(folder)
    try:
        _refuse(path, force, files)
    except OSError as error:
        raise _cannot_write(path, error) from error
    return path


def write_run(result: Result, folder: str | Path, *, force: bool = False) -> list[Path]:
    """Write the files of a run into a new or empty folder; returns their paths.

    With `force` a folder in use is taken too: files with our names are replaced, all others stay.
    Raises OutputError when the folder is in use, or cannot be written.
    """
    path = check_target(folder, force=force)
    return _write_all(path, _contents(result))


def write_replay(
    summary: Mapping[str, Any], banks: Table, folder: str | Path, *, force: bool = False
) -> list[Path]:
    """Write the files of a replay, with the bank states of its window, as `write_run` does."""
    path = check_target(folder, force=force, files=REPLAY_FILES)
    contents = {
        "summary.json": _json(dict(summary)).encode(),
        "banks.csv": banks.to_csv_text().encode(),
        "report.html": replay_page(summary, banks).encode(),
    }
    return _write_all(path, contents)


def write_files(path: Path, contents: Mapping[str, bytes | dict[str, Any]]) -> list[Path]:
    """Write files by name into a folder that was checked; an object becomes JSON."""
    packed = {
        name: _json(content).encode() if isinstance(content, dict) else content
        for name, content in contents.items()
    }
    return _write_all(path, packed)


def _write_all(path: Path, contents: dict[str, bytes]) -> list[Path]:
    made = _missing(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        return _replace_all(path, contents)
    except OSError as error:
        _remove_empty(made)
        raise _cannot_write(path, error) from error


def _contents(result: Result) -> dict[str, bytes]:
    return {
        "operators.csv": result.operators.to_csv_text().encode(),
        "components.csv": result.components.to_csv_text().encode(),
        "summary.csv": result.row.to_csv_text().encode(),
        "summary.json": _summary_json(result).encode(),
        "timeline.json.gz": timeline_gz(result),
        "report.html": report_page(result).encode(),
    }


def _summary_json(result: Result) -> str:
    """`to_json()` less the operators, which have a file of their own."""
    data: dict[str, Any] = result.to_json()
    del data["operators"]
    return _json(data)


def _json(data: dict[str, Any]) -> str:
    return json.dumps(data, indent=1, allow_nan=False, default=plain_number) + "\n"


def _refuse(path: Path, force: bool, files: tuple[str, ...]) -> None:
    if not os.path.lexists(path):
        _refuse_parent(path)
        return
    if not path.is_dir():
        raise OutputError(f"{path} is not a folder: give another name")
    held = sorted(entry.name for entry in path.iterdir())
    if held and not force:
        raise OutputError(
            f"{path} is not empty (it holds {_list(held)}): give another folder, "
            f"or --force to replace {', '.join(files)} in it"
        )
    folders = [name for name in files if (path / name).is_dir()]
    if folders:
        raise OutputError(f"{path / folders[0]} is a folder, a file of this name must go there")
    _refuse_unwritable(path)


def _refuse_parent(path: Path) -> None:
    """The nearest folder above that exists must take a new one."""
    parent = next(folder for folder in path.absolute().parents if os.path.lexists(folder))
    if not parent.is_dir():
        raise OutputError(f"cannot write {path}: {parent} is not a folder")
    _refuse_unwritable(parent)


def _refuse_unwritable(path: Path) -> None:
    if not os.access(path, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write into {path}: no permission")


def _list(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _replace_all(path: Path, contents: dict[str, bytes]) -> list[Path]:
    """Write every file under a passing name, then give all of them their names."""
    passing = {name: path / f".{name}.{os.getpid()}.part" for name in contents}
    try:
        for name, content in contents.items():
            _write_new(passing[name], content)
        for name in contents:
            os.replace(passing[name], path / name)
    finally:
        for part in passing.values():
            part.unlink(missing_ok=True)
    return [path / name for name in contents]


def _write_new(path: Path, content: bytes) -> None:
    """A file of this name must not be there: a foreign one is never written into."""
    with path.open("xb") as file:
        file.write(content)


def _missing(path: Path) -> list[Path]:
    """The folders that are to be made for `path`, the deepest first."""
    return [folder for folder in (path, *path.parents) if not folder.exists()]


def _remove_empty(folders: Iterable[Path]) -> None:
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:  # not made, or someone else has put something there
            return


def _cannot_write(path: Path, error: OSError) -> OutputError:
    return OutputError(f"cannot write {path}: {error.strerror or error}")
