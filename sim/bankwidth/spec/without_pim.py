"""The same machine with the same memory, whose banks do not compute: the baseline of a design."""

from __future__ import annotations

import math

from bankwidth.errors import MappingError
from bankwidth.spec.dram import DramSpec
from bankwidth.spec.links import LinkSpec
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
    plain = {spec.memory for spec in machine.engines.values() if isinstance(spec, PimSpec)}
    run = {kind: engine for kind, engine in machine.mapping.run.items() if engine not in banks}
    update = {
        "name": machine.name + SUFFIX,
        "title": f"{machine.title}, its memory plain",
        "links": [_plain_link(link, machine, plain) for link in machine.links],
        "engines": {name: spec for name, spec in machine.engines.items() if name not in banks},
        "mapping": machine.mapping.model_copy(update={"run": run, "pim": PimMappingSpec()}),
    }
    return machine.model_copy(update=update)


def _plain_link(link: LinkSpec, machine: MachineSpec, plain: set[str | None]) -> LinkSpec:
    """Computing banks leave their pins' energy to the link; a plain DRAM counts it itself."""
    for memory in plain.intersection(link.ends):
        spec = machine.memories[str(memory)]
        pins_pj_per_bit = spec.energy.io_pj_per_bit if isinstance(spec, DramSpec) else math.nan
        if math.isclose(link.energy_pj_per_bit, pins_pj_per_bit):
            return link.model_copy(update={"energy_pj_per_bit": 0.0})
    return link
