"""validation/gpu/power.py on a table of one run, and of one that has no power."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "validation" / "gpu" / "power.py"
HEAD = "model,hardware,prompt_size,batch_size,token_size,average_power,token_time,tensor_parallel\n"


def test_a_measured_run_stands_beside_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "power.csv"
    table.write_text(
        HEAD + "llama2-70b,a100-80gb,512,1,128,0.6,44.5,4\n"
        "llama2-70b,a100-80gb,512,1,128,0,44.5,8\n"
        "llama2-70b,h100-80gb,512,1,128,0.6,44.5,4\n"
    )
    monkeypatch.setattr("sys.argv", ["power.py", str(table)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| 4")]
    assert len(rows) == 1
    gpus, batch, measured_w, ours_w, *_ = (cell.strip() for cell in rows[0].strip("|").split("|"))
    assert (gpus, batch, measured_w) == ("4", "1", "240")
    assert 200 < int(ours_w) < 280
