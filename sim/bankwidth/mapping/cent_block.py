"""CENT's mapping: one transformer block of a Llama model as AiM commands and plain bursts.

From the behaviour of CENT's published simulator (ASPLOS'25; github.com/Yufeng98/CENT, MIT: what
cent_simulation/ writes as traces):

- A matrix's outputs go to banks in equal runs; a piece of the input (a row, 1024 elements) is
  written to the global buffer once, up to 32 result registers are loaded with the sums so far,
  multiplied, and read out again: no partial sums are left to anybody else.
- An activation function leaves 16 registers; the table's row is opened for it in all banks.
- RMSNorm, rotary embedding, softmax scaling and the gate are element-wise products in the banks:
  operands go to banks 0 and 1 of each bank group as plain bursts, the result is read from bank 2.
- A key lies in one bank (token t in bank t modulo all banks), a value over all banks, one element
  of 16 of a head at a time; a channel holds whole heads of V.
- Devices of a tensor-parallel group share the weights' outputs and the keys, not the rest.
- A device with fewer channels per block holds several blocks: all run alike, and their plain
  bursts share the port.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bankwidth.devices.pim.config import PimConfig
from bankwidth.mapping.cent_steps import Step, StepList

GROUP_BANKS: Final = 4  # banks of a group: two operands, a result, one unused
FIRST, SECOND, RESULT = range(3)  # banks of a group
REGISTERS: Final = 32  # result registers that a program uses
LONGEST_TOKENS: Final = 4096  # tokens that V has rows for


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaShape:
    """Sizes of a Llama model's block and of its vocabulary."""

    hidden: int
    heads: int
    kv_heads: int
    ffn: int
    vocab: int

    @property
    def head_dim(self) -> int:
        return self.hidden // self.heads

    @property
    def shared(self) -> int:
        """Heads of q that read one head of K and V."""
        return self.heads // self.kv_heads


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockPlace:
    """Where a block lies: `channels` of each of `devices` devices; equal blocks fill a device."""

    channels: int
    device_channels: int
    devices: int = 1

    @property
    def copies(self) -> int:
        """Blocks on a device."""
        return self.device_channels // self.channels

    @property
    def busy_channels(self) -> int:
        return self.copies * self.channels


class CentBlock:
    """Makes the steps of one device: of the whole block, its products alone, or the embeddings."""

    def __init__(self, config: PimConfig, shape: LlamaShape, place: BlockPlace) -> None:
        self._config = config
        self._shape = shape
        self._place = place
        self._lanes = config.burst_bytes // 2
        self._row = config.columns * self._lanes  # elements
        self._banks = place.channels * config.banks
        self._weight_banks = self._banks * place.devices
        self._steps = StepList(config)

    def block(self, tokens: int) -> tuple[Step, ...]:
        """A decode step of one block with `tokens` tokens in the cache, the new one included."""
        shape = self._shape
        self._norm("x", "attention_norm")
        self._query_key_value()
        self._rotate()
        self._append(tokens)
        self._score(tokens)
        for _ in ("scale", "normalise"):
            self._scale_scores(tokens)
        self._context(tokens)
        self._product("o", shape.hidden, shape.hidden)
        self._norm("attended", "ffn_norm")
        self._product("gate", shape.hidden, shape.ffn, is_activated=True)
        self._product("up", shape.hidden, shape.ffn)
        self._gate()
        self._product("down", shape.ffn, shape.hidden)
        return self._steps.build()

    def products(self) -> tuple[Step, ...]:
        """What the other devices of a tensor-parallel group do: the products with weights."""
        shape = self._shape
        self._query_key_value()
        self._product("o", shape.hidden, shape.hidden)
        self._product("gate", shape.hidden, shape.ffn, is_activated=True)
        self._product("up", shape.hidden, shape.ffn)
        self._product("down", shape.ffn, shape.hidden)
        return self._steps.build()

    def embeddings(self) -> tuple[Step, ...]:
        """Both embeddings as products with the vocabulary, and the norm between them."""
        shape = self._shape
        self._product("embedding", shape.vocab, shape.hidden)
        self._norm("x", "attention_norm", is_loaded=True)
        self._product("lm_head", shape.hidden, shape.vocab)
        return self._steps.build()

    # ---- products with weights

    def _query_key_value(self) -> None:
        shape = self._shape
        self._product("q", shape.hidden, shape.hidden)
        self._product("k", shape.hidden, shape.kv_heads * shape.head_dim)
        self._product("v", shape.hidden, shape.kv_heads * shape.head_dim)

    def _product(self, name: str, inputs: int, outputs: int, *, is_activated: bool = False) -> None:
        columns = _ceil(outputs, self._weight_banks)
        pieces = _ceil(inputs, self._row)
        first = self._steps.row(name, columns * pieces)
        runs = _runs(columns, REGISTERS // 2 if is_activated else REGISTERS)
        for piece in range(pieces):
            bursts = self._bursts_of_piece(inputs, piece)
            self._command("WR_GB", bursts)
            for run in runs:
                rows = [first + column * pieces + piece for column in run]
                self._accumulate(rows, bursts, activates=is_activated and piece == pieces - 1)

    def _accumulate(self, rows: list[int], bursts: int, *, activates: bool) -> None:
        """One register per row: load it, multiply, pass it through the table, read it."""
        self._command("WR_BIAS", len(rows))
        for row in rows:
            self._command("MAC_ABK", bursts, row)
        if activates:
            for _ in rows:
                self._command("AF", 1, self._config.rows - 1)
                self._command("RD_AF", 1)
        self._command("RD_MAC", len(rows))

    # ---- element-wise products

    def _norm(self, vector: str, norm: str, *, is_loaded: bool = False) -> None:
        """Square sum of a vector, then two products: by the scale, by the norm's weights."""
        pair_length = _ceil(self._shape.hidden, self._banks // 2)
        pairs = _ceil(self._shape.hidden, pair_length)
        source = self._steps.row(vector)
        if not is_loaded:
            for side in (FIRST, SECOND):
                self._spread(side, 2, pairs, source, pair_length)
        self._command("WR_BIAS", 1)
        self._command("MAC_ABK", self._bursts_of(pair_length), source)
        self._command("RD_MAC", 1)
        length, groups = self._group_share(self._shape.hidden)
        scaled, weighted = self._steps.row(f"{vector}.copy"), self._steps.row(norm)
        for side in (SECOND,) if is_loaded else (FIRST, SECOND):
            self._spread(side, GROUP_BANKS, groups, scaled, length)
        self._multiply(scaled, length)
        self._copy_results([(scaled, weighted, length)])
        self._multiply(weighted, length)
        self._spread(RESULT, GROUP_BANKS, groups, weighted, length, is_write=False)
        self._steps.wait()

    def _rotate(self) -> None:
        """Rotary embedding of q and k. The simulator charges the results' way back as writes."""
        shape = self._shape
        length, groups = self._group_share(shape.hidden)
        parts = [
            (self._steps.row("q.rotated"), length * 2, shape.hidden),
            (
                self._steps.row("k.rotated"),
                length // shape.shared * 2,
                shape.hidden // shape.shared,
            ),
        ]
        for row, size, _ in parts:
            self._spread(SECOND, GROUP_BANKS, groups, row, size)
        for row, _, elements in parts:
            self._command("EWMUL", elements // self._lanes, row)
        for row, size, _ in parts:
            self._spread(RESULT, GROUP_BANKS, groups, row, size)

    def _gate(self) -> None:
        """gate x sigmoid(gate) x up. A vector longer than a row per group takes two rows."""
        parts = self._gate_parts()
        is_split = len(parts) > 1
        for side in (SECOND, FIRST) if is_split else (FIRST, SECOND):
            self._spread_parts(side, parts)
        for row, length, _ in parts:
            self._multiply(row, length)
        self._copy_results([(row, row, length) for row, length, _ in parts])
        self._spread_parts(SECOND if is_split else FIRST, parts)
        for row, length, _ in parts:
            self._multiply(row, length)
        self._spread_parts(RESULT, parts, is_write=False)
        self._steps.wait()

    def _gate_parts(self) -> list[tuple[int, int, int]]:
        """(row, elements per group, groups) of what one row per group holds."""
        at_once = self._banks // GROUP_BANKS * self._row
        sizes = [min(at_once, self._shape.ffn)]
        if self._shape.ffn > at_once:
            sizes.append(self._shape.ffn - at_once)
        rows = [self._steps.row(f"gated.{index}") for index in range(len(sizes))]
        return [(row, *self._group_share(size)) for row, size in zip(rows, sizes, strict=True)]

    def _spread_parts(
        self, side: int, parts: list[tuple[int, int, int]], *, is_write: bool = True
    ) -> None:
        for row, length, groups in parts:
            self._spread(side, GROUP_BANKS, groups, row, length, is_write=is_write)

    def _multiply(self, row: int, length: int) -> None:
        self._command("EWMUL", self._bursts_of(length), row)

    def _copy_results(self, copies: list[tuple[int, int, int]]) -> None:
        """Results become second operands, group by group, by way of the global buffer."""
        for bank in range(RESULT, self._config.banks, GROUP_BANKS):
            for row, _, length in copies:
                self._command("COPY_BKGB", self._bursts_of(length), row, bank)
            for _, row, length in copies:
                self._command("COPY_GBBK", self._bursts_of(length), row, bank - 1)

    # ---- attention

    def _append(self, tokens: int) -> None:
        """The new token's key goes to one bank, its values to all banks of each channel."""
        shape, seen = self._shape, tokens - 1
        bank = seen % self._weight_banks % self._config.banks
        rows = shape.head_dim * shape.kv_heads // self._row
        turn, first = seen // self._weight_banks, self._keys(tokens)
        for row in range(rows):
            self._steps.bursts(
                [bank],
                first + turn * rows + row,
                rounds=self._config.columns,
                requests=self._place.copies,
                is_write=True,
            )
        offset = max(_ceil(seen, self._row) - 1, 0)
        channels = min(self._place.channels, shape.kv_heads)
        for row in self._value_rows():
            self._steps.command("WR_ABK", 1, row + offset, channels=channels)

    def _score(self, tokens: int) -> None:
        """q K^T: the heads of a row one after the other, for each head of q that shares them."""
        shape = self._shape
        pieces = _ceil(shape.head_dim * shape.kv_heads, self._row)
        turns = _ceil(tokens, self._weight_banks)
        for piece in range(pieces):
            for turn in range(turns):
                row = self._keys(tokens) + turn * pieces + piece
                for _ in range(shape.shared):
                    self._command("WR_GB", self._config.columns)
                    for _ in range(self._row // shape.head_dim):
                        self._accumulate([row], shape.head_dim // self._lanes, activates=False)

    def _scale_scores(self, tokens: int) -> None:
        """All scores times a factor: to the banks, multiply, and back."""
        for side in (FIRST, SECOND):
            self._spread_scores(side, tokens)
        pieces, first = _ceil(tokens, self._row), self._scores(tokens)
        for turn in range(self._score_turns):
            for piece in range(pieces):
                bursts = self._bursts_of_piece(tokens, piece)
                self._command("EWMUL", bursts, first + turn * pieces + piece)
        self._spread_scores(RESULT, tokens, is_write=False)
        self._steps.wait()

    def _spread_scores(self, side: int, tokens: int, *, is_write: bool = True) -> None:
        """A head's scores lie in one bank group, several heads' in as many rows."""
        pieces, turns = _ceil(tokens, self._row), self._score_turns
        for piece in range(pieces):
            for turn in range(turns):
                groups = _ceil(self._shape.heads - turn, turns)
                row = self._scores(tokens) + turn * pieces + piece
                size = min(self._row, tokens - piece * self._row)
                self._spread(side, GROUP_BANKS, groups, row, size, is_write=is_write)

    def _context(self, tokens: int) -> None:
        """p V: 16 elements of a head at a time, a row of probabilities in the global buffer."""
        shape = self._shape
        rows_of_head = shape.head_dim // self._config.banks
        heads = _batched(self._value_rows(), rows_of_head)
        for rows in heads:
            for _ in range(shape.shared):
                for piece in range(_ceil(tokens, self._row)):
                    bursts = self._bursts_of_piece(tokens, piece)
                    self._command("WR_GB", bursts)
                    for row in rows:
                        self._accumulate([row + piece], bursts, activates=False)

    @property
    def _score_turns(self) -> int:
        """Heads whose scores share a bank group."""
        return _ceil(self._shape.heads, self._place.channels * GROUP_BANKS)

    def _scores(self, tokens: int) -> int:
        return self._steps.row("scores", _ceil(tokens, self._row) * self._score_turns)

    def _keys(self, tokens: int) -> int:
        shape = self._shape
        rows = shape.head_dim * shape.kv_heads // self._row
        turns = _ceil(max(tokens, LONGEST_TOKENS), self._weight_banks)
        return self._steps.row("keys", rows * turns)

    def _value_rows(self) -> list[int]:
        """First row of each run of 16 elements of the heads of a channel."""
        shape = self._shape
        heads = _ceil(shape.kv_heads, self._place.channels)
        runs = heads * shape.head_dim // self._config.banks
        step = LONGEST_TOKENS // self._row
        first = self._steps.row("values", runs * step)
        return [first + run * step for run in range(runs)]

    # ---- shares and bursts

    def _group_share(self, elements: int) -> tuple[int, int]:
        """(elements per bank group, groups with any) of a vector over all bank groups."""
        length = _ceil(elements, self._banks // GROUP_BANKS)
        return length, _ceil(elements, length)

    def _spread(
        self, side: int, stride: int, parts: int, row: int, size: int, *, is_write: bool = True
    ) -> None:
        """`size` elements for each of `parts` parts of `stride` banks: to its bank `side`."""
        per_channel = self._config.banks // stride
        last = parts - per_channel * (_ceil(parts, per_channel) - 1)
        self._steps.bursts(
            [part * stride + side for part in range(last)],
            row,
            rounds=self._bursts_of(size),
            requests=parts * self._place.copies,
            is_write=is_write,
        )

    def _bursts_of(self, elements: int) -> int:
        return _ceil(elements, self._lanes)

    def _bursts_of_piece(self, elements: int, piece: int) -> int:
        """Bursts of the `piece`-th row of a vector."""
        return self._bursts_of(min(self._row, elements - piece * self._row))

    def _command(self, name: str, count: int, row: int = 0, bank: int = -1) -> None:
        self._steps.command(name, count, row, channels=self._place.busy_channels, bank=bank)


def _runs(total: int, most: int) -> list[range]:
    """`total` columns in equal runs of at most `most`."""
    runs = _ceil(total, most)
    length = _ceil(total, runs)
    return [range(first, min(first + length, total)) for first in range(0, total, length)]


def _batched(rows: list[int], size: int) -> list[list[int]]:
    return [rows[first : first + size] for first in range(0, len(rows), size)]


def _ceil(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)
