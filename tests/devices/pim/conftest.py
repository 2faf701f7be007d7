"""The shipped AiM channel, and how to run macros on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from bankwidth.devices.pim.channel import PimChannel
from bankwidth.devices.pim.config import PimConfig, config_of
from bankwidth.devices.pim.program import ChannelProgram, MacroList
from bankwidth.spec import PimSpec, load_device

Macro = tuple[str, int, int, int]  # name, count, row, bank


@pytest.fixture(scope="session")
def spec() -> PimSpec:
    spec = load_device("pim/gddr6-aim")
    assert isinstance(spec, PimSpec)
    return spec


@pytest.fixture(scope="session")
def config(spec: PimSpec) -> PimConfig:
    return config_of(spec)


@pytest.fixture(scope="session")
def program(config: PimConfig) -> Callable[..., ChannelProgram]:
    def build(*macros: Macro, repeat: int = 1) -> ChannelProgram:
        listed = MacroList(config)
        for name, count, row, bank in macros:
            listed.add(name, count, row, bank)
        return ChannelProgram(macros=listed.build(), channels=1, repeat=repeat)

    return build


@pytest.fixture
def ticks_of(config: PimConfig, program: Callable[..., ChannelProgram]) -> Callable[..., list[int]]:
    """Ticks at which the commands of a kind issue, refresh off unless asked for."""

    def run(command: str, macros: Sequence[Macro], *, refresh: bool = False) -> list[int]:
        channel = PimChannel(config, refresh=refresh, log=True)
        channel.run(program(*macros))
        return [entry.tick for entry in channel.log if entry.command == command]

    return run
