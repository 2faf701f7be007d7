"""Each kind of mistake: its exact place and text, and all of them at once."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bankwidth.errors import SpecError
from bankwidth.presets import find_device
from bankwidth.spec import check_file, load_device, load_machine, load_workload

from .conftest import Said, Write

GPU = "schema_version: 1\nkind: gpu\ndevice: gpu/h200-sxm\n"
MACHINE = """\
schema_version: 1
kind: machine
name: m
title: M
engines: {gpu: {device: gpu/h200-sxm}}
memories: {hbm: {device: dram/hbm3e-6250}}
links:
  - {name: phy, ends: [gpu, hbm], bandwidth: 4.8 TB/s, latency: 0 ns, energy: 0 pJ/bit}
mapping:
  place: {weights: hbm, kv: hbm, activations: hbm}
  run: {default: gpu}
"""


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("clok: 1 GHz", "4:1: clok: unknown key 'clok', did you mean 'clock'?"),
        ("clock: 50", "4:8: clock: 50: unit missing, write e.g. '1.98 GHz'"),
        ("clock: -2 GHz", "4:8: clock: '-2 GHz': a frequency here must be above 0"),
        ("clock: 0 GHz", "4:8: clock: '0 GHz': a frequency here must be above 0"),
        ("clock: fast", "4:8: clock: 'fast' is not a frequency, write e.g. '1.98 GHz'"),
        ("clock: ~", "4:8: clock: nothing is not a frequency, write e.g. '1.98 GHz'"),
        ("clock: [1]", "4:8: clock: a list is not a frequency, write e.g. '1.98 GHz'"),
        ("launch: 16:30", "4:9: launch: '16:30' is not a time, write e.g. '350 ns'"),
        ("launch: 1e-9", "4:9: launch: 1e-09: unit missing, write e.g. '350 ns'"),
        ("l2: 0.3 B", "4:5: l2: '0.3 B': a size here must be whole"),
        ("sms: 1.5", "4:6: sms: need a whole number, got 1.5"),
        ("sms: off", "4:6: sms: need a whole number, got 'off'"),
        ("sms: true", "4:6: sms: need a whole number, got true"),
        ("sms: '132'", "4:6: sms: need a whole number, got '132'"),
        ("sms: 0", "4:6: sms: must be above 0, got 0"),
        ("sms: ", "4:5: sms: need a whole number, got nothing"),
        ("name: 3", "4:7: name: need a text (quote a number to make it one), got 3"),
        ("name: ''", "4:7: name: must not be empty"),
        ("matmul: {tiles: {m: 1}}", "4:17: matmul.tiles: need a list, got a mapping"),
        ("matmul: {tiles: []}", "4:17: matmul.tiles: need at least 1 entries, got 0"),
        ("matmul: {tiles: [3]}", "4:18: matmul.tiles.0: need a mapping of keys to values, got 3"),
        ("matmul: {tiles: [{m: [1]}]}", "4:18: matmul.tiles.0.n: missing"),
        ("energy: 3 W", "4:9: energy: need a mapping of keys to values, got '3 W'"),
        ("tensor: 3", "4:9: tensor: need a mapping of keys to values, got 3"),
        (
            "energy: {static: -1 W}",
            "4:18: energy.static: '-1 W': a power here must be at least 0",
        ),
        (
            "tensor: {bf61: 1 TFLOPS}",
            "4:10: tensor.bf61: unknown dtype 'bf61', allowed: fp64, fp32, tf32, bf16, fp16, fp8, "
            "int8, int7, int6, int5, int4, int3, int2, int1, ternary, q8_0, q6_k, q5_0, q4_0, "
            "q3_k, q2_k, mxfp8, mxfp4, nvfp4, dfloat11, did you mean 'bf16'?",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place(line: str, message: str, said: Said) -> None:
    assert said(GPU + line + "\n") == [f"f.yaml:{message}"]


def test_a_rate_without_energy_is_refused(said: Said) -> None:
    assert said(GPU + "tensor: {int4: 1 TOPS}\n") == [
        f"{flop_place()}: energy.flop: no energy for int4, which has a rate"
    ]


def flop_place() -> str:
    path = find_device("gpu/h200-sxm")
    number = path.read_text(encoding="utf-8").splitlines().index("  flop:") + 1
    return f"{path}:{number}:3"


def test_a_missing_key_says_what_it_needs_and_where(said: Said) -> None:
    lines = said("schema_version: 1\nkind: asic\nname: a\nenergy: {add: 1 pJ}\n")
    assert "f.yaml:1:1: clock: missing, need a frequency such as '1.98 GHz'" in lines
    assert "f.yaml:1:1: adders: missing, need additions per clock" in lines
    assert "f.yaml:4:1: energy.mul: missing, need an energy such as '0.72 pJ'" in lines


def test_a_misspelt_key_is_one_mistake_not_two(said: Said) -> None:
    lines = said("schema_version: 1\nkind: asic\nname: a\nclok: 1 GHz\n")
    assert [line for line in lines if "clok" in line or " clock:" in line] == [
        "f.yaml:4:1: clok: unknown key 'clok', did you mean 'clock'?"
    ]


def test_a_far_key_lists_the_allowed_ones(said: Said) -> None:
    (line,) = said(GPU + "matmul: {tiles: [{m: [1], n: [1], zzz: 1}]}\n")
    assert (
        line
        == "f.yaml:4:35: matmul.tiles.0.zzz: unknown key 'zzz', allowed: m, n, either_way, source"
    )


def test_all_mistakes_come_at_once_in_order(said: Said) -> None:
    text = (
        MACHINE.replace("4.8 TB/s", "4.8 TB")
        .replace("[gpu, hbm]", "[gpu, hbn]")
        .replace("default: gpu", "matmull: gpu")
        .replace("kv: hbm, ", "")
        .replace("title", "titel")
    )
    assert [line.partition(": ")[0] for line in said(text)] == [
        "f.yaml:4:1",
        "f.yaml:8:29",
        "f.yaml:8:46",
        "f.yaml:10:3",
        "f.yaml:11:3",
        "f.yaml:11:9",
    ]


def test_one_error_is_raised_with_a_line_per_mistake(write: Write) -> None:
    path = write("f.yaml", GPU + "sms: 0\nclok: 1 GHz\n")
    with pytest.raises(SpecError) as caught:
        load_device(path)
    assert str(caught.value).splitlines() == [str(problem) for problem in check_file(path)]
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[gpu, hbm]", "[gpu, gpu]", "8:29: links.0.ends.1: both ends are 'gpu', a link joins"),
        ("[gpu, hbm]", "[gpu, hbn]", "8:29: links.0.ends.1: unknown engine or memory 'hbn', "
         "allowed: gpu, hbm, did you mean 'hbm'?"),
        ("[gpu, hbm]", "[gpu]", "8:17: links.0.ends.1: missing, the list is too short"),
        ("[gpu, hbm]", "[gpu, hbm, x]", "8:23: links.0.ends: need at most 2 entries, got 3"),
        ("kv: hbm,", "kv: hbn,", "10:29: mapping.place.kv: unknown memory 'hbn', "
         "allowed: hbm, did you mean 'hbm'?"),
        ("kv: hbm,", "kv: gpu,", "10:29: mapping.place.kv: unknown memory 'gpu', allowed: hbm"),
        ("kv: hbm,", "", "10:3: mapping.place: no place for kv; every role needs a memory"),
        ("kv: hbm", "kvs: hbm", "10:25: mapping.place.kvs: unknown tensor role 'kvs', "
         "allowed: weights, kv, activations, far, did you mean 'kv'?"),
        ("default: gpu", "default: gpuu", "11:18: mapping.run.default: unknown engine 'gpuu', "
         "allowed: gpu, did you mean 'gpu'?"),
        ("default: gpu", "matmul: gpu", "11:3: mapping.run: 'default' is missing"),
        ("default: gpu", "default: gpu, matmull: gpu", "11:23: mapping.run.matmull: "
         "unknown operator kind 'matmull', allowed: default, matmul, "),
        ("{hbm: {", "{gpu: {", "6:12: memories.gpu: 'gpu' names an engine already"),
        ("{device: gpu/h200-sxm}", "{kind: gqu}", "5:23: engines.gpu.kind: "
         "unknown kind 'gqu', allowed: gpu, asic, npu, pim, csd, roofline, cpu, sram_lut, "
         "ternary_lut, did you mean 'gpu'?"),
        ("{device: gpu/h200-sxm}", "{sms: 3}", "5:16: engines.gpu: "
         "'kind' is missing, or 'device:' that brings it"),
        ("{device: gpu/h200-sxm}", "fast", "5:16: engines.gpu: "
         "need a mapping of keys to values, got 'fast'"),
        ("dram/hbm3e-6250", "gpu/h200-sxm", "6:26: memories.hbm.kind: "
         "unknown kind 'gpu', allowed: dram"),
        ("latency: 0 ns", "latency: -1 ns", "8:65: links.0.latency: "
         "'-1 ns': a time here must be at least 0"),
    ],
)  # fmt: skip
def test_what_is_referred_to_must_exist(old: str, new: str, message: str, said: Said) -> None:
    assert old in MACHINE
    lines = said(MACHINE.replace(old, new))
    assert any(line.startswith(f"f.yaml:{message}") for line in lines), lines


def test_links_have_names_of_their_own(said: Said) -> None:
    link = MACHINE.splitlines(keepends=True)[7]
    lines = said(MACHINE.replace(link, link + link))
    assert lines == ["f.yaml:9:12: links.1.name: 'phy' names another link already"]


def test_a_right_machine_has_no_mistakes(said: Said) -> None:
    assert said(MACHINE) == []


@pytest.mark.parametrize("value", ["[a]", "{b: c}", "3", "~", "x"])
@pytest.mark.parametrize(
    "key", ["engines", "memories", "links", "mapping", "name", "title", "kind", "source"]
)
def test_a_key_of_any_shape_ends_in_messages(key: str, value: str, said: Said) -> None:
    lines = [line for line in MACHINE.splitlines() if not line.startswith((key, " "))]
    problems = said("\n".join([*lines, f"{key}: {value}"]) + "\n")
    assert any(line.startswith("f.yaml:") for line in problems)
    assert "Node(" not in "".join(problems)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1:1: the file is empty"),
        ("# nothing\n", "1:1: the file is empty"),
        ("just words\n", "1:1: need keys and values here, such as 'schema_version: 1'"),
        ("- a\n- b\n", "1:1: need keys and values here, such as 'schema_version: 1'"),
        ("kind: gpu\nname: [a\n", "3:1: not YAML: "),
        ("schema_version: 2\nkind: x\n", "1:17: schema_version: "
         "the file is of version 2, this bankwidth reads up to 1; a newer bankwidth is needed"),
    ],
)  # fmt: skip
def test_a_file_without_a_tree_is_one_message(text: str, message: str, said: Said) -> None:
    (line,) = said(text)
    assert line.startswith(f"f.yaml:{message}")


@pytest.mark.parametrize("version", ["0", "one", "'1'", "1.0", "true"])
def test_a_wrong_version_is_told_with_the_right_one(version: str, said: Said) -> None:
    lines = said(GPU.replace("schema_version: 1", f"schema_version: {version}"))
    assert len(lines) == 1
    assert lines[0].startswith("f.yaml:1:17: schema_version: must be 1, not ")


def test_version_and_kind_are_needed(said: Said) -> None:
    assert said("name: x\n") == [
        "f.yaml:1:1: kind: missing, allowed: machine, workload, attention, cpu_library, cells, "
        "gpu, asic, npu, pim, csd, roofline, cpu, ternary_lut, sram_lut, dram, nand, ssd",
        "f.yaml:1:1: schema_version: missing, write 'schema_version: 1'",
    ]


def test_an_unknown_kind_gets_a_suggestion(said: Said) -> None:
    assert said("schema_version: 1\nkind: machin\n") == [
        "f.yaml:2:7: kind: unknown kind 'machin', allowed: machine, workload, attention, "
        "cpu_library, cells, gpu, asic, npu, pim, csd, roofline, cpu, ternary_lut, sram_lut, "
        "dram, nand, ssd, did you mean 'machine'?"
    ]


def test_a_file_of_another_kind_is_refused(write: Write) -> None:
    path = write("f.yaml", GPU)
    with pytest.raises(SpecError, match=r"f\.yaml:2:7: kind: this file describes a gpu, need a"):
        load_machine(path)
    with pytest.raises(SpecError, match="need a workload"):
        load_workload(path)
    with pytest.raises(SpecError, match="a machine, need a gpu or asic or npu or pim or csd or"):
        load_device(write("m.yaml", MACHINE))


def test_a_missing_file_is_one_message(tmp_path: Path) -> None:
    (problem,) = check_file(tmp_path / "gone.yaml")
    assert str(problem) == f"{tmp_path / 'gone.yaml'}:1:1: no such file"


def test_a_directory_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="is a directory, need a YAML file"):
        load_machine(tmp_path)


def test_a_binary_file_is_one_message(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(b"a: 1\n\x7fELF\x02\x01\x00")
    (problem,) = check_file(path)
    assert str(problem).startswith(f"{path}:2:1: control character '\\x7f', not a text file")


def test_another_encoding_is_one_message(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes("a: 1\nb: größe\n".encode("latin-1"))
    (problem,) = check_file(path)
    assert str(problem) == f"{path}:2:1: not UTF-8 text (byte 10)"


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(GPU.encode("utf-8-sig"))
    assert check_file(path) == []


def test_a_file_that_may_not_be_read_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    (problem,) = check_file(tmp_path / "f.yaml")
    assert str(problem).endswith(":1:1: permission denied")


EDITS = st.tuples(
    st.floats(0, 1), st.integers(0, 12), st.text("ab1 :,#'\"[]{}*&!-~%\n\t.", max_size=6)
)


@settings(max_examples=150, deadline=None)
@given(st.lists(EDITS, min_size=1, max_size=4))
def test_whatever_is_written_ends_in_messages(edits: list[tuple[float, int, str]]) -> None:
    text = MACHINE
    for share, removed, added in edits:
        at = int(share * len(text))
        text = text[:at] + added + text[at + removed :]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "f.yaml"
        path.write_text(text, encoding="utf-8")
        for problem in check_file(path):
            assert str(problem).count("\n") == problem.message.count("\n") == 0
            assert problem.mark.line >= 1
            assert problem.mark.column >= 1


def test_a_key_with_a_line_end_is_still_one_line(said: Said) -> None:
    problems = said('schema_version: 1\nkind: machine\n"two\\nlines": 1\n')
    assert not any("\n" in problem for problem in problems)
    assert any(r"f.yaml:3:1: two\nlines: " in problem for problem in problems)
