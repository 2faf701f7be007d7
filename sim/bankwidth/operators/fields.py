"""Reading fields of a Hugging Face `config.json`; all problems are raised at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard, TypeVar

from bankwidth.errors import SpecError, did_you_mean

Config = Mapping[str, object]
T = TypeVar("T")


def text_config(config: Config) -> Config:
    """The language part of a multi-modal configuration, else the configuration itself.

    Of the whole it takes over whether the head is tied, and the family if it names none.
    """
    inner = config.get("text_config")
    if not isinstance(inner, Mapping) or "hidden_size" in config:
        return config
    shared = {key: config[key] for key in ("model_type", "tie_word_embeddings") if key in config}
    return {**shared, **inner}


class Fields:
    """Typed access to a configuration; a field has aliases, a null field counts as absent.

    A getter returns a usable value even after a problem, so that reading can go on and `finish`
    can name every problem. Which fields were asked for is kept: see `refuse_unread`.
    """

    def __init__(
        self, config: Config, *, where: str, family: str, places: Mapping[str, str] | None = None
    ) -> None:
        self._config = config
        self._where = where
        self._places = places or {}  # file:line:col of fields, and under "" of all of them
        self.family = family
        self._problems: list[str] = []
        self._asked: set[str] = set()

    def has(self, *names: str) -> bool:
        """Whether one of the fields is there and not null."""
        self._asked.update(names)
        return any(self._config.get(name) is not None for name in names)

    def is_null(self, name: str) -> bool:
        """Whether the field is there as null, which for some classes is not the same as absent."""
        self._asked.add(name)
        return name in self._config and self._config[name] is None

    def integer(self, *names: str, default: int | None = None, least: int = 1) -> int:
        """A whole number of at least `least`."""
        value = self._find(names, default)
        if is_integer(value) and value >= least:
            return int(value)
        if value is not None:
            self.problem(
                f"{self._name(names)} must be a whole number of at least {least}, got {value!r}"
            )
        return least

    def optional(self, *names: str, default: int | None = None) -> int | None:
        """A whole number of at least 1, or None where there is neither field nor default."""
        return self.integer(*names) if self.has(*names) else default

    def number(self, *names: str, default: float) -> float:
        """A number over 0."""
        value = self._find(names, default)
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            return float(value)
        self.problem(f"{self._name(names)} must be a number over 0, got {value!r}")
        return default

    def flag(self, *names: str, default: bool) -> bool:
        value = self._find(names, default)
        if isinstance(value, bool):
            return value
        self.problem(f"{self._name(names)} must be true or false, got {value!r}")
        return default

    def choice(self, *names: str, known: Mapping[str, T], default: str) -> T:
        """The value that `known` gives for the field's text."""
        value = self._find(names, default)
        if isinstance(value, str) and value in known:
            return known[value]
        hint = did_you_mean(str(value), known)
        self.problem(f"{self._name(names)} must be one of {', '.join(known)}, got {value!r}{hint}")
        return known[default]

    def integers(self, *names: str) -> tuple[int, ...] | None:
        """A list of whole numbers of at least 0; None where the field is absent."""
        value = self._find(names, ())
        if value == ():
            return None
        if isinstance(value, Sequence) and all(is_integer(item) and item >= 0 for item in value):
            return tuple(value)
        self.problem(f"{self._name(names)} must be a list of whole numbers, got {value!r}")
        return None

    def per_layer(self, *names: str, layers: int, known: Sequence[str]) -> tuple[str, ...] | None:
        """A list of one of the `known` texts for each layer; None where the field is absent."""
        value = self._find(names, ())
        if value == ():
            return None
        if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != layers:
            self.problem(
                f"{self._name(names)} must be a list with a kind for each of the {layers} layers"
            )
            return None
        unknown = sorted({str(item) for item in value if item not in known})
        for item in unknown:
            hint = did_you_mean(item, known)
            self.problem(f"{self._name(names)} may hold {', '.join(known)}, got {item!r}{hint}")
        return None if unknown else tuple(value)

    def section(self, name: str) -> Config:
        """The fields of an object; none where it is absent."""
        value = self._find((name,), {})
        return value if isinstance(value, Mapping) else {}

    def raw(self, name: str) -> Any:
        """The value as it stands, None where it is absent."""
        self._asked.add(name)
        return self._config.get(name)

    def only(self, name: str, usual: T, why: str = "other layers are not described") -> None:
        """A field that may be absent, null or `usual`."""
        if self._find((name,), usual) != usual:
            shown = str(usual).lower() if isinstance(usual, bool) else repr(usual)
            self.problem(f"{name} must be {shown}: {why}")

    def refuse_unread(self, meanings: Mapping[str, str]) -> None:
        """A problem for each field of `meanings` that is set and that no getter asked for."""
        for name, meaning in meanings.items():
            value = self._config.get(name)
            if name not in self._asked and not _changes_nothing(value):
                self.problem(
                    f"{name} is {value!r} ({meaning}), which the family {self.family} does not have"
                )

    def refuse_unknown(self, *harmless: str) -> None:
        """A problem for each field that no getter asked for."""
        for name in self._config:
            if name not in self._asked and name not in harmless:
                hint = did_you_mean(name, self._asked)
                known = ", ".join(sorted(self._asked))
                self.problem(f"{name} is not a field of {self.family}{hint} (known: {known})")

    def problem(self, text: str) -> None:
        """Notes what is wrong; `text` begins with the name of the field."""
        place = self._places.get(text.split()[0])
        self._problems.append(f"{place}: {text}" if place else text)

    def finish(self) -> None:
        """Raises SpecError with everything that was wrong."""
        if self._problems:
            lines = "".join(f"\n  {problem}" for problem in dict.fromkeys(self._problems))
            place = f"{self._places['']}: " if self._places else ""
            raise SpecError(
                f"{place}{self._where}: not a usable {self.family} configuration:{lines}"
            )

    def _find(self, names: tuple[str, ...], default: object) -> Any:
        self._asked.update(names)
        for name in names:
            if self._config.get(name) is not None:
                return self._config[name]
        if default is None:
            self.problem(self._missing(names))
        return default

    def _name(self, names: tuple[str, ...]) -> str:
        """Of a field's names the one that is there."""
        return next((name for name in names if self._config.get(name) is not None), names[0])

    def _missing(self, names: tuple[str, ...]) -> str:
        also = f" (also read as {', '.join(names[1:])})" if names[1:] else ""
        present = [key for key, value in self._config.items() if value is not None]
        return f"{names[0]} is missing{also}{did_you_mean(names[0], present)}"


def is_integer(value: object) -> TypeGuard[int]:
    """Whether it is a whole number; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def _changes_nothing(value: object) -> bool:
    """Null, false, 0 and empty; a list that calls every layer's attention full."""
    if isinstance(value, list):
        return all(item == "full_attention" for item in value)
    return not value
