"""Out and in again: what a format can hold comes back equal."""

from __future__ import annotations

import gzip
import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bankwidth.errors import OutputError, TraceError
from bankwidth.operators import Trace, Workload, make_trace, read_trace
from bankwidth.operators.formats import export_trace, import_trace, recognised_format

from .onnx_writer import model
from .random_traces import TRACES
from .test_onnx import layer_nodes, layer_parts

TRACES_FOLDER = Path(__file__).parents[3] / "traces"
FORMAT_OF = {"et": "chakra", "csv": "csv", "onnx": "onnx"}
RANDOM = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=60,
)


@pytest.mark.parametrize("name", ["t.et", "t.et.gz"])
@RANDOM
@given(trace=TRACES)
def test_chakra_gives_back_any_trace(trace: Trace, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    export_trace(trace, path, force=True)
    assert recognised_format(path).name == "chakra"
    imported = import_trace(path)
    assert imported.trace == trace
    assert imported.lost == ()


def test_chakra_gives_back_a_model(tiny_llama: Workload, tmp_path: Path) -> None:
    path = tmp_path / "t.et"
    trace = make_trace(tiny_llama, phase="generate", context=8, output=3, batch=2)
    export_trace(trace, path)
    assert import_trace(path).trace == trace
    again = tmp_path / "again.et"
    export_trace(import_trace(path).trace, again)
    assert again.read_bytes() == path.read_bytes()


def test_the_example_in_traces_is_what_is_written_today(tmp_path: Path) -> None:
    trace = read_trace(TRACES_FOLDER / "gpt2-decode-1024.jsonl")
    recorded = TRACES_FOLDER / "chakra" / "gpt2-decode-1024.et.gz"
    unpacked = gzip.decompress(recorded.read_bytes())
    export_trace(trace, tmp_path / "t.et")
    assert (tmp_path / "t.et").read_bytes() == unpacked
    assert import_trace(recorded).trace == trace
    readme = (TRACES_FOLDER / "chakra" / "README.md").read_text()
    assert hashlib.sha256(unpacked).hexdigest() in readme
    assert f"{trace.num_steps} nodes" in readme


@pytest.mark.parametrize("name", ["t.et", "t.csv"])
def test_exports_are_the_same_bytes_every_time(
    name: str, tiny_llama: Workload, tmp_path: Path
) -> None:
    trace = make_trace(tiny_llama, context=8)
    export_trace(trace, tmp_path / name)
    before = (tmp_path / name).read_bytes()
    with pytest.raises(OutputError, match="--force"):
        export_trace(trace, tmp_path / name)
    export_trace(trace, tmp_path / name, force=True)
    assert (tmp_path / name).read_bytes() == before


def _sample(name: str, trace: Trace, folder: Path) -> Path:
    path = folder / name
    if name.endswith(".onnx"):
        path.write_bytes(model(layer_nodes(), **layer_parts()))
    else:
        export_trace(trace, path, force=True)
    return path


@pytest.mark.parametrize("name", ["t.et", "t.et.gz", "t.csv", "t.onnx"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(places=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_damaged_files_are_read_or_refused(
    name: str, places: list[tuple[float, int]], tiny_llama: Workload, tmp_path: Path
) -> None:
    """Whatever a few changed bytes make of a file, no other error comes out than a TraceError."""
    path = _sample(name, make_trace(tiny_llama, context=8), tmp_path)
    data = bytearray(path.read_bytes())
    for where, byte in places:
        data[int(where * (len(data) - 1))] = byte
    path.write_bytes(data)
    options: dict[str, Any] = (
        {"dims": {"batch": 3, "sequence": 1, "past": 4}} if name == "t.onnx" else {}
    )
    with suppress(TraceError):
        import_trace(path, format=FORMAT_OF[path.name.split(".")[1]], **options)
