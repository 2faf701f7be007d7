"""The commands as a user runs them: what they print, and one clear message for wrong input."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

TINY = {
    "model_type": "llama", "hidden_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "intermediate_size": 512, "vocab_size": 1000,
    "max_position_embeddings": 4096, "tie_word_embeddings": False,
}  # fmt: skip


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(TINY))
    return path


def write_table(path: Path, rows: Sequence[Sequence[object]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


# ---- run


def test_run_gives_the_promised_json(bankwidth: Any, tiny: Path) -> None:
    data = bankwidth("run", "h200", tiny, "--context", 64, "--json").json
    promised = {
        "latency_ns", "lower_bound_ns", "tokens_per_s", "energy_pj", "energy_by_component_pj",
        "operators", "components", "provenance",
    }  # fmt: skip
    assert promised <= data.keys()
    assert data["latency_ns"] >= data["lower_bound_ns"] > 0
    assert sum(op["time_ns"] for op in data["operators"]) == pytest.approx(data["latency_ns"])
    assert sum(op["energy_pj"] for op in data["operators"]) == pytest.approx(data["energy_pj"])
    assert all(pj > 0 for pj in data["energy_by_component_pj"].values())


def test_the_same_command_prints_the_same_bytes(bankwidth: Any, tiny: Path) -> None:
    arguments = ("run", "h200", tiny, "--context", 64, "--json")
    assert bankwidth(*arguments).out == bankwidth(*arguments).out


def test_run_prints_a_table_for_people(bankwidth: Any, tiny: Path) -> None:
    out = bankwidth("run", "h200", tiny, "--context", 64).out
    assert "lower bound" in out
    assert "attention" in out


def test_run_takes_a_trace_and_gives_the_models_result(
    bankwidth: Any, tiny: Path, tmp_path: Path
) -> None:
    trace = tmp_path / "tiny.jsonl.gz"
    assert bankwidth("trace", "make", tiny, trace, "--context", 64).code == 0
    from_trace = bankwidth("run", "h200", trace, "--json").json
    from_model = bankwidth("run", "h200", tiny, "--context", 64, "--json").json
    assert from_trace == from_model


def test_run_writes_its_files_once(bankwidth: Any, tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = ("run", "h200", tiny, "--context", 64, "--out", out)
    assert bankwidth(*arguments).code == 0
    names = {path.name for path in out.iterdir()}
    assert names >= {
        "operators.csv", "components.csv", "summary.json", "timeline.json.gz", "report.html",
    }  # fmt: skip
    bankwidth(*arguments).refused(str(out), "--force")
    assert bankwidth(*arguments, "--force").code == 0


def test_no_skip_changes_nothing_but_its_own_mention(bankwidth: Any, tiny: Path) -> None:
    arguments = ("run", "h200", tiny, "--context", 64, "--json")
    skipped, whole = bankwidth(*arguments).json, bankwidth(*arguments, "--no-skip").json
    assert skipped["provenance"].pop("skip") is True
    assert whole["provenance"].pop("skip") is False
    assert skipped["provenance"].pop("skipped_pct").keys() <= {"hbm"}
    assert whole["provenance"].pop("skipped_pct") == {}
    assert skipped == whole


def test_prefill_and_generate_run(bankwidth: Any, tiny: Path) -> None:
    prefill = bankwidth("run", "h200", tiny, "--phase", "prefill", "--prompt", 128, "--json").json
    generate = bankwidth(
        "run", "h200", tiny, "--phase", "generate", "--prompt", 128, "--output", 3, "--json"
    ).json
    assert generate["latency_ns"] > prefill["latency_ns"]


# ---- wrong input


def test_unknown_machine(bankwidth: Any) -> None:
    bankwidth("run", "h20", "llama-2-7b").refused("h20", "did you mean", "h200", "pim-gpt")


def test_unknown_model(bankwidth: Any) -> None:
    bankwidth("run", "h200", "lama-2-7b").refused("lama-2-7b", "did you mean 'llama-2-7b'")


def test_unknown_phase_and_dtype_and_counts(bankwidth: Any, tiny: Path) -> None:
    wrong = ("--phase", "decod", "--weight-dtype", "bf61", "--batch", 0)
    bankwidth("run", "h200", tiny, *wrong).refused("decode", "bf16", "batch")


def test_a_model_that_does_not_fit_says_by_how_much_and_where(bankwidth: Any) -> None:
    bankwidth("run", "a100", "llama-2-70b").refused("does not fit a100", "GiB too much", "'hbm'")


def test_a_kv_cache_that_does_not_fit(bankwidth: Any) -> None:
    bankwidth("run", "h200", "llama-2-7b", "--context", 4096, "--batch", 512).refused("kv", "GiB")


def test_mistakes_in_yaml_come_all_at_once(bankwidth: Any, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(
        "schema_version: 1\nkind: machine\nname: bad\ntitle: bad\nsource: test\n"
        'engines:\n  gpu: {device: gpu/h200-sxm, clock: "-1 GHz"}\n'
        'memories:\n  hbm: {device: dram/hbm3e-6250, chanels: 96, capacity: "141"}\n'
        "links: []\n"
        "mapping:\n  place: {weights: hbm, kv: hbm, activations: hmb}\n  run: {default: gpu}\n"
    )
    ran = bankwidth("check", path)
    ran.refused(f"{path}:7:", "clock", f"{path}:9:", "did you mean 'channels'", "unit missing")
    assert "did you mean 'hbm'" in ran.err
    bankwidth("run", path, "llama-2-7b").refused(f"{path}:7:")


def test_a_truncated_trace(bankwidth: Any, tiny: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    bankwidth("trace", "make", tiny, whole)
    cut.write_text("\n".join(whole.read_text().splitlines()[:-3]))
    bankwidth("run", "h200", cut).refused(f"{cut}:")
    bankwidth("trace", "show", cut).refused(f"{cut}:")


def test_a_truncated_gzip(bankwidth: Any, tiny: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.jsonl.gz", tmp_path / "cut.jsonl.gz"
    bankwidth("trace", "make", tiny, whole)
    cut.write_bytes(whole.read_bytes()[:-20])
    bankwidth("run", "h200", cut).refused(str(cut))


def test_a_trace_is_not_overwritten(bankwidth: Any, tiny: Path, tmp_path: Path) -> None:
    trace = tmp_path / "t.jsonl"
    trace.write_text("mine")
    bankwidth("trace", "make", tiny, trace).refused("exists", "--force")
    assert trace.read_text() == "mine"


def test_an_output_folder_that_cannot_be_made(bankwidth: Any, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    bankwidth("run", "h200", tiny, "--out", tmp_path / "file" / "run").refused("file")


def test_missing_files(bankwidth: Any, tmp_path: Path) -> None:
    bankwidth("run", tmp_path / "no.yaml", "llama-2-7b").refused("no.yaml")
    bankwidth("compare", "h200", tmp_path / "no.csv").refused("no.csv")


# ---- ops and compare


GEMM_HEADER = ("device", "operator", "m", "n", "k", "dtype", "kernel", "latency_s")


def test_ops_gives_each_row_a_latency_and_an_energy(bankwidth: Any, tmp_path: Path) -> None:
    path = write_table(
        tmp_path / "ops.csv",
        [("operator", "m", "n", "k", "dtype"), ("gemm", 1, 4096, 4096, "bf16"),
         ("gemm", 4096, 4096, 4096, "bf16")],
    )  # fmt: skip
    small, large = bankwidth("ops", "h200", path, "--json").json
    # 32 MB over 4.8 TB/s; 2 * 4096^3 FLOPs over 989.4 TFLOPS
    assert 4096 * 4096 * 2 / 4.8e12 <= small["latency_s"] < 20e-6
    assert 2 * 4096**3 / 989.4e12 <= large["latency_s"] < 300e-6
    assert small["energy_pj"] > 0
    assert large["energy_pj"] > small["energy_pj"]


def test_compare_reports_families_and_the_worst(bankwidth: Any, tmp_path: Path) -> None:
    path = write_table(
        tmp_path / "m.csv",
        [GEMM_HEADER, ("x", "gemm", 1, 4096, 4096, "bfloat16", "k", 1e-3),
         ("x", "gemm", 1, 4096, 4096, "bfloat16", "k", 1e-5)],
    )  # fmt: skip
    data = bankwidth("compare", "h200", path, "--json").json
    family = data["families"]["gemm"]
    assert family.keys() == {"n", "mape_pct", "median_ape_pct", "bias_pct", "p90_ape_pct"}
    assert family["n"] == 2
    assert data["worst"][0]["line"] == 2


def test_compare_reads_gzip_and_prints_for_people(bankwidth: Any, tmp_path: Path) -> None:
    path = tmp_path / "m.csv.gz"
    with gzip.open(path, "wt") as file:
        file.write(",".join(GEMM_HEADER) + "\nx,gemm,8,512,512,bfloat16,k,0.00001\n")
    out = bankwidth("compare", "h200", path).out
    assert "gemm" in out
    assert "%" in out


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("x", "gem", 1, 8, 8, "bf16", "k", 1e-5), "did you mean 'gemm'"),
        (("x", "gemm", 1, 8, 8, "bf61", "k", 1e-5), "did you mean 'bf16'"),
        (("x", "gemm", 0, 8, 8, "bf16", "k", 1e-5), ":2:"),
        (("x", "gemm", 1, 8, 8, "bf16", "k", 0), "latency_s must be a finite number above 0"),
        (("x", "gemm", 1, 8, 8, "bf16", "k", ""), "latency_s"),
        (("x", "gemm", 1, 8, 8, "fp64", "k", 1e-5), "no tensor rate for dtype 'fp64'"),
    ],
)
def test_wrong_rows(bankwidth: Any, tmp_path: Path, row: Sequence[object], message: str) -> None:
    path = write_table(tmp_path / "m.csv", [GEMM_HEADER, row])
    bankwidth("compare", "h200", path).refused(f"{path}:2:", message)


# ---- the rest


def test_list_names_what_is_shipped(bankwidth: Any) -> None:
    data = bankwidth("list", "--json").json
    assert {"h200", "h100", "a100", "pim-gpt"} <= {m["name"] for m in data["machines"]}
    assert {"llama-2-7b", "gpt2-xl"} <= {w["name"] for w in data["workloads"]}
    assert data["devices"]
    assert "pim-gpt" in bankwidth("list").out


def test_check_accepts_every_shipped_machine(bankwidth: Any) -> None:
    root = Path(__file__).parent.parent / "arch"
    ran = bankwidth("check", *sorted(root.glob("*.yaml")))
    assert ran.code == 0, ran.err
    assert "in order" in ran.out


def test_schema_is_a_json_schema(bankwidth: Any) -> None:
    assert "properties" in bankwidth("schema", "machine").json
    bankwidth("schema", "machin").refused("machine")


def test_trace_show(bankwidth: Any, tiny: Path, tmp_path: Path) -> None:
    trace = tmp_path / "t.jsonl"
    bankwidth("trace", "make", tiny, trace)
    assert bankwidth("trace", "show", trace, "--json").json["model"]
    assert "attention" in bankwidth("trace", "show", trace).out


def test_wrong_options_are_refused(bankwidth: Any) -> None:
    assert bankwidth("run", "h200", "llama-2-7b", "--contxt", 5).code == 2
