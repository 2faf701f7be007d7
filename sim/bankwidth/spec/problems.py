"""What is wrong with a file, and where."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn

from bankwidth.errors import SpecError


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in a file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake: `file:line:col: key.path: message`."""

    mark: Mark
    path: str
    message: str

    def __str__(self) -> str:
        place = f"{_one_line(self.path)}: " if self.path else ""
        return f"{self.mark}: {place}{self.message}"


def _one_line(path: str) -> str:
    """A key path with line ends and other unprintable characters written out."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in path)


class Unreadable(Exception):
    """A file gives no tree at all, or none that can be judged; says why."""

    def __init__(self, mark: Mark, message: str, path: str = "") -> None:
        super().__init__(message)
        self.problem = Problem(mark, path, message)


def in_order(problems: Iterable[Problem], first_file: str) -> list[Problem]:
    """Each problem once, by file (that of the user first), line and column."""
    return sorted(set(problems), key=lambda problem: (problem.mark.file != first_file, problem))


def raise_problems(problems: Iterable[Problem]) -> NoReturn:
    """One SpecError that says all of them."""
    raise SpecError("\n".join(str(problem) for problem in problems))
