"""Look-up cores: what is said about wrong descriptions, and the shipped design's figures."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bankwidth.spec import TernaryLutSpec, load_device, load_machine

Said = Callable[[str], list[str]]

CORE = """
schema_version: 1
kind: ternary_lut
device: ternary_lut/tellme-v2
name: mine
source: s
{}
"""


@pytest.fixture(scope="module")
def tellme() -> TernaryLutSpec:
    spec = load_device("ternary_lut/tellme-v2")
    assert isinstance(spec, TernaryLutSpec)
    return spec


def test_the_core_is_that_of_the_release(tellme: TernaryLutSpec) -> None:
    assert (tellme.group_size, tellme.tables, tellme.lookups_per_table) == (3, 28, 16)
    assert (tellme.clock_ghz, tellme.activation_dtype) == (0.25, "int8")
    assert tellme.peak_macs_per_ns == 3 * 28 * 16 * 0.25


def test_the_buffer_holds_the_largest_product_of_bitnet(tellme: TernaryLutSpec) -> None:
    """1536 x 4096 in groups of 3, 5 bits each, with the rows that are filled up."""
    assert tellme.buffer_bytes == 3 * 19 * 1536 * 28 * 5 // 8
    assert tellme.buffer_bytes >= 19 * 4096 * 28 * 5 // 8


def test_four_ports_are_the_link_of_the_machine(tellme: TernaryLutSpec) -> None:
    (link,) = load_machine("tellme-v2").links
    assert link.bandwidth_bytes_per_ns == 4 * tellme.ports.width_bits / 8 * tellme.clock_ghz


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "group_size: 4",
            "5 bits are too few for the 81 weights of a group of 4: at least 7",
        ),
        ("tables: 31", "5 entries of 31 indices of 5 bits are 775 bits, more than a beat of 768"),
        ("weight_buffer: {double_buffered: true}", "3 regions have no halves"),
        ("group_size: 0", "group_size"),
        ("group_size: 9", "group_size"),
        ("table: {halfed: true}", "halved"),
        ("activation_dtype: int9", "unknown dtype 'int9'"),
        ("clock: 250", "clock"),
        ("host: {weight_dtypes: []}", "weight_dtypes"),
    ],
)
def test_what_is_wrong_is_said(said: Said, change: str, message: str) -> None:
    found = said(CORE.format(change))
    assert len(found) == 1
    assert message in found[0]


@pytest.mark.parametrize("change", ["group_size: 4\nindex: 7 bit\ntables: 20", "tables: 30"])
def test_other_cores_are_in_order(said: Said, change: str) -> None:
    assert said(CORE.format(change)) == []
