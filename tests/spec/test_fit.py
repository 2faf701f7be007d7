"""`fit:` beside a value: bounds of its own type, where they may stand, and who inherits them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests import unmarked

from bankwidth.errors import SpecError
from bankwidth.presets import find_machine
from bankwidth.spec import check_file, fit_parameters, json_schema, load_device, sources_of
from bankwidth.spec.dram import DramSpec
from bankwidth.spec.fit import MOST_PER_DEVICE, FitParameter
from bankwidth.spec.load import fittable
from bankwidth.spec.tree import parse_yaml, plain

from .conftest import Said, Write

GPU = f"schema_version: 1\nkind: gpu\ndevice: {unmarked.GPU.as_posix()}\n"


def machine(text: str) -> str:
    include = f"include: {unmarked.MACHINE.as_posix()}\n"
    return f"schema_version: 1\nkind: machine\n{include}{text}"


def only(path: Path) -> FitParameter:
    (parameter,) = fit_parameters(path)
    return parameter


def test_a_marked_value_has_its_bounds_in_its_canonical_unit(write: Write) -> None:
    text = "launch: {value: 1.26 us, source: s, fit: [200 ns, 3 us]}\n"
    found = only(write("f.yaml", GPU + text))
    assert (found.path, found.name, found.unit) == (("launch",), "launch", "us")
    assert (found.value, found.low, found.high) == (1260.0, 200.0, 3000.0)
    assert str(found.where) == "f.yaml:4:17"
    assert (found.in_unit(1500.0), found.text(1512.34), found.is_whole) == (1.5, "1.512 us", False)


def test_a_marked_value_is_a_value_like_any_other(write: Write) -> None:
    path = write("f.yaml", GPU + "launch: {value: 850 ns, source: s, fit: [200 ns, 3 us]}\n")
    assert load_device(path).launch_ns == 850.0  # type: ignore[union-attr]
    assert sources_of(path)["launch"] == "s"


def test_a_plain_number_is_fitted_without_a_unit(write: Write) -> None:
    found = only(write("f.yaml", GPU + "exp_per_clock: {value: 4, fit: [1, 8]}\n"))
    assert (found.unit, found.dimension, found.is_whole) == ("", "", True)
    assert (found.text(5.0), found.text(8.0), found.parsed("5")) == ("5", "8", 5.0)


def test_a_whole_quantity_is_written_in_the_unit_in_which_it_is_whole(write: Write) -> None:
    found = only(write("f.yaml", GPU + "l2: {value: 50 MiB, fit: [10 MiB, 90 MiB]}\n"))
    assert found.is_whole
    assert found.text(12_345_678.0) == "12350000 B"
    assert found.parsed(found.text(12_345_678.0)) == 12_350_000.0


def test_rounding_never_leaves_the_bounds(write: Write) -> None:
    line = "launch: {value: 1000.5 ns, fit: [1.0004 us, 1000.6 ns]}\n"
    found = only(write("f.yaml", GPU + line))
    assert found.text(1000.45) == "1.0004 us"  # not 1000, its four digits
    assert found.text(1000.55) == "1000.6 ns"  # not 1001
    assert found.low <= found.parsed(found.text(1000.5)) <= found.high


@pytest.mark.parametrize("micro", ["\N{MICRO SIGN}", "\N{GREEK SMALL LETTER MU}"])
def test_a_micro_sign_falls_back_to_the_canonical_unit(write: Write, micro: str) -> None:
    found = only(write("f.yaml", GPU + f"launch: {{value: 1 {micro}s, fit: [100 ns, 3 us]}}\n"))
    assert (found.value, found.unit, found.text(1234.5)) == (1000.0, "ns", "1234 ns")


def test_marks_are_found_through_device_and_include(write: Write) -> None:
    write("base.yaml", GPU + "clock: {value: 1 GHz, fit: [0.5 GHz, 2 GHz]}\n")
    write(
        "dev.yaml",
        GPU.replace(unmarked.GPU.as_posix(), "base.yaml")
        + "exp_per_clock: {value: 4, fit: [1, 8]}\n",
    )
    path = write("m.yaml", machine("name: m\nengines: {gpu: {device: dev.yaml}}\n"))
    found = {p.name: p.where.file for p in fit_parameters(path)}
    assert found == {"engines.gpu.clock": "base.yaml", "engines.gpu.exp_per_clock": "dev.yaml"}


def test_a_value_in_a_list_and_of_a_nested_table_may_be_marked(write: Write) -> None:
    text = """
links:
  - name: hbm-phy
    ends: [gpu, hbm]
    bandwidth: 4.8 TB/s
    latency: {value: 300 ns, fit: [0 ns, 400 ns]}
    energy: 1 pJ/bit
engines: {gpu: {tensor: {bf16: {value: 900 TFLOPS, fit: [500 TFLOPS, 1 PFLOPS]}}}}
"""
    paths = [p.path for p in fit_parameters(write("m.yaml", machine(text)))]
    assert sorted(paths, key=str) == [
        ("engines", "gpu", "tensor", "bf16"), ("links", 0, "latency"),
    ]  # fmt: skip


def test_an_overriding_value_does_not_inherit_the_bounds_of_what_it_replaces(write: Write) -> None:
    write("dev.yaml", GPU + "clock: {value: 1 GHz, fit: [0.5 GHz, 2 GHz]}\n")
    path = write("m.yaml", machine("engines: {gpu: {device: dev.yaml, clock: 7 GHz}}\n"))
    assert fit_parameters(path) == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "launch: {value: 1 us, fit: [1 GHz, 3 us]}",
            "4:29: launch.fit.0: '1 GHz': GHz is a frequency, need a time (ns, ps, us, ms, s)",
        ),
        (
            "launch: {value: 1 us, fit: [100 ns, 3]}",
            "4:37: launch.fit.1: 3: unit missing, write e.g. '350 ns'",
        ),
        (
            "launch: {value: 1 us, fit: [0 ns, 3 us]}",
            "4:29: launch.fit.0: '0 ns': a time here must be above 0",
        ),
        (
            "exp_per_clock: {value: 4, fit: [1.5, 8]}",
            "4:33: exp_per_clock.fit.0: need a whole number, got 1.5",
        ),
        (
            "launch: {value: 1 us, fit: [3 us, 100 ns]}",
            "4:29: launch.fit: the lower bound comes first, and 3 us is not below 100 ns",
        ),
        (
            "launch: {value: 1 us, fit: [1 us, 1000 ns]}",
            "4:29: launch.fit: the lower bound comes first, and 1 us is not below 1000 ns",
        ),
        (
            "launch: {value: 4 us, fit: [100 ns, 3 us]}",
            "4:17: launch: the value is outside its bounds, 100 ns to 3 us",
        ),
        (
            "launch: {value: 1 us, fit: 3 us}",
            "4:28: launch.fit: need two bounds, the lower one first: fit: [LOW, HIGH]",
        ),
        (
            "launch: {value: 1 us, fit: [1 ns, 2 us, 3 us]}",
            "4:28: launch.fit: need two bounds, the lower one first: fit: [LOW, HIGH]",
        ),
        (
            "launch: {value: 1 us, fits: [1 ns, 2 us]}",
            "4:23: launch.fits: unknown key 'fits', allowed: value, source, fit, "
            "did you mean 'fit'?",
        ),
        (
            "launch: {valu: 1 us, fit: [1 ns, 2 us]}",
            "4:22: launch.fit: bounds need the 'value' that they are for beside them, "
            "did you mean it by 'valu'?",
        ),
        (
            "launch: {source: s, fit: [1 ns, 2 us]}",
            "4:21: launch.fit: bounds need the 'value' that they are for beside them",
        ),
        (
            "name: {value: x, fit: [a, b]}",
            "4:18: name.fit: only a single number, or a quantity with its unit, "
            "can be fitted here",
        ),
        (
            "vector: {value: {fp32: 1 TFLOPS, bf16: 1 TFLOPS, fp16: 1 TFLOPS}, fit: [1, 2]}",
            "4:67: vector.fit: only a single number, or a quantity with its unit, "
            "can be fitted here",
        ),
        ("lunch: {value: 1 us, fit: [1 ns, 2 us]}", "4:1: lunch: unknown key 'lunch', "
         "did you mean 'launch'?"),
        ("launch: {value: 1 GHz, fit: [1 ns, 2 us]}", "4:17: launch: '1 GHz': GHz is a frequency, "
         "need a time (ns, ps, us, ms, s)"),
    ],
)  # fmt: skip
def test_wrong_marks_are_one_message_each(said: Said, line: str, message: str) -> None:
    assert said(GPU + line + "\n") == [f"f.yaml:{message}"]


def test_a_timing_that_is_counted_in_the_clock_around_it_cannot_be_fitted(write: Write) -> None:
    device = load_device("dram/hbm3e-6250")
    assert isinstance(device, DramSpec)
    text = "schema_version: 1\nkind: dram\ndevice: dram/hbm3e-6250\ntiming: {%s}\n"
    path = write("f.yaml", text % "rp: {value: 16 ns, fit: [10 ns, 20 ns]}")
    (problem,) = check_file(path)
    assert "timing.rp.fit: only a single number" in str(problem)


def entries(count: int) -> str:
    """Quantities of the GPU that can be marked, one a line."""
    units = {"launch": "us", "clock": "GHz", "l2_bandwidth": "TB/s"}
    rates = [f"{d}: {{value: 1 TFLOPS, fit: [0.5 TFLOPS, 2 TFLOPS]}}"
             for d in ("fp64", "fp32", "tf32", "bf16", "fp16", "fp8", "int8", "int4")]  # fmt: skip
    energies = [rate.replace("TFLOPS", "pJ") for rate in rates]
    lines = [f"{name}: {{value: 1 {u}, fit: [0.5 {u}, 2 {u}]}}" for name, u in units.items()]
    lines.append(f"vector: {{{', '.join(rates)}}}")
    rest = energies[: count - len(units) - len(rates)]
    lines.append(f"energy: {{vector_flop: {{{', '.join([*rest, *_unmarked(energies, rest)])}}}}}")
    return "\n".join(lines) + "\n"


def _unmarked(energies: list[str], marked: list[str]) -> list[str]:
    return [f"{line.partition(':')[0]}: 1 pJ" for line in energies if line not in marked]


def test_twenty_marked_values_of_a_device_are_the_most(write: Write) -> None:
    text = entries(19) + "l2: {value: 1 MiB, fit: [1 KiB, 2 MiB]}\n"
    assert len(fit_parameters(write("f.yaml", GPU + text))) == MOST_PER_DEVICE
    path = write("g.yaml", GPU + text + "exp_per_clock: {value: 4, fit: [1, 8]}\n")
    (problem,) = check_file(path)
    assert str(problem).endswith("21 values of this file are marked, at most 20 may be")
    write("dev.yaml", GPU + text)
    inner = indented("device: dev.yaml\nexp_per_clock: {value: 4, fit: [1, 8]}\n")
    more = write("m.yaml", machine(f"engines:\n  gpu:\n{inner}"))
    with pytest.raises(SpecError, match=r"21 values of engines\.gpu are marked, at most 20 may be"):
        fit_parameters(more)


def test_the_limit_holds_for_each_device(write: Write) -> None:
    write("dev.yaml", GPU + entries(19) + "l2: {value: 1 MiB, fit: [1 KiB, 2 MiB]}\n")
    memory = "memories: {hbm: {capacity: {value: 141 GB, fit: [100 GB, 150 GB]}}}\n"
    path = write("m.yaml", machine(f"engines: {{gpu: {{device: dev.yaml}}}}\n{memory}"))
    assert len(fit_parameters(path)) == MOST_PER_DEVICE + 1


def indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


def test_a_wrong_file_is_refused_with_all_mistakes(write: Write) -> None:
    path = write("f.yaml", GPU + "sms: -1\nlaunch: {value: 1 us, fit: [3 us, 1 us]}\n")
    with pytest.raises(SpecError, match=r"sms: must be above 0, got -1\n.*launch\.fit: the lower"):
        fit_parameters(path)


def test_what_could_be_marked_are_numbers_that_times_depend_on() -> None:
    found = fittable(find_machine("h200"))
    assert {"engines.gpu.launch", "engines.gpu.l2_bandwidth", "engines.gpu.tensor.bf16"} <= {*found}
    assert not any("energy" in name or "tiles" in name or "name" in name for name in found)


@pytest.mark.parametrize(
    ("value", "is_right"),
    [
        ({"value": "1 us", "fit": ["1 ns", "2 us"]}, True),
        ({"value": "1 us", "source": "s", "fit": ["1 ns", "2 us"]}, True),
        ({"value": "1 us", "fit": ["1 ns"]}, False),
        ({"value": "1 us", "fit": ["1 GHz", "2 us"]}, False),
        ({"value": "1 us", "fit": "1 ns"}, False),
        ({"fit": ["1 ns", "2 us"]}, False),
    ],
)
def test_the_json_schema_knows_bounds(value: Any, is_right: bool) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    data = {"schema_version": 1, "kind": "gpu", "device": "gpu/h200-sxm", "launch": value}
    assert jsonschema.Draft202012Validator(json_schema("gpu")).is_valid(data) == is_right


LINKS = """\
links:
  fit: [[], []]
  value:
    - {name: hbm-phy, ends: [gpu, hbm], bandwidth: 4 TB/s, latency: 1 ns, energy: 1 pJ/bit}
"""


def test_a_list_has_no_bounds(said: Said) -> None:
    (line,) = said(machine(LINKS))
    assert ": links.fit: only a single number, or a quantity with its unit" in line


def test_the_json_schema_has_no_bounds_for_lists() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    root, _ = parse_yaml(machine(LINKS), "f.yaml")
    assert root is not None
    data = plain(root)
    checker = jsonschema.Draft202012Validator(json_schema("machine"))
    assert not checker.is_valid(data)
    del data["links"]["fit"]
    assert checker.is_valid(data)
