"""Microbenchmarks to a machine that bankwidth loads; nothing is replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

from bankwidth.presets import find_device
from bankwidth.spec import GpuSpec, check_file, load_device, load_machine
from gpucap.arch_draft import _GDDR, _HBM, BASES, Dram
from gpucap.micro_rows import read_micro
from gpucap.problems import CaptureError
from make_arch import write_draft

# Made up, of the size of an H200's; the shape is what the programs print.
FILES = {
    "device": """device,capability,0,none,90,none
device,sms,0,none,132,none
device,l2,0,none,62914560,bytes
device,memory,0,none,150754820096,bytes
device,shared_per_sm,0,none,233472,bytes
device,registers_per_sm,0,none,262144,bytes
device,memory_bus,0,none,6144,bits
device,clock,0,none,1980,MHz
device,memory_clock,0,none,3201,MHz""",
    "launch": "launch,stream,132,blocks,2431,ns\nlaunch,graph,132,blocks,1262,ns",
    "bandwidth": """bandwidth,read,20,MiB,9800,GB/s
bandwidth,read,30,MiB,9600,GB/s
bandwidth,read,1200,MiB,4100,GB/s
blocks,memory,1,blocks,50,GB/s""",
    "latency": """latency,load,900,MiB,690,cycles
latency,load,900,MiB,348,ns
latency,load,1,MiB,141,ns""",
    "vector": """vector,fp32,0,none,60.1,TFLOPS
vector,fp16,0,none,120,TFLOPS
vector,bf16,0,none,121,TFLOPS
vector,exp2,0,none,4100,G/s""",
    "tensor": "tensor,fp16,0,none,620,TFLOPS\ntensor,tile_64x64,64,k,62,TFLOPS",
    "clock": "clock,idle,0.5,s,1980,MHz\nclock,tensor,1,s,1900,MHz\nclock,tensor,2,s,1500,MHz",
}
HEADER = "# NVIDIA H200, driver API 13000, runtime 13000\nbenchmark,variant,x,x_unit,value,unit\n"


@pytest.fixture
def micro(tmp_path: Path) -> Path:
    folder = tmp_path / "micro"
    folder.mkdir()
    for name, rows in FILES.items():
        (folder / f"{name}.csv").write_text(f"{HEADER}{rows}\n")
    return folder


def replaced(folder: Path, name: str, old: str, new: str) -> None:
    path = folder / f"{name}.csv"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def gpu(folder: Path, out: Path) -> GpuSpec:
    write_draft(folder, "my-gpu", out)
    spec = load_device(out / "my-gpu-gpu.yaml")
    assert isinstance(spec, GpuSpec)
    return spec


def test_both_files_are_in_order(micro: Path, tmp_path: Path) -> None:
    paths = write_draft(micro, "my-gpu", tmp_path)
    assert [path.name for path in paths] == ["my-gpu.yaml", "my-gpu-gpu.yaml"]
    assert [check_file(path) for path in paths] == [[], []]


def test_the_machine_has_what_was_measured(micro: Path, tmp_path: Path) -> None:
    write_draft(micro, "my-gpu", tmp_path)
    machine = load_machine(tmp_path / "my-gpu.yaml")
    [link] = machine.links
    assert link.latency_ns == pytest.approx(348 - 50)
    assert link.bandwidth_bytes_per_ns == pytest.approx(6144 * 6402 / 8e3, rel=1e-4)
    assert machine.memories["hbm"].channels == 96


def test_the_gpu_has_what_was_measured(micro: Path, tmp_path: Path) -> None:
    spec = gpu(micro, tmp_path)
    assert (spec.sms, spec.clock_ghz, spec.l2_bytes) == (132, 1.98, 60 * 2**20)
    assert spec.vector_tflops["bf16"] == pytest.approx(121)
    assert spec.l2_bandwidth_bytes_per_ns == pytest.approx(9700)  # both are within 30 to 60 %
    assert spec.exp_per_clock == 16  # 4100 / (132 x 1.98) = 15.7
    assert spec.launch_ns == pytest.approx(1260)


def test_what_was_not_measured_is_that_of_the_nearest_gpu(micro: Path, tmp_path: Path) -> None:
    """WMMA is no peak of this chip."""
    shipped = load_device("gpu/h200-sxm")
    assert isinstance(shipped, GpuSpec)
    assert gpu(micro, tmp_path).tensor_tflops == shipped.tensor_tflops


def test_wmma_is_the_peak_of_older_chips(micro: Path, tmp_path: Path) -> None:
    replaced(micro, "device", "none,90,none", "none,80,none")
    assert gpu(micro, tmp_path).tensor_tflops["fp16"] == pytest.approx(620)


def test_cublas_is_taken_where_it_was_run(micro: Path, tmp_path: Path) -> None:
    rows = "cublas,bf16,64,k,160,TFLOPS\ncublas,bf16,8192,k,842,TFLOPS\n"
    (micro / "cublas.csv").write_text(f"{HEADER}{rows}")
    assert gpu(micro, tmp_path).tensor_tflops["bf16"] == pytest.approx(842)


@pytest.mark.parametrize("which", ["my-gpu.yaml", "my-gpu-gpu.yaml"])
def test_nothing_is_replaced(which: str, micro: Path, tmp_path: Path) -> None:
    (tmp_path / which).write_text("mine")
    with pytest.raises(CaptureError, match=f"{which}: exists already"):
        write_draft(micro, "my-gpu", tmp_path)
    assert (tmp_path / which).read_text() == "mine"
    assert len(list(tmp_path.glob("*.yaml"))) == 1


@pytest.mark.parametrize(
    ("name", "old", "new", "part"),
    [
        ("launch", "1262,ns", "fast,ns", r"launch\.csv:4: x and value must be numbers"),
        ("launch", "launch,graph,132,blocks,1262,ns", "launch,gr", r"launch\.csv:4: 2 cells"),
        ("vector", "benchmark,", "bench,", r"vector\.csv:1: not a microbenchmark"),
        ("launch", "launch,graph", "launch,grph", "no row launch,graph"),
    ],
)
def test_damaged_files_are_refused(
    name: str, old: str, new: str, part: str, micro: Path, tmp_path: Path
) -> None:
    replaced(micro, name, old, new)
    with pytest.raises(CaptureError, match=part):
        write_draft(micro, "my-gpu", tmp_path)
    assert not list(tmp_path.glob("*.yaml"))


def test_missing_files_are_named(micro: Path) -> None:
    (micro / "clock.csv").unlink()
    with pytest.raises(CaptureError, match=r"no clock\.csv: make -C"):
        read_micro(micro)


def test_names_must_be_names(micro: Path, tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="small letters"):
        write_draft(micro, "My GPU", tmp_path)


@pytest.mark.parametrize("base", BASES.values())
def test_bases_are_shipped(base: str) -> None:
    assert find_device(base).is_file()


@pytest.mark.parametrize("dram", [*_HBM, *_GDDR], ids=lambda dram: dram.name)
def test_memories_are_shipped(dram: Dram) -> None:
    assert find_device(dram.name).is_file()
