"""Reading fields of a Hugging Face `config.json`; all problems are raised at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from bankwidth.errors import SpecError, did_you_mean

Config = Mapping[str, object]
T = TypeVar("T")


def text_config(config: Config) -> Config:
    """The language part of a multi-modal configuration, else the configuration itself."""
    inner = config.get("text_config")
    if isinstance(inner, Mapping) and "hidden_size" not in config:
        return inner
    return config


class Fields:
    """Typed access to a configuration; a field has aliases, a null field counts as absent.

    A getter returns a usable value even after a problem, so that reading can go on and `finish`
    can name every problem.
    """

    def __init__(self, config: Config, *, where: str, family: str) -> None:
        self._config = config
        self._where = where
        self._family = family
        self._problems: list[str] = []

    def has(self, name: str) -> bool:
        return self._config.get(name) is not None

    def integer(self, *names: str, default: int | None = None) -> int:
        """A whole number of at least 1."""
        value = self._find(names, default)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
            return value
        if value is not None:
            self.problem(f"{names[0]} must be a whole number of at least 1, got {value!r}")
        return 1

    def flag(self, *names: str, default: bool) -> bool:
        value = self._find(names, default)
        if isinstance(value, bool):
            return value
        self.problem(f"{names[0]} must be true or false, got {value!r}")
        return default

    def choice(self, *names: str, known: Mapping[str, T], default: str) -> T:
        """The value that `known` gives for the field's text."""
        value = self._find(names, default)
        if isinstance(value, str) and value in known:
            return known[value]
        hint = did_you_mean(str(value), known)
        self.problem(f"{names[0]} must be one of {', '.join(known)}, got {value!r}{hint}")
        return known[default]

    def problem(self, text: str) -> None:
        self._problems.append(text)

    def finish(self) -> None:
        """Raises SpecError with everything that was wrong."""
        if self._problems:
            lines = "".join(f"\n  {problem}" for problem in self._problems)
            raise SpecError(f"{self._where}: not a usable {self._family} configuration:{lines}")

    def _find(self, names: tuple[str, ...], default: object) -> object:
        for name in names:
            if self._config.get(name) is not None:
                return self._config[name]
        if default is None:
            self.problem(self._missing(names))
        return default

    def _missing(self, names: tuple[str, ...]) -> str:
        also = f" (also read as {', '.join(names[1:])})" if names[1:] else ""
        present = [key for key, value in self._config.items() if value is not None]
        return f"{names[0]} is missing{also}{did_you_mean(names[0], present)}"
