"""The section `parallel:` of a machine: equal devices, and what joins them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bankwidth.spec import load_machine
from bankwidth.spec.files import ROOT
from bankwidth.spec.load import check_file
from bankwidth.spec.parallel import ParallelLinkSpec, ParallelSpec

LINK = {"bandwidth": "10 GB/s", "latency": "100 ns", "energy": "1 pJ/bit"}


def parallel(**fields: Any) -> ParallelSpec:
    return ParallelSpec.model_validate({"devices": 8, "link": LINK, **fields})


@pytest.mark.parametrize(
    ("devices", "pipeline", "tensor", "per_device", "used"),
    [(8, 1, 1, 1, 1), (8, 4, 2, 1, 8), (8, 8, 1, 1, 8), (8, 32, 1, 4, 8), (32, 80, 1, 3, 27)],
)
def test_stages_share_devices_when_there_are_more(
    devices: int, pipeline: int, tensor: int, per_device: int, used: int
) -> None:
    spec = parallel(devices=devices, pipeline=pipeline, tensor=tensor)
    assert (spec.stages_per_device, spec.used_devices) == (per_device, used)


def test_a_message_takes_whole_packets() -> None:
    link = {**LINK, "packet": "256 B", "payload": "192 B"}
    spec = parallel(link=link)
    assert [spec.sent_bytes(n) for n in (1, 192, 193)] == [256, 256, 512]
    assert spec.transfer_ns(192, 193) == 100 + (256 + 512) / 10
    assert parallel(link={**LINK, "packet": "256 B"}).sent_bytes(192) == 256
    assert parallel().sent_bytes(193) == 193


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tensor": 9}, "9 devices share a product, the machine has 8"),
        ({"pipeline": 5, "tensor": 2}, "5 stages of 2 devices are 10 devices, the machine has 8"),
        ({"link": {**LINK, "payload": "1 B"}}, "a payload needs the packet"),
    ],
)
def test_what_does_not_fit_is_said(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parallel(**fields)


def test_a_mistake_is_told_with_its_place(tmp_path: Path) -> None:
    text = (ROOT / "arch" / "cent-7b.yaml").read_text().replace("tensor: 1", "tensor: 9")
    path = tmp_path / "machine.yaml"
    path.write_text(text)
    (problem,) = check_file(path)
    assert f"{path}:" in str(problem)
    assert "parallel.tensor: 9 devices share a product" in str(problem)


def test_the_devices_of_cent_share_144_lanes() -> None:
    for name, devices, lanes in (("cent-7b", 8, 18), ("cent-13b", 20, 7), ("cent-70b", 32, 4)):
        spec = load_machine(name).parallel
        assert spec is not None
        assert spec.devices == devices
        assert isinstance(spec.link, ParallelLinkSpec)
        assert spec.link.bandwidth_bytes_per_ns == pytest.approx(lanes * 4 * 2**30 / 1e9)
