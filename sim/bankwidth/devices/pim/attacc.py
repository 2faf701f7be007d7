"""Attention of many heads on one stack of AttAcc: 16 channels, each with one head at a time.

Programs are those of attacc_program.py. Channels work alike and apart from each other; the first
has never less to do than another, so its end is the stack's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

from bankwidth.devices.pim.attacc_program import (
    CHANNELS,
    AttentionWork,
    channel_programs,
    first_program,
)
from bankwidth.devices.pim.channel import PimChannel
from bankwidth.devices.pim.config import PimConfig, config_of
from bankwidth.devices.pim.program import ChannelProgram
from bankwidth.errors import SpecError
from bankwidth.spec import PimSpec, load_device

__all__ = [
    "CHANNELS", "DEVICES", "AttentionRun", "AttentionWork", "attacc_config", "attention_ck",
    "attention_run", "earlier_controller", "work_ck",
]  # fmt: skip

# (where the units are, whether power is limited) -> device. A limit never binds a single bank.
DEVICES: Final[Mapping[tuple[str, bool], str]] = {
    ("bank", True): "pim/hbm3-attacc-bank",
    ("bank", False): "pim/hbm3-attacc-bank-unlimited",
    ("bg", True): "pim/hbm3-attacc-bg",
    ("bg", False): "pim/hbm3-attacc-bg-unlimited",
    ("buffer", True): "pim/hbm3-attacc-buffer",
    ("buffer", False): "pim/hbm3-attacc-buffer",
}
_FOREVER_CK: Final = 1 << 60
START_CK: Final = 1  # the reference counts its ticks from 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionRun:
    """What an attention takes on a stack; commands and energy over its 16 channels."""

    ck: int
    counts: Mapping[str, int]
    energy_pj: float


def attention_ck(
    level: str, *, limited: bool, heads: int, head_dim: int, kv_len: int, element_bytes: int = 2
) -> int:
    """Ticks of one token's attention to `kv_len` tokens in `heads` heads of one stack.

    `level` is bank, bg or buffer: where the units are. Raises SpecError for a work that has no
    sense or does not fit.
    """
    work = AttentionWork(heads=heads, head_dim=head_dim, kv_len=kv_len, element_bytes=element_bytes)
    return work_ck(attacc_config(level, limited=limited), level, work)


def attention_run(
    level: str, *, limited: bool, heads: int, head_dim: int, kv_len: int, element_bytes: int = 2
) -> AttentionRun:
    """As `attention_ck`, with commands and energy: every channel that differs is simulated."""
    config = attacc_config(level, limited=limited)
    work = AttentionWork(heads=heads, head_dim=head_dim, kv_len=kv_len, element_bytes=element_bytes)
    ticks, counts = 0, dict.fromkeys(config.names, 0)
    for program in channel_programs(config, level, work):
        ck, of_channel = _run(config, program)
        ticks = max(ticks, ck)
        for name, count in of_channel.items():
            counts[name] += count * program.channels
    energy = sum(counts[name] * pj for name, pj in zip(config.names, config.energy_pj, strict=True))
    return AttentionRun(ck=ticks, counts=counts, energy_pj=energy)


@cache
def attacc_config(level: str, *, limited: bool) -> PimConfig:
    """Tables of a device. Raises SpecError for an unknown level."""
    if (level, limited) not in DEVICES:
        raise SpecError(f"unknown level {level!r}: bank, bg, buffer")
    name = DEVICES[level, limited]
    spec = load_device(name)
    if not isinstance(spec, PimSpec):
        raise SpecError(f"{name} describes no computing banks")
    return config_of(spec)


def work_ck(config: PimConfig, level: str, work: AttentionWork) -> int:
    """Ticks until the last command of a stack. Raises SpecError for a work that does not fit."""
    return _run(config, first_program(config, level, work))[0]


def earlier_controller(config: PimConfig, *, opens_ahead: bool) -> PimConfig:
    """The controller of earlier versions of the reference, as figures published with it tell.

    It sends one command a tick. The first one also opened no rows before a barrier was reached, and
    saw one command more.
    """
    changes: dict[str, object] = {"row_and_column": False}
    if not opens_ahead:
        changes |= {"rows_ahead": False, "queue": config.controller.queue + 1}
    return replace(config, controller=config.controller.model_copy(update=changes))


def _run(config: PimConfig, program: ChannelProgram) -> tuple[int, dict[str, int]]:
    channel = PimChannel(config)
    channel.start(program, at_ck=START_CK)
    channel.advance(_FOREVER_CK)
    return channel.now_ck - START_CK, channel.counts
