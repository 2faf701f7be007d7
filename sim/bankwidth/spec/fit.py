"""`fit:` beside a value: the bounds within which calibration may change it.

`launch: {value: 850 ns, source: "...", fit: [200 ns, 3000 ns]}`. A marked value is one number, or
one quantity with its unit; the bounds are of its own type. A value that overrides another one does
not inherit its bounds.

Of several kernel libraries of a device one runs: only its marks are parameters of the device.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from bankwidth.spec.annotations import dimension_of, member_of, ruled
from bankwidth.spec.base import KIND
from bankwidth.spec.explain import problem_of_value
from bankwidth.spec.problems import Mark, Problem
from bankwidth.spec.provenance import FIT
from bankwidth.spec.tree import Node, join, plain
from bankwidth.units import UNITS, parse_quantity, unit_pattern

MOST_PER_DEVICE: Final = 20
LIBRARY: Final = "library"  # names the one that runs of those in LIBRARIES
LIBRARIES: Final = "libraries"
_DIGITS: Final = 4  # of a fitted value
_STRICT: Final = ConfigDict(strict=True)

KeyPath = tuple[str | int, ...]  # keys from the root of a file; a number is the place in a list


@dataclass(frozen=True, slots=True, kw_only=True)
class FitParameter:
    """A marked value with its bounds, all in the canonical unit of its dimension.

    `unit` is the one that the value is written in, `dimension` a key of `units.UNITS`; both are
    empty for a plain number. `bounds` are as written, `where` is the place of the value.
    """

    path: KeyPath
    value: float
    low: float
    high: float
    unit: str
    dimension: str
    is_whole: bool
    bounds: tuple[str, str]
    where: Mark

    @property
    def name(self) -> str:
        """`engines.gpu.launch`."""
        return ".".join(map(str, self.path))

    def in_unit(self, value: float) -> float:
        """A canonical value in the unit that the file is written in."""
        return value / UNITS[self.dimension][self.unit] if self.unit else value

    def text(self, value: float) -> str:
        """A canonical value as a file has it: four digits, and never beyond the bounds."""
        text = self._whole(value) if self.is_whole else self._short(value)
        if self.parsed(text) <= self.low:
            return self.bounds[0]
        return self.bounds[1] if self.parsed(text) >= self.high else text

    def parsed(self, text: str) -> float:
        """The canonical value of what `text` gives."""
        return parse_quantity(text, self.dimension) if self.unit else float(text)

    def _short(self, value: float) -> str:
        return f"{self.in_unit(value):.{_DIGITS}g} {self.unit}".strip()

    def _whole(self, value: float) -> str:
        """In the canonical unit, the first of its dimension, where it is sure to be whole."""
        unit = next(iter(UNITS[self.dimension])) if self.unit else ""
        return f"{int(float(f'{value:.{_DIGITS}g}'))} {unit}".strip()


def fits_of(
    root: Node, model: type[BaseModel], wrong: list[Problem]
) -> tuple[list[FitParameter], list[Problem]]:
    """The marked values of a file, and what is wrong with their bounds.

    `wrong` are the problems of the values themselves, which are not said twice.
    """
    found: list[FitParameter] = []
    problems: list[Problem] = []
    known = {problem.mark for problem in wrong}
    foreign = [p.path.removesuffix(KIND) for p in wrong if p.path.endswith(f".{KIND}")]
    for keys, node in _marked(root):
        if {node.mark, node.at} & known or node.is_broken or _is_below(keys, foreign):
            continue
        try:
            found.append(_parameter(keys, node, _type_at(root, model, keys)))
        except _Wrong as error:
            problems.append(error.problem)
    found = [parameter for parameter in found if _runs(root, parameter.path)]
    return found, [*problems, *_too_many(found)]


def _is_below(keys: KeyPath, parts: list[str]) -> bool:
    """Whether a value is of one of these parts, whose kinds are not needed where they stand."""
    path = ".".join(map(str, keys))
    return any(path.startswith(part) for part in parts)


class _Wrong(Exception):
    """Bounds that cannot be used."""

    def __init__(self, mark: Mark, path: str, message: str) -> None:
        super().__init__(message)
        self.problem = Problem(mark, path, message)


def _marked(node: Node, keys: KeyPath = ()) -> Iterator[tuple[KeyPath, Node]]:
    if node.fit is not None:
        yield keys, node
    is_list = isinstance(node.value, tuple)
    for key, child in node.children.items():
        yield from _marked(child, (*keys, int(key) if is_list else key))


def _runs(root: Node, keys: KeyPath) -> bool:
    """False for a value of a kernel library that the device does not run."""
    node = root
    for key, name in pairwise(keys):
        chosen = node.children.get(LIBRARY)
        if key == LIBRARIES and chosen is not None:
            return chosen.value == name
        node = node.children[str(key)]
    return True


def _type_at(root: Node, model: type[BaseModel], keys: KeyPath) -> Any:
    """Type of a value with its rules, the way down told by the kinds of the devices on it.

    None below a description whose type another key tells, such as the timing of a standard.
    """
    annotation: Any = model
    node = root
    for key in keys:
        kind = node.children.get(KIND)
        annotation = ruled(member_of(annotation, kind.value if kind else None), key)
        node = node.children[str(key)]
    return annotation


def _parameter(keys: KeyPath, node: Node, annotation: Any) -> FitParameter:
    path = ".".join(map(str, keys))
    value = _own_number(node, annotation, path)
    low_node, high_node = _two(node, join(path, FIT))
    low, high = (
        _bound(bound, annotation, join(path, f"{FIT}.{index}"))
        for index, bound in enumerate((low_node, high_node))
    )
    bounds = str(low_node.value), str(high_node.value)
    if not low < high:
        message = f"the lower bound comes first, and {bounds[0]} is not below {bounds[1]}"
        raise _Wrong(low_node.mark, join(path, FIT), message)
    if not low <= value <= high:
        raise _Wrong(node.mark, path, f"the value is outside its bounds, {' to '.join(bounds)}")
    dimension = dimension_of(annotation)
    return FitParameter(
        path=keys,
        value=float(value),
        low=low,
        high=high,
        unit=_unit(str(node.value), dimension),
        dimension=dimension,
        is_whole=isinstance(value, int),
        bounds=bounds,
        where=node.mark,
    )


def _two(node: Node, path: str) -> tuple[Node, Node]:
    fit = node.fit or node
    if not isinstance(fit.value, tuple) or len(fit.value) != 2:
        raise _Wrong(fit.mark, path, "need two bounds, the lower one first: fit: [LOW, HIGH]")
    return fit.value[0], fit.value[1]


def _own_number(node: Node, annotation: Any, path: str) -> float:
    """The marked value. One that only the description around it can read has no bounds either."""
    value = None
    if annotation is not None and isinstance(node.value, str | int | float):
        with suppress(ValidationError):
            value = _validated(node, annotation)
    if isinstance(value, bool) or not isinstance(value, int | float):
        message = "only a single number, or a quantity with its unit, can be fitted here"
        raise _Wrong((node.fit or node).at, join(path, FIT), message)
    return value


def _bound(node: Node, annotation: Any, path: str) -> float:
    try:
        return float(_validated(node, annotation))
    except ValidationError as error:
        problem = problem_of_value(error, node, path)
        raise _Wrong(problem.mark, problem.path, problem.message) from error


def _validated(node: Node, annotation: Any) -> Any:
    return TypeAdapter(annotation, config=_STRICT).validate_python(plain(node))


def _unit(text: str, dimension: str) -> str:
    """Unit of a quantity. A micro sign is no u, but the canonical unit says the same."""
    if not dimension:
        return ""
    match = re.fullmatch(unit_pattern(dimension), text)
    return match.group(1) if match else next(iter(UNITS[dimension]))


def _too_many(parameters: list[FitParameter]) -> Iterator[Problem]:
    """The first parameter of each device that is one too many."""
    by_device = sorted(parameters, key=lambda parameter: device_of(parameter.path))
    for device, group in groupby(by_device, key=lambda parameter: device_of(parameter.path)):
        extra = list(group)[MOST_PER_DEVICE:]
        if extra:
            message = (
                f"{MOST_PER_DEVICE + len(extra)} values of {device or 'this file'} are marked, "
                f"at most {MOST_PER_DEVICE} may be"
            )
            yield Problem(extra[0].where, join(extra[0].name, FIT), message)


def device_of(path: KeyPath) -> str:
    """`engines.gpu` of a machine's value; nothing where the value belongs to the file itself."""
    is_part = path[0] in ("engines", "memories")
    return ".".join(map(str, path[:2])) if is_part else ""
