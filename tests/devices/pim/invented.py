"""A design that nobody built: levels, windows, modes, a queue; small enough to compute by hand."""

from __future__ import annotations

from pathlib import Path

import yaml

from bankwidth.spec import PimSpec, load_device

DESIGN = """
schema_version: 1
kind: pim
name: invented
title: Invented, two ranks of two groups of two banks
source: tests
clock: 1 GHz
banks: 8
levels: {rank: 2, bank_group: 2, bank: 2}
accesses: [plain, computing]
rows: 64
row: 256 B
burst: 32 B
lanes: 16
buffer: 256 B
accumulators: 1
refresh_interval: 1000 ns
commands:
  ACT: {role: activate, banks: one, access: any, done: 1 ck, energy: 1 pJ}
  ACT_SB: {role: activate, banks: [bank], access: any, done: 1 ck, energy: 4 pJ}
  PRE: {role: precharge, banks: one, access: any, done: 1 ck, energy: 0 pJ}
  PRE_SB: {role: precharge, banks: [bank], access: any, done: 1 ck, energy: 0 pJ}
  PRE_ALL: {role: precharge, banks: all, access: any, done: 1 ck, energy: 0 pJ}
  REF: {role: refresh, banks: all, access: any, done: 1 ck, energy: 8 pJ}
  RD: {role: column, banks: one, access: plain, moves: out, done: 6 ck, energy: 1 pJ}
  WR: {role: column, banks: one, access: plain, moves: in, done: 3 ck, energy: 1 pJ}
  GO: {role: column, banks: one, access: plain, enters: computing, done: 3 ck, energy: 1 pJ}
  MAC: {role: column, banks: [bank], access: computing, done: 4 ck, energy: 2 pJ}
  LOAD: {role: register, banks: none, access: computing, moves: in, done: 2 ck, energy: 1 pJ}
  STOP: {role: register, banks: none, access: computing, enters: plain, done: 1 ck, energy: 1 pJ}
gaps:
  - {before: [RD, WR, GO], after: [RD, WR, GO], gap: 2 ck}
  - {before: [RD, WR, GO], after: [RD, WR, GO], scope: bank_group, gap: 3 ck}
  - {before: [MAC], after: [MAC], gap: 3 ck}
  - {before: [LOAD], after: [LOAD], gap: 2 ck}
  - {before: [ACT, ACT_SB], after: [RD, WR, GO, MAC], scope: bank, gap: 5 ck}
  - {before: [ACT, ACT_SB], after: [PRE, PRE_SB, PRE_ALL], scope: bank, gap: 8 ck}
  - {before: [RD, WR, GO, MAC], after: [PRE, PRE_SB, PRE_ALL], scope: bank, gap: 4 ck}
  - {before: [PRE, PRE_SB, PRE_ALL], after: [ACT, ACT_SB, REF], scope: bank, gap: 5 ck}
  - {before: [REF], after: ["*"], gap: 20 ck}
windows:
  - {commands: [ACT], scope: rank, count: 2, window: 12 ck}
controller: {order: ORDER, queue: QUEUE, rows_ahead: AHEAD, row_and_column: BUSES, barrier: BARRIER}
background: {open: 1 mW, closed: 1 mW}
"""


def invented(
    folder: Path,
    *,
    order: str = "first_ready",
    queue: int = 16,
    rows_ahead: bool = True,
    row_and_column: bool = False,
    barrier: str = "complete",
) -> PimSpec:
    """The design with a controller of the caller's choice."""
    text = DESIGN
    for word, value in (
        ("ORDER", order), ("QUEUE", queue), ("AHEAD", rows_ahead), ("BUSES", row_and_column),
        ("BARRIER", barrier),
    ):  # fmt: skip
        text = text.replace(word, str(value).lower())
    assert yaml.safe_load(text)
    file = folder / "invented.yaml"
    file.write_text(text)
    spec = load_device(str(file))
    assert isinstance(spec, PimSpec)
    return spec
