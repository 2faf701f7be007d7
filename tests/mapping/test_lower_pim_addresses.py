"""Keys and values in computing banks: attention reads each where appending it put it, and once."""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import Any, ClassVar
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from bankwidth.devices.pim.program import MacroList, PimProgram
from bankwidth.mapping import lower_pim_attention
from bankwidth.mapping.kv_layout import KvLayout
from bankwidth.mapping.lower_pim_attention import lower_attention, lower_kv_append
from bankwidth.mapping.pim_geometry import PimGeometry, geometry_of
from bankwidth.spec import PimSpec

# (name, first column, columns, bank); WR_GB has no address
Stream = tuple[str, int, int, int]


class Recorder(MacroList):
    """Keeps the columns, which macros leave out."""

    built: ClassVar[list[tuple[Any, list[Stream]]]] = []

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.streams: list[Stream] = []

    def add(self, name: str, count: int = 1, row: int = 0, bank: int = -1) -> None:
        super().add(name, count, row, bank)
        if name == "WR_GB":
            self.streams.append((name, -1, count, -1))

    def add_stream(self, name: str, first: int, count: int, bank: int = -1) -> None:
        super().add_stream(name, first, count, bank)
        self.streams.append((name, first, count, bank))

    def build(self) -> Any:
        macros = super().build()
        Recorder.built.append((macros, self.streams))
        return macros


def _streams(program: PimProgram, channels: int) -> list[list[Stream]]:
    """Of each channel, in order; the last may be idle."""
    found: list[list[Stream]] = []
    for group in program.channels:
        (streams,) = (streams for macros, streams in Recorder.built if macros is group.macros)
        found += [streams] * group.channels
    return found + [[] for _ in range(channels - len(found))]


class Banks:
    """What lies in each column, filled by appending one token after the other."""

    def __init__(self, layout: KvLayout, tokens: int) -> None:
        self.layout, self.tokens = layout, tokens
        self.channels, self.banks = layout.geometry.channels, layout.geometry.banks
        self.keys: dict[tuple[int, int, int], tuple[int, ...]] = {}  # channel, bank, column
        self.values: dict[tuple[int, int, int], tuple[int, ...]] = {}  # channel, column, lane
        for token in range(tokens):
            self._append(token, lower_kv_append(layout, first_token=token))

    def _append(self, token: int, program: PimProgram) -> None:
        layout = self.layout
        keys = product(range(layout.batch), range(layout.n_kv_heads), range(layout.key_columns))
        next_group = 0
        for channel, streams in enumerate(_streams(program, self.channels)):
            for name, first, count, bank in streams:
                if name != "WR_SBK":
                    continue
                assert channel * self.banks + bank == token % (self.channels * self.banks)
                for column in range(first, first + count):
                    place = (channel, bank, column)
                    assert place not in self.keys
                    sequence, head, part = next(keys)
                    self.keys[place] = (sequence, head, token, part)
            next_group = self._append_values(channel, streams, token, next_group)
        assert next(keys, None) is None
        assert next_group == layout.n_kv_heads * -(-layout.head_dim // self.banks)

    def _append_values(
        self, channel: int, streams: list[Stream], token: int, first_group: int
    ) -> int:
        columns = [first for name, first, _, _ in streams if name == "WR_ABK"]
        groups, rest = divmod(len(columns), self.layout.batch)
        assert rest == 0
        for i, column in enumerate(columns):
            place = (channel, column, token % self.layout.geometry.lanes)
            assert place not in self.values
            sequence, group = divmod(i, max(groups, 1))
            self.values[place] = (sequence, first_group + group, token)
        return first_group + groups

    def check_apart(self) -> None:
        """No column has both, and all are within the rows."""
        keys = {(channel, column) for channel, _, column in self.keys}
        values = {(channel, column) for channel, column, _ in self.values}
        assert not keys & values
        last = self.layout.rows * self.layout.geometry.config.columns - 1
        assert max(column for _, column in keys | values) <= last

    def key_group(self, channel: int, first: int) -> tuple[int, int, list[int]]:
        """Sequence, head and tokens of what one dot product reads; all parts, all banks alike."""
        found = [
            (self.keys[place], part, bank)
            for bank in range(self.banks)
            for part in range(self.layout.key_columns)
            if (place := (channel, bank, first + part)) in self.keys
        ]
        ((sequence, head),) = {(key[0], key[1]) for key, _, _ in found}
        assert all(key[3] == part for key, part, _ in found)
        assert all(key[2] % self.banks == bank for key, _, bank in found)
        tokens = [key[2] for key, part, _ in found if part == 0]
        assert len(found) == len(tokens) * self.layout.key_columns
        return sequence, head, tokens

    def value_piece(self, channel: int, first: int, columns: int) -> tuple[int, int, range]:
        """Sequence, group and tokens of what one dot product reads, in the order of the tokens."""
        lanes = self.layout.geometry.lanes
        places = product([channel], range(first, first + columns), range(lanes))
        found = [self.values.get(place) for place in places]
        ((sequence, group),) = {value[:2] for value in found if value}
        tokens = [value[2] if value else None for value in found]
        assert tokens[0] is not None
        piece = range(tokens[0], min(tokens[0] + len(tokens), self.tokens))
        assert tokens == [*piece, *[None] * (len(tokens) - len(piece))]
        return sequence, group, piece


def _read_keys(banks: Banks, streams: list[Stream], channel: int) -> Counter[tuple[int, ...]]:
    """Times that each (sequence, query, token) is computed; queries are loaded in their order."""
    layout = banks.layout
    seen: Counter[tuple[int, ...]] = Counter()
    query, loaded, position = 0, 0, 0
    for name, first, count, _ in streams:
        if name == "WR_GB":
            assert position == 0
            query, loaded = (query + loaded) % layout.n_heads, count // layout.key_columns
            assert loaded * layout.key_columns == count
            continue
        assert count == layout.key_columns
        sequence, head, tokens = banks.key_group(channel, first)
        assert head == (query + position) // layout.shared
        seen.update((sequence, query + position, token) for token in tokens)
        position = (position + 1) % loaded
    return seen


def _read_values(banks: Banks, streams: list[Stream], channel: int) -> Counter[tuple[int, ...]]:
    """Times that each (sequence, group, token) is computed; one head and piece for each load."""
    per_head = -(-banks.layout.head_dim // banks.banks)
    seen: Counter[tuple[int, ...]] = Counter()
    of_load: set[tuple[int, int, range]] = set()
    loads: Counter[tuple[int, int, range]] = Counter()
    columns = 0
    for name, first, count, _ in streams:
        if name == "WR_GB":
            loads.update(of_load)
            of_load, columns = set(), count
            continue
        assert count == columns
        sequence, group, tokens = banks.value_piece(channel, first, count)
        of_load.add((sequence, group // per_head, tokens))
        assert len(of_load) == 1
        seen.update((sequence, group, token) for token in tokens)
    loads.update(of_load)
    assert set(loads.values()) <= {banks.layout.shared}
    return seen


@settings(max_examples=40, deadline=None)
@given(
    kv_heads=st.integers(1, 20),
    shared=st.sampled_from([1, 1, 2, 3]),
    head_dim=st.sampled_from([16, 64, 80, 128]),
    tokens=st.integers(1, 150),
    spare=st.integers(0, 100),
    batch=st.integers(1, 2),
    channels=st.sampled_from([1, 3, 8]),
    banks=st.sampled_from([4, 16]),
    buffer_bytes=st.sampled_from([256, 2048]),
)
def test_each_element_is_read_once_from_where_it_was_written(
    spec: PimSpec,
    kv_heads: int,
    shared: int,
    head_dim: int,
    tokens: int,
    spare: int,
    batch: int,
    channels: int,
    banks: int,
    buffer_bytes: int,
) -> None:
    changed = spec.model_copy(update={"banks": banks, "buffer_bytes": buffer_bytes})
    layout = KvLayout(
        geometry=geometry_of(changed, channels),
        n_heads=kv_heads * shared,
        n_kv_heads=kv_heads,
        head_dim=head_dim,
        reserved_tokens=tokens + spare,
        batch=batch,
    )
    keys: Counter[tuple[int, ...]] = Counter()
    values: Counter[tuple[int, ...]] = Counter()
    Recorder.built.clear()
    with patch.object(lower_pim_attention, "MacroList", Recorder):
        memory = Banks(layout, tokens)
        programs = lower_attention(layout, kv_len=tokens)
        for channel, streams in enumerate(_streams(programs.score, channels)):
            keys += _read_keys(memory, streams, channel)
        for channel, streams in enumerate(_streams(programs.context, channels)):
            values += _read_values(memory, streams, channel)
    memory.check_apart()
    groups = kv_heads * -(-head_dim // banks)
    assert keys == Counter(product(range(batch), range(layout.n_heads), range(tokens)))
    everything = list(product(range(batch), range(groups), range(tokens))) * shared
    assert values == Counter(everything)


@settings(max_examples=30, deadline=None)
@given(
    heads=st.integers(1, 20),
    head_dim=st.sampled_from([16, 64, 80, 128]),
    first=st.integers(0, 200),
    tokens=st.integers(1, 40),
    batch=st.integers(1, 2),
)
def test_a_prompt_is_appended_where_its_tokens_would_be(
    geometry: PimGeometry, heads: int, head_dim: int, first: int, tokens: int, batch: int
) -> None:
    layout = KvLayout(
        geometry=geometry,
        n_heads=heads,
        n_kv_heads=heads,
        head_dim=head_dim,
        reserved_tokens=256,
        batch=batch,
    )
    Recorder.built.clear()
    with patch.object(lower_pim_attention, "MacroList", Recorder):
        whole = _streams(lower_kv_append(layout, first_token=first, tokens=tokens), 8)
        parts = [
            _streams(lower_kv_append(layout, first_token=token), 8)
            for token in range(first, first + tokens)
        ]
    for channel in range(8):
        one_by_one = [stream for part in parts for stream in part[channel]]
        assert Counter(whole[channel]) == Counter(one_by_one)
