"""The engine's functions against their own Python source, and by hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bankwidth.devices.dram import DramConfig
from bankwidth.devices.dram import kernel as k
from bankwidth.devices.dram.pack import binding_rows, pack
from bankwidth.devices.dram.policies import Controls, Mapper
from bankwidth.errors import SpecError

Load = Callable[[str], DramConfig]
IS_COMPILED = os.environ.get("NUMBA_DISABLE_JIT", "0") == "0"

SMALL_RUN = """
import json, sys
from bankwidth.devices.dram import DramChannel, Stream, config_of
from bankwidth.spec import load_device
results = []
for path in sys.argv[1:]:
    channel = DramChannel(config_of(load_device(path)))
    channel.add(Stream(0, (150, 2, 1), (1, 4096, 0)))
    channel.add(Stream(1 << 16, (60, 1, 1), is_write=True, interval_ck=7.5))
    while len(results) % 2 == 0 or channel.now_ck < 40000:
        if channel.advance(40000):
            results.append(channel.now_ck)
        elif channel.now_ck == 40000:
            break
    results.append([channel.counts, channel.busy_ck, channel.row_hits])
print(json.dumps(results))
"""


def small_run(paths: list[str], **environment: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SMALL_RUN, *paths],
        env={**os.environ, **environment}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


@pytest.mark.skipif(not IS_COMPILED, reason="there is no compiled form")
def test_compiled_engine_equals_its_source(request: pytest.FixtureRequest) -> None:
    folder = request.config.rootpath / "validation" / "dram" / "devices"
    paths = [str(folder / f"{name}.yaml") for name in ("DDR4_2R", "LPDDR5", "HBM2", "HBM3")]
    assert small_run(paths) == small_run(paths, NUMBA_DISABLE_JIT="1")


def state(config: DramConfig, mapper: Mapper = Mapper.RO_BA_RA_CO_CH) -> Any:
    return pack(config, Controls(mapper=mapper))


@pytest.mark.skipif(not IS_COMPILED, reason="there is no compiled form")
@pytest.mark.parametrize(
    "name", ["decode", "write_mode", "next_tick", "first_ready", "push_history"]
)
def test_function_equals_its_source(name: str, golden_config: Load) -> None:
    arguments = {
        "decode": (0x1234560,), "write_mode": (), "next_tick": (5,), "first_ready": (0, 1),
        "push_history": (int(k.HISTORY_AT), 4, 77),
    }[name]  # fmt: skip
    compiled, plain = state(golden_config("HBM3")), state(golden_config("HBM3"))
    function = getattr(k, name)
    assert function(compiled, *arguments) == function.py_func(plain, *arguments)
    np.testing.assert_array_equal(compiled, plain)


@pytest.mark.parametrize(
    ("mapper", "fields"),
    [  # burst 0b1_0110_1101: column 7 bits, bank group and bank 2 bits each, row above
        (Mapper.RO_BA_RA_CO_CH, (0b1000, 0b1101101, 0)),
        (Mapper.CH_RA_BA_RO_CO, (0, 0b1101101, 0b10)),
        # column 101_01, its high bits at 6; bank group 11 ^ 01, bank 10 ^ 01, row 0 ^ column >> 4
        (Mapper.MOP4_CLXOR, (0b1011, 0b10101, 1)),
    ],
)
def test_address_fields_by_hand(
    mapper: Mapper, fields: tuple[int, int, int], golden_config: Load
) -> None:
    m = state(golden_config("DDR4"), mapper)
    k.decode(m, 0b1_0110_1101 << 6)
    assert (m[k.DECODED_BANK], m[k.DECODED_COLUMN], m[k.DECODED_ROW]) == fields


@pytest.mark.parametrize(
    ("mode", "reads", "writes", "expected"),
    [(0, 1, 25, 0), (0, 1, 26, 1), (0, 0, 0, 1), (1, 1, 7, 1), (1, 1, 6, 0), (1, 0, 6, 1)],
)
def test_write_mode_by_hand(
    mode: int, reads: int, writes: int, expected: int, golden_config: Load
) -> None:
    m = state(golden_config("DDR4"))
    m[k.WRITE_MODE] = mode
    m[k.QUEUE_LEN_AT], m[k.QUEUE_LEN_AT + 1] = reads, writes
    assert k.write_mode(m) == expected


def test_rules_that_a_wider_one_implies_are_left_out(golden_config: Load) -> None:
    config = golden_config("DDR4")  # nCCDS equals nBL: the rank's row says nothing new
    binding = [row for row in binding_rows(config, Controls()) if not row.sibling]
    rows = [(row.level.value, row.before.name, row.after.name) for row in binding]
    assert ("Channel", "RD", "RD") in rows
    assert ("Rank", "RD", "RD") not in rows
    assert ("BankGroup", "RD", "RD") in rows
    assert not [row for row in rows if "RDA" in row]


def test_importing_the_device_does_not_import_numba() -> None:
    code = "import sys, bankwidth.devices.dram; assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_more_groups_than_the_engine_holds(golden_config: Load) -> None:
    config = replace(golden_config("DDR4"), level_counts=(1, 1, 128, 1))
    with pytest.raises(SpecError, match="DDR4: 128 bank groups in a channel, at most 64"):
        pack(config, Controls())
