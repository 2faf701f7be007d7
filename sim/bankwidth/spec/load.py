"""Files to descriptions: the only way in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from pydantic import ValidationError

from bankwidth.errors import SpecError
from bankwidth.spec.attention_kernels import AttentionSpec
from bankwidth.spec.base import KIND, Spec, unknown
from bankwidth.spec.cells import CellLibrarySpec
from bankwidth.spec.compose import Composer
from bankwidth.spec.cpu_library import CpuLibrarySpec
from bankwidth.spec.device import DEVICES, AnyDeviceSpec
from bankwidth.spec.explain import problems_of
from bankwidth.spec.files import ROOT, find, is_path
from bankwidth.spec.fit import FitParameter, fits_of
from bankwidth.spec.hf_config import hf_config_node, is_hf_config, read_hf_config
from bankwidth.spec.machine import MachineSpec
from bankwidth.spec.option_text import parse_options
from bankwidth.spec.problems import Problem, Unreadable, in_order, raise_problems
from bankwidth.spec.provenance import physical_values
from bankwidth.spec.techniques import TechniquesSpec
from bankwidth.spec.tree import Node, plain
from bankwidth.spec.workload import WorkloadSpec

Library = AttentionSpec | CpuLibrarySpec | CellLibrarySpec
AnySpec = MachineSpec | WorkloadSpec | Library | AnyDeviceSpec
MODELS: Final[dict[str, type[AnySpec]]] = {
    "machine": MachineSpec,
    "workload": WorkloadSpec,
    "attention": AttentionSpec,
    "cpu_library": CpuLibrarySpec,
    "cells": CellLibrarySpec,
    **DEVICES,
}
# Those that are no devices.
_OTHERS: Final = (MachineSpec, WorkloadSpec, AttentionSpec, CpuLibrarySpec, CellLibrarySpec)
S = TypeVar("S", bound=Spec)


@dataclass(slots=True)
class _Loaded:
    """What came of a file: a description, or problems."""

    spec: AnySpec | None = None
    root: Node | None = None
    fits: list[FitParameter] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def load_machine(name: str | Path) -> MachineSpec:
    """A machine by its shipped name or by a path. Raises SpecError with all mistakes at once."""
    return _expect(find("machine", name), MachineSpec, ["machine"])


def load_device(name: str | Path) -> AnyDeviceSpec:
    """A device by its shipped name (`gpu/h200-sxm`) or a path. Raises SpecError."""
    loaded = _load(find("device", name), list(DEVICES))
    if loaded.spec is None or isinstance(loaded.spec, _OTHERS):
        raise_problems(loaded.problems)
    return loaded.spec


def load_cells(name: str | Path = "nangate45-16nm") -> CellLibrarySpec:
    """Cells and units of a process (`arch/libraries/cells`), or of a file. Raises SpecError."""
    path = Path(name)
    if isinstance(name, str) and not is_path(name):
        path = ROOT / "arch/libraries/cells" / f"{name}.yaml"
        names = sorted(found.stem for found in path.parent.glob("*.yaml"))
        if name not in names:
            raise SpecError(unknown("cells", name, names))
    return _expect(path, CellLibrarySpec, ["cells"])


def load_workload(name: str | Path) -> WorkloadSpec:
    """A workload by its shipped name, a path of it or of a Hugging Face `config.json`, or that
    file's text itself, pasted: what begins with a brace."""
    if isinstance(name, str) and name.lstrip().startswith("{"):
        return _pasted_workload(name)
    loaded = _load(find("workload", name), ["workload"])
    if loaded.root is None or not isinstance(loaded.spec, WorkloadSpec):
        raise_problems(loaded.problems)
    return loaded.spec.placed(_config_places(loaded.root))


def _config_places(root: Node) -> dict[str, str]:
    """Where the configuration's fields stand; outer ones count before those within them."""
    config = root.children["config"]
    inner = {k: v for each in config.children.values() for k, v in each.children.items()}
    fields = {**inner, **config.children}
    return {"": str(config.at), **{name: str(node.at) for name, node in fields.items()}}


def _pasted_workload(text: str) -> WorkloadSpec:
    try:
        root = hf_config_node(text, "pasted configuration", "pasted")
    except Unreadable as error:
        raise_problems([error.problem])
    spec, problems = _validated(root, WorkloadSpec)
    if not isinstance(spec, WorkloadSpec):
        raise_problems(problems)
    return spec.placed(_config_places(root))


def with_techniques(workload: WorkloadSpec, texts: Sequence[str]) -> WorkloadSpec:
    """A workload with techniques turned on, or their options replaced, by `NAME:key=value,...`.

    Raises SpecError with every mistake and its column.
    """
    chosen = parse_options("--with", texts, TechniquesSpec, workload.techniques)
    return workload.model_copy(update={"techniques": chosen})


def check_file(path: str | Path) -> list[Problem]:
    """All that is wrong with a file of any kind; nothing when it is right."""
    return _load(Path(path), list(MODELS)).problems


def sources_of(path: str | Path) -> dict[str, str | None]:
    """Source of each physical value (number, or quantity with unit) of a file, by its key path.

    Included files count; a value without source is there with None. Raises SpecError when the
    file cannot be read.
    """
    loaded = _load(Path(path), list(MODELS))
    if loaded.root is None:
        raise_problems(loaded.problems)
    return {key: node.source for key, node in physical_values(loaded.root)}


def fit_parameters(path: str | Path) -> list[FitParameter]:
    """The values of a file, and of the files it is made of, that are marked with `fit:`.

    In the order of the file. Raises SpecError when anything in the file is wrong.
    """
    loaded = _load(Path(path), list(MODELS))
    if loaded.problems:
        raise_problems(loaded.problems)
    return loaded.fits


def fittable(path: str | Path) -> list[str]:
    """Key paths of the numbers and quantities of a machine's engines that `fit:` could mark.

    Energies, which no time depends on, and entries of lists are left out.
    """
    loaded = _load(Path(path), ["machine"])
    engines = loaded.root.children.get("engines") if loaded.root else None
    found = [key.split(".") for key, _ in physical_values(engines)] if engines else []
    return [".".join(["engines", *keys]) for keys in found
            if "energy" not in keys and not any(map(str.isdigit, keys))]  # fmt: skip


def _expect(path: Path, model: type[S], kinds: list[str]) -> S:
    loaded = _load(path, kinds)
    if not isinstance(loaded.spec, model):
        raise_problems(loaded.problems)
    return loaded.spec


def _load(path: Path, kinds: list[str]) -> _Loaded:
    """Description of a file whose kind is one of `kinds`."""
    try:
        return _read(path, kinds)
    except Unreadable as error:
        return _Loaded(problems=[error.problem])


def _read(path: Path, kinds: list[str]) -> _Loaded:
    if is_hf_config(path):
        root, problems = read_hf_config(path), []
    else:
        composer = Composer()
        root, problems = composer.read(path), composer.problems
    loaded = _Loaded(root=root)
    kind = _kind_problem(root, kinds)
    if kind is not None:
        loaded.problems = in_order([*problems, kind], str(path))
        return loaded
    model = MODELS[str(plain(root.children[KIND]))]
    spec, wrong = _validated(root, model)
    loaded.fits, wrong_fits = fits_of(root, model, wrong)
    loaded.problems = in_order([*problems, *wrong, *wrong_fits], str(path))
    loaded.spec = None if loaded.problems else spec
    return loaded


def _kind_problem(root: Node, kinds: list[str]) -> Problem | None:
    found = root.children.get(KIND)
    if found is None:
        return Problem(root.mark, KIND, f"missing, allowed: {', '.join(kinds)}")
    if not isinstance(found.value, str):
        return Problem(found.mark, KIND, f"need a text, allowed: {', '.join(kinds)}")
    if found.value in kinds:
        return None
    if found.value in MODELS:
        here = f"this file describes a {found.value}, need a {' or '.join(kinds)}"
        return Problem(found.mark, KIND, here)
    return Problem(found.mark, KIND, unknown(KIND, found.value, kinds))


def _validated(root: Node, model: type[AnySpec]) -> tuple[AnySpec | None, list[Problem]]:
    try:
        return model.model_validate(plain(root)), []
    except ValidationError as error:
        return None, problems_of(error, root, model)
