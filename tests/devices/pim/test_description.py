"""The description of a command set: what it accepts, what it refuses, what it compiles to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from bankwidth.devices.pim.config import config_of
from bankwidth.devices.pim.program import ChannelProgram, MacroList, program_of
from bankwidth.errors import SpecError
from bankwidth.spec import PimSpec, find, load_device, sources_of
from bankwidth.spec.pim import Duration, parse_duration

SHIPPED = find("device", "pim/gddr6-aim")


def _loaded(tmp_path: Path, change: dict[str, Any] | None = None) -> PimSpec:
    data = yaml.safe_load(Path(SHIPPED).read_text())
    for path, value in (change or {}).items():
        *keys, last = path.split("/")
        place: Any = data
        for key in keys:
            place = place[int(key) if isinstance(place, list) else key]
        place[int(last) if isinstance(place, list) else last] = value
    file = tmp_path / "device.yaml"
    file.write_text(yaml.safe_dump(data, sort_keys=False))
    spec = load_device(str(file))
    assert isinstance(spec, PimSpec)
    return spec


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("gaps/0/before/0", "MAC_AKB", "gaps.0.before.0: unknown command 'MAC_AKB', allowed: ACT"),
        ("gaps/3/gap", "12", "unit missing"),
        ("gaps/3/gap", "-1 ns", "at least 0"),
        ("gaps/3/gap", "1.5 ck", "whole"),
        ("gaps/3/scope", "rank", "scope"),
        ("commands/PRE/role", "activate", "role precharge, banks one, found 0"),
        (
            "commands/TMOD/role",
            "register",
            "register access needs a command that enters it, found 0 of role mode",
        ),
        ("commands/MAC_ABK/banks", "none", "a column command touches banks"),
        ("row", "2000 B", "2000 bytes is no multiple of the burst, 32 bytes"),
        ("lanes", 8, "8 BF16 lanes take 16 bytes, a burst has 32"),
        ("refresh_interval", "400 ck", "need a time"),
    ],
)
def test_wrong_descriptions(tmp_path: Path, path: str, value: object, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        _loaded(tmp_path, {path: value})


def test_all_mistakes_come_at_once(tmp_path: Path) -> None:
    change = {"gaps/0/before/0": "NO_SUCH", "lanes": 8, "gaps/5/gap": "3 parsec"}
    with pytest.raises(SpecError) as caught:
        _loaded(tmp_path, change)
    assert all(part in str(caught.value) for part in ("NO_SUCH", "lanes", "parsec"))


def test_contradictory_timing(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="refresh_interval: 800 ck, but refreshing"):
        _loaded(tmp_path, {"refresh_interval": "400 ns"})
    row = {"before": ["WR_SBK"], "after": ["RD_SBK"], "gap": "18 ck"}
    with pytest.raises(SpecError, match=r"WR_SBK -> RD_SBK is 18 ck here, but 17 ck in gaps\.7"):
        _loaded(tmp_path, {"gaps/9": row})
    _loaded(tmp_path, {"gaps/9": row | {"scope": "bank", "gap": "19 ck"}})


def test_gaps_in_ns_round_up_to_ticks(tmp_path: Path) -> None:
    spec = _loaded(tmp_path, {"gaps/13/gap": "28.2 ns"})
    config = config_of(spec)
    assert spec.gaps[13].after == ["MAC_ABK"]
    assert config.gaps[0, config.index("ACT_ALL"), config.index("MAC_ABK")] == 57


def test_the_largest_row_of_a_pair_counts(tmp_path: Path) -> None:
    spec = _loaded(tmp_path)
    config = config_of(spec)
    # TMOD -> anything, and the handshake of RD_MAC -> anything.
    assert (config.gaps[0, config.index("TMOD")] == 32).all()
    after_result = config.gaps[0, config.index("RD_MAC")]
    assert after_result[config.index("RD_MAC")] == 3  # not the 2 of the column rows
    assert after_result[config.index("WR_GB")] == 5  # not the 3 of the handshake


def test_durations() -> None:
    assert parse_duration("36 ck").ticks(500) == 36
    assert parse_duration("18 ns").ticks(500) == 36
    assert parse_duration("18 ns").ticks(570) == 32
    assert parse_duration(Duration(1.0, True)).ticks(500) == 1


def test_every_command_and_gap_has_a_source() -> None:
    sources = sources_of(SHIPPED)
    spec = load_device("pim/gddr6-aim")
    assert isinstance(spec, PimSpec)
    energies = [sources[f"commands.{name}.energy"] or "" for name in spec.commands]
    assert all(energies)
    assert sum("power script" in source for source in energies) >= len(energies) - 2
    own = [source for path, source in sources.items() if path.startswith("gaps.")]
    assert len(own) >= len(spec.gaps)
    assert all(own)


def test_a_design_without_modes_needs_no_mode_command(tmp_path: Path) -> None:
    data = yaml.safe_load(Path(SHIPPED).read_text())
    del data["commands"]["TMOD"]
    data["gaps"] = [g for g in data["gaps"] if "TMOD" not in g["before"]]
    for command in data["commands"].values():
        command["access"] = "any"
    file = tmp_path / "device.yaml"
    file.write_text(yaml.safe_dump(data))
    spec = load_device(str(file))
    assert isinstance(spec, PimSpec)
    config = config_of(spec)
    from bankwidth.devices.pim.channel import PimChannel

    macros = MacroList(config)
    macros.add("WR_GB", 64)
    macros.add("MAC_ABK", 64)
    channel = PimChannel(config, refresh=False)
    # The activate issues right after the last WR_GB: 127 + 56 + 63 x 2 + 1.
    assert channel.run(ChannelProgram(macros=macros.build(), channels=1)) == 127 + 56 + 126 + 1


def test_macro_lists_refuse_what_the_channel_cannot_do(spec: PimSpec) -> None:
    macros = MacroList(config_of(spec))
    with pytest.raises(SpecError, match="no command 'MAC'"):
        macros.add("MAC")
    with pytest.raises(SpecError, match="RD_SBK of bank 16: the channel has 16 banks"):
        macros.add("RD_SBK", 1, 0, 16)
    with pytest.raises(SpecError, match="MAC_ABK of bank 3"):
        macros.add("MAC_ABK", 1, 0, 3)
    with pytest.raises(SpecError, match="count must be at least 1, got 0"):
        macros.add("MAC_ABK", 0)


def test_a_stream_of_columns_is_cut_at_rows(spec: PimSpec) -> None:
    macros = MacroList(config_of(spec))
    macros.add_stream("MAC_ABK", 60, 70)
    mac = list(spec.commands).index("MAC_ABK")
    assert macros.build().tolist() == [[mac, 4, 0, -1], [mac, 64, 1, -1], [mac, 2, 2, -1]]


def test_bytes_of_a_program(spec: PimSpec) -> None:
    config = config_of(spec)
    macros = MacroList(config)
    macros.add("WR_GB", 10)
    macros.add("MAC_ABK", 7)
    macros.add("RD_MAC", 2)
    macros.add("WR_SBK", 3, 0, 1)
    macros.add("WR_ABK", 1)
    group = ChannelProgram(macros=macros.build(), channels=4, repeat=5)
    made = program_of(config, (group,))
    assert made.in_bytes == 4 * 5 * (10 + 3 + 1) * 32
    assert made.out_bytes == 4 * 5 * 2 * 32
    assert made.bank_bytes == 4 * 5 * (7 * 16 + 3 + 1) * 32
    assert made.mac_commands == 4 * 5 * 7
    assert made.counts["RD_MAC"] == 40
