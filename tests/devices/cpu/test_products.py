"""Products by unpacked weights and by tables, split over threads."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.devices.cpu.chip import Chip, chip_of
from bankwidth.devices.cpu.lookups import lookup_cost
from bankwidth.devices.cpu.passes import memory_passes, share_of, traffic_of
from bankwidth.devices.cpu.products import Product, product_cost
from bankwidth.operators import packed_bytes
from bankwidth.spec import CpuSpec

PASS = 16
SIDES = st.integers(1, 3000)


def product(m: int = 1, n: int = 4096, k: int = 4096, dtype: str = "q4_0") -> Product:
    return Product(
        m=m, n=n, k=k, batch=1, weight_bytes=packed_bytes(n * k, dtype), row_bytes=1.0625 * k
    )


def cost_ns(spec: CpuSpec, dtype: str, p: Product, library: str = "llama.cpp") -> float:
    kernel = spec.libraries[library].products[dtype]
    return product_cost(chip_of(spec), kernel, p, PASS).compute_ns


def with_threads(spec: CpuSpec, threads: int) -> CpuSpec:
    return spec.model_copy(update={"threads": threads})


def test_instructions_are_counted_off_the_loops(chip: Chip, n1: CpuSpec) -> None:
    kernel = n1.libraries["llama.cpp"].products["q4_0"]
    counts = product_cost(chip, kernel, product(m=3, n=100, k=64), PASS).counts
    blocks = 100 * 2
    assert counts["shift"] == 3 * (
        blocks * 1 + 100 * 2
    )  # unpacked for every row; summed at the end
    assert counts["dot"] == 3 * blocks * 2


def test_rows_that_go_together_share_the_unpacking(chip: Chip, n1: CpuSpec) -> None:
    kernel = n1.libraries["llama.cpp"].products["q4_0"]
    together = kernel.model_copy(update={"rows_together": 4, "output": {}})
    alone = kernel.model_copy(update={"output": {}})
    p = product(m=8, n=100, k=64)
    assert product_cost(chip, together, p, PASS).counts["shift"] == 2 * 200
    assert product_cost(chip, alone, p, PASS).counts["shift"] == 8 * 200


@given(n=SIDES, threads=st.integers(1, 64), granule=st.integers(1, 128))
def test_the_busiest_thread_has_at_least_its_share(n: int, threads: int, granule: int) -> None:
    share = share_of(1, n, threads, granule)
    assert n / threads <= share.outputs <= n
    assert share.threads <= threads
    assert share.outputs * share.threads >= n


def test_rows_are_cut_where_there_are_more_of_them() -> None:
    share = share_of(1000, 64, 8)
    assert (share.rows, share.outputs, share.threads) == (125, 64, 8)
    rest = share_of(1, 65, 64)
    assert (rest.outputs, rest.threads) == (2, 33)  # ggml: equal parts but for the rest


@given(n=SIDES, k=SIDES, m=st.integers(1, 40), threads=st.integers(1, 63))
def test_more_cores_are_never_slower(n1: CpuSpec, n: int, k: int, m: int, threads: int) -> None:
    p = product(m, n, k)
    more = cost_ns(with_threads(n1, threads + 1), "q4_0", p)
    assert more <= cost_ns(with_threads(n1, threads), "q4_0", p) * (1 + 1e-9)


@given(n=SIDES, k=SIDES, m=st.integers(1, 40), threads=st.integers(1, 64))
def test_no_product_beats_even_sharing(n1: CpuSpec, n: int, k: int, m: int, threads: int) -> None:
    chip = chip_of(with_threads(n1, threads))
    for dtype in ("q8_0", "q2_k"):
        kernel = n1.libraries["llama.cpp"].products[dtype]
        cost = product_cost(chip, kernel, product(m, n, k, dtype), PASS)
        assert cost.compute_ns >= cost.ideal_ns * (1 - 1e-12)
    table = n1.libraries["t-mac"].lookups["int2"]
    cost = lookup_cost(chip, table, product(m, n, k, "int2"), PASS)
    assert cost.compute_ns >= cost.ideal_ns * (1 - 1e-12)


@given(n=SIDES, k=st.integers(64, 3000), threads=st.integers(1, 64))
def test_a_core_waits_for_its_bytes(n1: CpuSpec, n: int, k: int, threads: int) -> None:
    p = product(1, n, k, "fp16")
    spec = with_threads(n1, threads)
    chip = chip_of(spec)
    least_ns = p.weight_bytes / threads / chip.memory_bytes_per_ns
    assert cost_ns(spec, "fp16", p) >= least_ns * (1 - 1e-12)


def test_more_bits_take_more_look_ups(n1: CpuSpec) -> None:
    chip, tables = chip_of(with_threads(n1, 1)), n1.libraries["t-mac"].lookups
    times = [
        lookup_cost(chip, tables[f"int{bits}"], product(dtype=f"int{bits}"), PASS).compute_ns
        for bits in (1, 2, 3, 4)
    ]
    assert times == sorted(times)
    assert times[3] / times[0] == pytest.approx(4.0, rel=0.02)  # linear in bits


def test_look_ups_are_counted_off_the_loops(chip: Chip, n1: CpuSpec) -> None:
    """2 bits: every 32 indices of a group of four are one load, one split and two look-ups."""
    kernel = n1.libraries["t-mac"].lookups["int2"]
    counts = lookup_cost(chip, kernel, product(n=640, k=256, dtype="int2"), PASS).counts
    registers = 640 * 2 * (256 / 4) / 32
    assert counts["lookup"] == 2 * registers
    assert counts["shift"] == registers
    assert counts["convert"] == 4 * registers / 16  # once per 16 tables
    tables = 640 * 2 / kernel.tile * (256 / 4)
    assert counts["load"] == registers + tables + 8 * registers / 16 + 640 * 2 * 0.125


def test_threads_take_whole_tiles(n1: CpuSpec) -> None:
    """3200 outputs of 2 bits are 50 tiles of 128: 7 on the busiest of 8 threads, as on 7."""
    kernel = n1.libraries["t-mac"].lookups["int2"]
    times = {
        threads: lookup_cost(
            chip_of(with_threads(n1, threads)), kernel, product(n=3200, dtype="int2"), PASS
        ).compute_ns
        for threads in (1, 8, 10)
    }
    assert times[8] / times[1] == pytest.approx(7 / 50)
    assert times[10] / times[1] == pytest.approx(5 / 50)


def test_tables_beat_unpacking_at_few_bits_only(n1: CpuSpec) -> None:
    one = with_threads(n1, 1)
    tables = n1.libraries["t-mac"].lookups

    def speed_up(table: str, dtype: str) -> float:
        looked = lookup_cost(chip_of(one), tables[table], product(dtype=table), PASS).compute_ns
        return cost_ns(one, dtype, product(dtype=dtype)) / looked

    assert speed_up("int2", "q2_k") > 2 > 1.5 > speed_up("int4", "q4_0")


def test_weights_come_again_from_where_they_fit(chip: Chip) -> None:
    share = share_of(64, 4096, 1)

    def traffic(weight_bytes: float, rows: int) -> tuple[float, float, float]:
        found = traffic_of(
            chip,
            replace(share, rows=rows),
            weight_bytes=weight_bytes,
            all_weight_bytes=weight_bytes,
            row_bytes=0.0,
            rows_per_pass=PASS,
        )
        return found.l2, found.llc, found.memory

    small, medium, large = 1e5, 1e7, 1e8
    assert traffic(small, 64) == (3 * small, 0, small)
    assert traffic(medium, 64) == (0, 3 * medium, medium)
    assert traffic(large, 64) == (0, 0, 4 * large)
    assert traffic(large, 16) == (0, 0, large)
    assert [memory_passes(chip, size, 4) for size in (small, medium, large)] == [1, 1, 4]
