"""The same machine with the same memory, whose banks do not compute: the baseline of a design."""

from __future__ import annotations

from bankwidth.errors import MappingError
from bankwidth.spec.machine import MachineSpec
from bankwidth.spec.mapping import DEFAULT, PimMappingSpec
from bankwidth.spec.pim import PimSpec

SUFFIX = "-without-pim"


def without_pim(machine: MachineSpec) -> MachineSpec:
    """The machine without its PIM engines; its default engine runs what they ran.

    Raises MappingError for a machine that has none, or nothing else.
    """
    banks = {name for name, spec in machine.engines.items() if isinstance(spec, PimSpec)}
    default = machine.mapping.run[DEFAULT]
    if not banks:
        raise MappingError(f"{machine.name} has no PIM engine to leave out")
    if default in banks:
        raise MappingError(f"{machine.name}: without PIM no engine is left to run {DEFAULT!r}")
    run = {kind: engine for kind, engine in machine.mapping.run.items() if engine not in banks}
    update = {
        "name": machine.name + SUFFIX,
        "title": f"{machine.title}, its memory plain",
        "engines": {name: spec for name, spec in machine.engines.items() if name not in banks},
        "mapping": machine.mapping.model_copy(update={"run": run, "pim": PimMappingSpec()}),
    }
    return machine.model_copy(update=update)
