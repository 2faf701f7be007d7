"""Prompts on some machines, further tokens on others (Splitwise: Patel et al., ISCA 2024).

A request's prompt runs on the prefill machine that has the fewest tokens of prompts before it. Its
first token is then there; its keys and values go over a link to the decode machine that has the
fewest sequences, which makes the other tokens. Each prefill machine sends one prompt's keys and
values at a time, either when all of them are there (`end`), or each layer's as soon as it is there,
while the layers behind it run (`layers`).

Not modelled: that sending slows the machine down; that one decode machine receives from several.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from bankwidth import __version__
from bankwidth.errors import SpecError
from bankwidth.operators import Workload, model_shape
from bankwidth.provenance import machine_hash
from bankwidth.serving.capacity import UTILISATION, room_for
from bankwidth.serving.iteration import Pricing, Room
from bankwidth.serving.pricing import PricingOptions, SimulatedPricing
from bankwidth.serving.pricing_parts import Served
from bankwidth.serving.requests import Requests
from bankwidth.serving.run import Progress, ProgressTeller, ServingResult, sequences_of
from bankwidth.serving.scheduler import Instance
from bankwidth.serving.sequence import Sequence
from bankwidth.spec import MachineSpec
from bankwidth.spec.serving import ServingSpec
from bankwidth.spec.serving_split import ServingSplitSpec

BITS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """`count` equal machines that do the same; each is one, or several that share the model."""

    machine: str
    pricing: Pricing
    room: Room
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOver:
    """How keys and values get from machine to machine. `layers` are the model's."""

    bandwidth_bytes_per_ns: float  # out of one prefill machine, all its devices together
    latency_ns: float = 0.0
    when: Literal["end", "layers"] = "layers"
    layers: int = 1
    energy_pj_per_bit: float | None = None  # None: unknown, and in no sum

    def __post_init__(self) -> None:
        """Raises SpecError for what is not above zero."""
        if not self.bandwidth_bytes_per_ns > 0:
            raise SpecError(
                f"hand-over: bandwidth must be above 0, got {self.bandwidth_bytes_per_ns} B/ns"
            )
        if self.layers < 1 or self.latency_ns < 0:
            raise SpecError(
                f"hand-over: needs at least 1 layer and a latency of 0 or more, got "
                f"{self.layers} layers, {self.latency_ns} ns"
            )

    def sent_ps(self, size_bytes: int) -> int:
        """Time of the bytes on the link."""
        return math.ceil(size_bytes / self.bandwidth_bytes_per_ns * 1000)

    def last_ps(self, start_ps: int, end_ps: int, size_bytes: int, free_ps: int) -> int:
        """When the last byte leaves, of a prompt that was computed from start to end.

        The link is free from `free_ps` on. With `layers`, the first layer's share is there after
        that share of the time, and the last layer's share is sent at the end.
        """
        sent_ps = self.sent_ps(size_bytes)
        if self.when == "end":
            return max(end_ps, free_ps) + sent_ps
        first_ps = start_ps + (end_ps - start_ps) // self.layers
        return max(max(first_ps, free_ps) + sent_ps, end_ps + -(-sent_ps // self.layers))


@dataclass(slots=True)
class _Machine:
    """An instance with what waits for it: tokens of prompts, or sequences."""

    name: str
    instance: Instance
    pending: int = 0
    link_free_ps: int = 0
    leaving: list[tuple[int, int]] = field(default_factory=list)  # heap: when, how much

    def at(self, now_ps: int) -> int:
        """What is pending at a time."""
        while self.leaving and self.leaving[0][0] <= now_ps:
            self.pending -= heapq.heappop(self.leaving)[1]
        return self.pending

    def take(self, sequence: Sequence, load: int) -> bool:
        """Submit a sequence; whether it can run here."""
        if not self.instance.submit(sequence):
            return False
        self.pending += load
        return True

    def leave(self, end_ps: int, load: int) -> None:
        """So much is done at a time."""
        heapq.heappush(self.leaving, (end_ps, load))


@dataclass(slots=True)
class _Sent:
    """Sums over all hand-overs."""

    number: int = 0
    size_bytes: int = 0
    delay_ps: int = 0  # from first tokens to the arrival of the last bytes
    longest_ps: int = 0

    def note(self, size_bytes: int, delay_ps: int) -> None:
        self.number += 1
        self.size_bytes += size_bytes
        self.delay_ps += delay_ps
        self.longest_ps = max(self.longest_ps, delay_ps)


def serve_split(
    requests: Requests,
    options: ServingSpec,
    *,
    prefill: Pool,
    decode: Pool,
    hand_over: HandOver,
    workload: str = "workload",
    provenance: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> ServingResult:
    """Requests through a pool of machines for prompts and a pool for all other tokens.

    As `serve_priced`, with every machine's figures under its name. Raises SpecError, MappingError
    for what cannot be, and what the pools' pricings raise.
    """
    if min(prefill.count, decode.count) < 1:
        raise SpecError(
            f"a split needs at least one machine for prompts and one for tokens, got "
            f"{prefill.count} and {decode.count}"
        )
    split = _Split(requests, options, prefill, decode, hand_over)
    complete = split.run(ProgressTeller(len(split.sequences), progress))
    return ServingResult(
        machine=f"{prefill.count} x {prefill.machine} + {decode.count} x {decode.machine}",
        workload=workload,
        options=options,
        requests=requests,
        sequences=split.sequences,
        instances={each.name: each.instance for each in split.machines},
        complete=complete,
        provenance={**(provenance or {}), "split": split.describe()},
    )


def serve_on_pools(
    prefill_machine: MachineSpec,
    decode_machine: MachineSpec,
    workload: Workload,
    requests: Requests,
    options: ServingSpec,
    split: ServingSplitSpec,
    *,
    tensor: int = 1,
    utilisation: float = UTILISATION,
    exact_shapes: bool = False,
    progress: Progress | None = None,
    **model_options: Any,
) -> ServingResult:
    """As `serve_split`, with pools of two described machines; `model_options` as of `serve`."""

    def pool(machine: MachineSpec, count: int) -> Pool:
        served = Served(machine=machine, workload=workload, tensor=tensor, options=model_options)
        return Pool(
            machine=machine.name if tensor == 1 else f"{tensor} x {machine.name}",
            pricing=SimulatedPricing(served, PricingOptions(exact_shapes=exact_shapes)),
            room=room_for(served, options, utilisation),
            count=count,
        )

    how = HandOver(
        bandwidth_bytes_per_ns=split.bandwidth_bytes_per_ns,
        latency_ns=split.latency_ns,
        when=split.when,
        layers=len(model_shape(workload.config, workload.name).layers),
        energy_pj_per_bit=split.energy_pj_per_bit,
    )
    hashes = [machine_hash(machine) for machine in (prefill_machine, decode_machine)]
    named = {name: str(value) for name, value in model_options.items() if value is not None}
    return serve_split(
        requests,
        options,
        prefill=pool(prefill_machine, split.prefill),
        decode=pool(decode_machine, split.decode),
        hand_over=how,
        workload=workload.name,
        provenance={
            "bankwidth": __version__,
            "machine_hash": hashes[0],
            "decode_machine_hash": hashes[1],
            "utilisation": utilisation,
            **named,
        },
        progress=progress,
    )


class _Split:
    """Two pools on one clock: whose next iteration starts first runs first."""

    def __init__(
        self,
        requests: Requests,
        options: ServingSpec,
        prefill: Pool,
        decode: Pool,
        hand_over: HandOver,
    ) -> None:
        self.sequences = sequences_of(requests)
        self._hand_over, self._room = hand_over, prefill.room
        self._prefill = [
            _machine(prefill, "prefill", i, options, has_hashes=requests.has_hashes)
            for i in range(prefill.count)
        ]
        self._decode = [_machine(decode, "decode", i, options) for i in range(decode.count)]
        self._next = 0  # of the sequences, by arrival
        self._order = sorted(self.sequences, key=lambda each: (each.arrival_ps, each.index))
        self._sent = _Sent()

    @property
    def machines(self) -> list[_Machine]:
        """Prefill machines, then decode machines."""
        return self._prefill + self._decode

    def run(self, teller: ProgressTeller) -> bool:
        """Serve all; whether nothing interrupted it."""
        try:
            while self._step(teller):
                pass
        except KeyboardInterrupt:
            return False
        finally:
            for each in self.machines:
                each.instance.settle()
        return True

    def _step(self, teller: ProgressTeller) -> bool:
        """An arrival or an iteration, whichever is first; whether there was one.

        What leaves an iteration arrives elsewhere after its start, so that nobody is late.
        """
        machine = self._first()
        start_ps = machine.instance.next_ps if machine else None
        if self._next < len(self._order):
            sequence = self._order[self._next]
            if start_ps is None or sequence.arrival_ps <= start_ps:
                self._next += 1
                teller.add(int(not self._arrive(sequence)))
                return True
        if machine is None or start_ps is None:
            return False
        left = machine.instance.step()
        end_ps = machine.instance.now_ps
        if machine in self._prefill:
            teller.add(sum(self._through(machine, each, start_ps, end_ps) for each in left))
        else:
            for _ in left:
                machine.leave(end_ps, 1)
            teller.add(len(left))
        return True

    def _first(self) -> _Machine | None:
        """The machine whose next iteration starts first; of equal ones, a prefill machine."""
        able = [each for each in self.machines if each.instance.next_ps is not None]
        return min(able, key=_starts_ps, default=None)

    def _arrive(self, sequence: Sequence) -> bool:
        """A request's prompt waits on a machine; False for one that can never be served."""
        sequence.reason = self._decode[0].instance.refusal(sequence)
        if sequence.reason:
            sequence.status = "rejected"
            return False
        now_ps = sequence.arrival_ps
        machine = min(self._prefill, key=lambda each: each.at(now_ps))
        return machine.take(sequence, sequence.prompt)

    def _through(self, machine: _Machine, sequence: Sequence, start_ps: int, end_ps: int) -> bool:
        """A prompt is through; whether its request is done, or can never be."""
        machine.leave(end_ps, sequence.prompt)
        if sequence.is_done:
            return True
        sequence.carry(self._sent_at_ps(machine, sequence, start_ps, end_ps))
        receiver = min(self._decode, key=lambda each: each.at(end_ps))
        return not receiver.take(sequence, 1)

    def _sent_at_ps(self, machine: _Machine, sequence: Sequence, start_ps: int, end_ps: int) -> int:
        """When all keys and values of a prompt have arrived."""
        room, how = self._room, self._hand_over
        size_bytes = room.sequence_bytes + sequence.prompt * room.kv_bytes_per_token
        last_ps = how.last_ps(start_ps, end_ps, size_bytes, machine.link_free_ps)
        machine.link_free_ps = last_ps
        ready_ps = last_ps + round(how.latency_ns * 1000)
        self._sent.note(size_bytes, ready_ps - end_ps)
        return ready_ps

    def describe(self) -> dict[str, Any]:
        """What was handed over, and how."""
        sent, how = self._sent, self._hand_over
        per_bit = how.energy_pj_per_bit
        return {
            "when": how.when,
            "bandwidth_bytes_per_ns": how.bandwidth_bytes_per_ns,
            "latency_ns": how.latency_ns,
            "hand_overs": sent.number,
            "bytes": sent.size_bytes,
            "mean_delay_ns": sent.delay_ps / sent.number / 1000 if sent.number else 0.0,
            "max_delay_ns": sent.longest_ps / 1000,
            "energy_pj": None if per_bit is None else sent.size_bytes * BITS * per_bit,
            "energy_in_sums": False,
        }


def _machine(
    pool: Pool, does: str, index: int, options: ServingSpec, *, has_hashes: bool = False
) -> _Machine:
    instance = Instance(
        options, pool.room, pool.pricing, has_hashes=has_hashes, hand_over=does == "prefill"
    )
    return _Machine(f"{pool.machine} {does} {index}", instance)


def _starts_ps(machine: _Machine) -> int:
    next_ps = machine.instance.next_ps
    assert next_ps is not None
    return next_ps
