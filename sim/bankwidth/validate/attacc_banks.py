"""AttAcc's stacks behind one GPU: attention as their programs, command by command.

The reference's table of the system was made with its cache of cycles, and that with earlier
versions of its controller and generator (see pim_attacc.py). So its rows are compared with banks
that work like these; everything else is run as published.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

from bankwidth.devices.pim.attacc import (
    CHANNELS,
    AttentionWork,
    attacc_config,
    attention_run,
    earlier_controller,
    work_ck,
)
from bankwidth.errors import SpecError
from bankwidth.operators import DTYPE_BITS, Attention
from bankwidth.spec import LinkSpec, load_machine
from bankwidth.units import ps_to_ns

MACHINE: Final = "attacc"
MEMORY, LINK = "stacks", "nvlink"  # of that machine
# Heads and tokens of an attention that keeps all channels busy for long: four in each channel.
STEADY_HEADS, STEADY_TOKENS, STEADY_DIM = 4 * CHANNELS, 4096, 128


@dataclass(frozen=True, slots=True, kw_only=True)
class BanksRun:
    """What an attention takes; energy of all stacks."""

    time_ns: float
    energy_pj: float


class Banks:
    """The stacks behind one GPU of arch/attacc.yaml, with units at a level."""

    def __init__(self, level: str, *, is_limited: bool, is_earlier: bool = False) -> None:
        machine = load_machine(MACHINE)
        channels = machine.memories[MEMORY].channels
        if channels % CHANNELS:
            raise SpecError(f"{MACHINE}: {channels} channels are no whole stacks of {CHANNELS}")
        self._stacks = channels // CHANNELS
        self._level, self._is_limited, self._is_earlier = level, is_limited, is_earlier
        self.link: LinkSpec = next(link for link in machine.links if link.name == LINK)

    def attention(self, op: Attention) -> BanksRun:
        """Heads of all sequences dealt out to the stacks; the fullest one's end is that of all."""
        heads = -(-op.batch * op.n_heads // self._stacks)
        return self._run(heads, op.head_dim, op.kv_len, DTYPE_BITS[op.kv_dtype] // 8)

    def bytes_per_ns(self, dtype: str) -> float:
        """Of keys and values that the units of all stacks read in a long attention."""
        element_bytes = DTYPE_BITS[dtype] // 8
        run = self._run(STEADY_HEADS, STEADY_DIM, STEADY_TOKENS, element_bytes)
        read_bytes = 2 * STEADY_HEADS * STEADY_TOKENS * STEADY_DIM * element_bytes
        return self._stacks * read_bytes / run.time_ns

    def _run(self, heads: int, head_dim: int, kv_len: int, element_bytes: int) -> BanksRun:
        run = attention_run(
            self._level,
            limited=self._is_limited,
            heads=heads,
            head_dim=head_dim,
            kv_len=kv_len,
            element_bytes=element_bytes,
        )
        config, ticks = attacc_config(self._level, limited=self._is_limited), run.ck
        if self._is_earlier:
            work = AttentionWork(
                heads=heads,
                head_dim=head_dim,
                kv_len=kv_len,
                element_bytes=element_bytes,
                repeats_softmax=True,
            )
            opens_ahead = self._level != "bank" or heads <= CHANNELS
            earlier = earlier_controller(config, opens_ahead=opens_ahead)
            ticks = work_ck(earlier, self._level, work)
        time_ns = ps_to_ns(ticks * config.tick_ps)
        return BanksRun(time_ns=time_ns, energy_pj=self._stacks * run.energy_pj)


@cache
def banks_of(level: str, *, is_limited: bool, is_earlier: bool = False) -> Banks:
    """The stacks with units at a level: bank, bg (bank group) or buffer."""
    return Banks(level, is_limited=is_limited, is_earlier=is_earlier)
