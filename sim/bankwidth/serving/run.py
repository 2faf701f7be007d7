"""A run: requests go through a machine, and what became of them."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from bankwidth import __version__
from bankwidth.errors import SpecError
from bankwidth.operators.make import Workload
from bankwidth.provenance import machine_hash
from bankwidth.results import Table
from bankwidth.serving.capacity import UTILISATION, room_for
from bankwidth.serving.iteration import Pricing, Room
from bankwidth.serving.metrics import requests_table, summary_of
from bankwidth.serving.pricing import PricingOptions, SimulatedPricing
from bankwidth.serving.pricing_parts import Served
from bankwidth.serving.requests import Requests
from bankwidth.serving.scheduler import Instance
from bankwidth.serving.sequence import Sequence
from bankwidth.spec import MachineSpec
from bankwidth.spec.serving import ServingSpec

Progress = Callable[[int, int], None]  # requests done, and of all
_UPDATES: Final = 200  # of a progress bar


@dataclass(frozen=True, kw_only=True, repr=False)
class ServingResult:
    """What a run gives. `complete` is false where it was interrupted: then some are unfinished."""

    machine: str
    workload: str
    options: ServingSpec
    requests: Requests
    sequences: list[Sequence]
    instances: Mapping[str, Instance]
    complete: bool = True
    provenance: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        done = sum(each.status == "finished" for each in self.sequences)
        return f"ServingResult({self.machine}, {self.workload}: {done} requests finished)"

    def tables(self) -> dict[str, Table]:
        """By name: requests, and iterations (with the machine, where there are several)."""
        return {"requests": requests_table(self.sequences), "iterations": self._iterations()}

    def to_json(self) -> dict[str, Any]:
        """The summary as plain data, ready for `json.dumps(..., allow_nan=False)`."""
        options = self.options.model_dump(mode="json", exclude={"source"})
        return {
            "machine": self.machine,
            "workload": self.workload,
            "complete": self.complete,
            "offered": self.requests.describe(),
            **summary_of(requests_table(self.sequences), self.instances, self.options),
            "options": options,
            "provenance": dict(self.provenance),
        }

    def _iterations(self) -> Table:
        tables = {name: each.journal.table() for name, each in self.instances.items()}
        if len(tables) == 1:
            return next(iter(tables.values()))
        names = [name for name, table in tables.items() for _ in range(len(table))]
        columns = {
            column: np.concatenate([table[column] for table in tables.values()])
            for column in next(iter(tables.values()))
        }
        return Table({"machine": names, **columns})


def sequences_of(requests: Requests) -> list[Sequence]:
    """Requests as what a machine serves. Raises SpecError where they have no arrivals."""
    if requests.arrival_ps is None:
        raise SpecError(f"{requests.source}: the requests have no arrivals: give --rate")
    columns = (requests.arrival_ps, requests.prompt_tokens, requests.output_tokens)
    rows = zip(*(column.tolist() for column in columns), requests.hashes, strict=True)
    return [Sequence(index, *row) for index, row in enumerate(rows)]


def serve(
    machine: MachineSpec,
    workload: Workload,
    requests: Requests,
    options: ServingSpec | None = None,
    *,
    tensor: int = 1,
    utilisation: float = UTILISATION,
    exact_shapes: bool = False,
    concurrency: int | None = None,
    progress: Progress | None = None,
    **model_options: Any,
) -> ServingResult:
    """Requests with arrivals through a machine, every iteration priced by the simulator.

    `tensor` equal machines share each product where the machine has no `parallel:` of its own.
    `utilisation` is the share of the memory that is used at all. With a `concurrency`, so many
    users send the next request when their last is answered. `model_options` are those of
    `make_pass_trace`: dtypes, techniques. Raises SpecError, MappingError for what cannot be.
    """
    options = options or ServingSpec()
    served = Served(machine=machine, workload=workload, tensor=tensor, options=model_options)
    pricing = SimulatedPricing(served, PricingOptions(exact_shapes=exact_shapes))
    named = {name: str(value) for name, value in model_options.items() if value is not None}
    return serve_priced(
        requests,
        options,
        pricing=pricing,
        room=room_for(served, options, utilisation),
        machine=machine.name if tensor == 1 else f"{tensor} x {machine.name}",
        workload=workload.name,
        provenance={
            "bankwidth": __version__,
            "machine_hash": machine_hash(machine),
            "devices": served.devices,
            "utilisation": utilisation,
            **named,
        },
        concurrency=concurrency,
        progress=progress,
    )


def serve_priced(
    requests: Requests,
    options: ServingSpec,
    *,
    pricing: Pricing,
    room: Room,
    machine: str = "machine",
    workload: str = "workload",
    provenance: Mapping[str, Any] | None = None,
    concurrency: int | None = None,
    progress: Progress | None = None,
) -> ServingResult:
    """Requests through one machine of which prices and room are known.

    An interruption (Ctrl-C) ends it early: what is finished then is in the result, which is not
    `complete`. Raises SpecError, MappingError for what cannot be, and what `pricing` raises.
    """
    if concurrency is not None:
        requests = requests.in_turn(concurrency)
    instance = Instance(options, room, pricing, has_hashes=requests.has_hashes)
    sequences = sequences_of(requests)
    complete = run_instance(instance, sequences, progress, concurrency)
    return ServingResult(
        machine=machine,
        workload=workload,
        options=options,
        requests=requests,
        sequences=sequences,
        instances={machine: instance},
        complete=complete,
        provenance=dict(provenance or {}),
    )


def run_instance(
    instance: Instance,
    sequences: list[Sequence],
    progress: Progress | None = None,
    concurrency: int | None = None,
) -> bool:
    """Serve all sequences; whether nothing interrupted it.

    With a `concurrency`, so many users send a request each, and the next when that is answered;
    arrivals do not count.
    """
    teller, left = ProgressTeller(len(sequences), progress), deque(sequences)
    try:
        teller.add(_send(instance, left, concurrency))
        while instance.next_ps is not None:
            done = len(instance.step())
            refused = _send(instance, left, done) if done and left else 0
            teller.add(done + refused)
    except KeyboardInterrupt:
        return False
    finally:
        instance.settle()
    return True


def _send(instance: Instance, left: deque[Sequence], number: int | None) -> int:
    """Submit so many of those that are left, now; or all, at their arrivals. How many were refused.

    One that is refused is answered at once, so that the next follows it.
    """
    refused = 0
    while left and (number is None or number > 0):
        sequence = left.popleft()
        if number is not None:
            sequence.arrive(instance.now_ps)
        if not instance.submit(sequence):
            refused += 1
        elif number is not None:
            number -= 1
    return refused


class ProgressTeller:
    """Counts requests that are done, and tells now and then."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._total, self._progress = total, progress
        self._done = 0
        step = max(1, total // _UPDATES)
        self._marks = itertools.count(step, step)
        self._next = next(self._marks)

    def add(self, number: int) -> None:
        """So many more are done."""
        self._done += number
        if self._progress is not None and number and self._done >= self._next:
            self._progress(self._done, self._total)
            while self._next <= self._done:
                self._next = next(self._marks)
