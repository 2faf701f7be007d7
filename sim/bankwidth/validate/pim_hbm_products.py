"""Products through HBM-PIM's commands, in fp16: alone, and those of a plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.pim.numbers import FORMATS, Floats, accumulated_error
from bankwidth.devices.pim.program import PimProgram
from bankwidth.mapping.build import make_plan
from bankwidth.mapping.hbm_pim_data import load_matmul, matmul_operands, parts, tiles
from bankwidth.mapping.lower_hbm_pim import lower_matmul
from bankwidth.operators import Matmul, Trace
from bankwidth.spec import MachineSpec
from bankwidth.validate.pim_block import Parameters, PlainProducts
from bankwidth.validate.pim_bounds import Doubles, running_bound
from bankwidth.validate.pim_checks import Banks, Check

LANES: Final = 16  # of a unit


def check_hbm_product(machine: MachineSpec, *, m: int, n: int, k: int, seed: int = 0) -> Check:
    """y[m, n] = x[m, k] W[k, n] of random fp16 numbers, on a machine with HBM-PIM's commands."""
    banks = Banks(machine)
    x, weights = (banks.numbers(seed, *shape) for shape in ((m, k), (k, n)))
    load_matmul(banks.memory, banks.geometry, weights)
    program = lower_matmul(banks.geometry, m=m, n=n, k=k)
    operands = matmul_operands(banks.geometry, x, n)
    ours = banks.memory.run(program, operands, m * n).reshape(m, n)
    bound = np.stack([_bound(banks, row, weights) for row in x])
    return Check(ours, x.astype(float) @ weights, bound)


def _bound(banks: Banks, x: Floats, weights: Floats) -> Doubles:
    """Of x W: every lane of every channel's part sums by itself, then the host all of them."""
    lanes, n = banks.geometry.lanes, weights.shape[1]
    bound, summed, reads = np.zeros(n), np.zeros(n), 0
    of_channels = parts(banks.geometry, n, len(weights))
    most = max(part.inputs.stop for part in of_channels)
    terms = np.zeros((most, n))
    terms[: len(weights)] = x.astype(float)[:, None] * weights
    for part in of_channels:
        own = terms[_order(banks, part.inputs), part.outputs]
        of_lane = own.reshape(-1, lanes, own.shape[1])
        bound[part.outputs] += running_bound(of_lane, banks.arithmetic).sum(axis=0)
        summed[part.outputs] += np.abs(of_lane.sum(axis=0)).sum(axis=0)
        reads += lanes
    host = accumulated_error(reads, FORMATS["fp32"].unit_roundoff)
    return np.asarray(bound + host * (summed + bound))


def _order(banks: Banks, inputs: slice) -> NDArray[np.int64]:
    """Inputs of a part in the order in which they are multiplied: even tiles, then odd ones."""
    per_tile = np.arange(banks.geometry.lanes * banks.geometry.buffer_columns)
    of_part = tiles(banks.geometry.config, 1, inputs.stop - inputs.start)
    return np.concatenate([inputs.start + tile.first_input + per_tile for tile in of_part])


class HbmBankProducts:
    """The computing banks of a machine with HBM-PIM's commands, with the programs of a plan.

    Attention and what the plan leaves to the host are computed as `PlainProducts` does; biases are
    added by the host.
    """

    def __init__(self, machine: MachineSpec, trace: Trace, parameters: Parameters) -> None:
        self._parameters, self._host = parameters, PlainProducts(parameters)
        self._plan = make_plan(machine, trace)
        self._banks = Banks(machine)
        self._loaded: set[str] = set()
        self.append, self.attention = self._host.append, self._host.attention
        self.is_fused = self._host.is_fused

    def matmul(self, op: Matmul, index: int, x: Floats) -> Floats:
        tasks = [task for task in self._plan.tasks if task.operator == index]
        programs = [t.program for t in tasks if isinstance(t.program, PimProgram)]
        if not programs:
            return self._host.matmul(op, index, x)
        (program,) = programs
        memory, geometry = self._banks.memory, self._banks.geometry
        name = f"{op.layer}/{op.name}"
        if name not in self._loaded:
            load_matmul(memory, geometry, self._parameters.weights(op), program.first_row)
            self._loaded.add(name)
        operands = matmul_operands(geometry, x, op.n)
        product = memory.run(program, operands, op.m * op.n).reshape(op.m, op.n)
        return product + self._parameters.bias(op)


class LaneProducts:
    """Numpy, with a rounding wherever HBM-PIM has one: of x, of each product and sum of a lane.

    Attention is the host's, without any.
    """

    def __init__(self, parameters: Parameters, rounded: Callable[[Floats], Floats]) -> None:
        self._parameters, self._rounded = parameters, rounded
        host = PlainProducts(parameters)
        self.append, self.attention, self.is_fused = host.append, host.attention, host.is_fused

    def matmul(self, op: Matmul, index: int, x: Floats) -> Floats:
        padded = -(-op.k // LANES) * LANES
        terms = np.zeros((op.m, padded, op.n), dtype=np.float32)
        terms[:, : op.k] = self._rounded(x)[:, :, None] * self._parameters.weights(op)
        steps = terms.reshape(op.m, -1, LANES, op.n)
        sums = np.zeros((op.m, LANES, op.n), dtype=np.float32)
        for step in range(steps.shape[1]):
            sums = self._rounded(sums + self._rounded(steps[:, step]))
        return np.asarray(sums.sum(axis=1) + self._parameters.bias(op), dtype=np.float32)
