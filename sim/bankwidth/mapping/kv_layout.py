"""Where keys and values lie in the banks, with space kept for the tokens to come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cached_property

from bankwidth.devices.pim.program import ChannelProgram
from bankwidth.errors import MappingError
from bankwidth.mapping.dealing import ceil_div, shares_of
from bankwidth.mapping.pim_geometry import PimGeometry

KeyWrite = tuple[int, int, int]  # first column, columns, bank


@dataclass(frozen=True, kw_only=True, eq=False)  # no slots: it keeps what all addresses need
class KvLayout:
    """K and V of one layer for `batch` sequences of up to `reserved_tokens` tokens.

    K: a group is one token per bank; group g lies in channel g % channels, the groups of a channel
    below one another, the heads side by side; those whose queries fill the buffer share rows.
    V: a group is one element of one head per bank; each channel holds consecutive groups, one below
    the other, the tokens side by side.
    """

    geometry: PimGeometry
    n_heads: int
    n_kv_heads: int
    head_dim: int
    reserved_tokens: int
    batch: int = 1

    @cached_property
    def key_columns(self) -> int:
        """Columns of one head of one key."""
        return ceil_div(self.head_dim, self.geometry.lanes)

    @property
    def shared(self) -> int:
        """Heads of q that read one head of K and V."""
        return self.n_heads // self.n_kv_heads

    @property
    def held_heads(self) -> int:
        """Heads of q that the global buffer holds."""
        return self.geometry.buffer_columns // self.key_columns

    def blocks_of(self, channel: int) -> tuple[range, ...]:
        """Heads of K that a channel holds side by side, counted within the channel."""
        return self.key_blocks

    @cached_property
    def key_blocks(self) -> tuple[range, ...]:
        """Heads of K side by side: those whose queries the global buffer holds together."""
        most = max(1, self.held_heads // self.shared)
        heads = range(self.n_kv_heads)
        return tuple(heads[first : first + most] for first in range(0, self.n_kv_heads, most))

    @cached_property
    def value_columns(self) -> int:
        """Columns of one element of V over all tokens."""
        return ceil_div(self.reserved_tokens, self.geometry.lanes)

    @cached_property
    def _block_rows(self) -> list[int]:
        columns = self.token_groups(0, self.reserved_tokens) * self.key_columns
        return [ceil_div(columns * len(b), self.geometry.config.columns) for b in self.key_blocks]

    @cached_property
    def key_rows(self) -> int:
        """Rows per bank of the keys of one sequence."""
        return sum(self._block_rows)

    @cached_property
    def sequence_rows(self) -> int:
        """Rows per bank of one sequence."""
        columns = sum(self.value_heads(0)) * self.value_columns
        return self.key_rows + ceil_div(columns, self.geometry.config.columns)

    @property
    def rows(self) -> int:
        """Rows per bank, of the channels that have most."""
        return self.batch * self.sequence_rows

    def token_groups(self, channel: int, tokens: int) -> int:
        """Groups of K among the first `tokens` tokens that a channel holds."""
        groups = ceil_div(tokens, self.geometry.banks)
        return len(range(channel, groups, self.geometry.channels))

    def token_place(self, token: int) -> tuple[int, int, int]:
        """Channel, group within it, and bank of a key."""
        group, bank = divmod(token, self.geometry.banks)
        return group % self.geometry.channels, group // self.geometry.channels, bank

    def key_writes(self, sequence: int, channel: int, token: int) -> list[KeyWrite]:
        """What a channel holds of a key."""
        home, group, bank = self.token_place(token)
        if home != channel:
            return []
        return [
            (self.key(sequence, group, block, block.start), len(block) * self.key_columns, bank)
            for block in self.key_blocks
        ]

    def value_heads(self, channel: int) -> tuple[int, ...]:
        """Groups of V that a channel holds, per head of which it holds any."""
        per_head = ceil_div(self.head_dim, self.geometry.banks)
        dealt = shares_of(self.n_kv_heads * per_head, self.geometry.channels)
        groups = range(sum(dealt[:channel]), sum(dealt[: channel + 1]))
        return tuple(Counter(group // per_head for group in groups).values())

    def key(self, sequence: int, token_group: int, block: range, head: int) -> int:
        """First column of a head of a key in its bank; groups count within the channel."""
        blocks_before = block.start // len(self.key_blocks[0])
        row = sequence * self.sequence_rows + blocks_before * self._block_rows[0]
        column = (token_group * len(block) + head - block.start) * self.key_columns
        return row * self.geometry.config.columns + column

    def value(self, sequence: int, group: int, token: int) -> int:
        """Column of a token's elements of V in their banks; groups count within the channel."""
        row = sequence * self.sequence_rows + self.key_rows
        column = group * self.value_columns + token // self.geometry.lanes
        return row * self.geometry.config.columns + column

    def once(
        self, work: Hashable, make: Callable[[], tuple[ChannelProgram, ...]]
    ) -> tuple[ChannelProgram, ...]:
        """Programs over K or V: 16 steps of decode and more have the same, and share them."""
        if work not in self._made:
            self._made[work] = make()
        return self._made[work]

    @cached_property
    def _made(self) -> dict[Hashable, tuple[ChannelProgram, ...]]:
        return {}

    def check(self, name: str, tokens: int) -> None:
        """Raises MappingError if `tokens` tokens overrun what was reserved."""
        if tokens > self.reserved_tokens:
            raise MappingError(
                f"{name}: {tokens} tokens, but K and V have space for {self.reserved_tokens}, "
                f"{tokens - self.reserved_tokens} fewer; raise mapping.pim.reserve_tokens"
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class HeadsApartLayout(KvLayout):
    """As `KvLayout`, but a head of K and V lies whole in one channel, the tokens over its banks.

    Each channel then loads its own heads of q only, and some channels may hold one head more.
    """

    def blocks_of(self, channel: int) -> tuple[range, ...]:
        """Each head by itself."""
        return tuple(range(head, head + 1) for head in range(self._own_heads[channel]))

    @cached_property
    def _own_heads(self) -> list[int]:
        return shares_of(self.n_kv_heads, self.geometry.channels)

    @cached_property
    def key_rows(self) -> int:
        """Rows per bank of the keys of one sequence."""
        columns = self._own_heads[0] * self._reserved_groups * self.key_columns
        return ceil_div(columns, self.geometry.config.columns)

    @cached_property
    def _reserved_groups(self) -> int:
        return ceil_div(self.reserved_tokens, self.geometry.banks)

    def token_groups(self, channel: int, tokens: int) -> int:
        """Groups of K among the first `tokens` tokens: all channels with a head hold all."""
        return ceil_div(tokens, self.geometry.banks) if self._own_heads[channel] else 0

    def key(self, sequence: int, token_group: int, block: range, head: int) -> int:
        """First column of a head of a key in its bank; heads count within the channel."""
        column = (head * self._reserved_groups + token_group) * self.key_columns
        return sequence * self.sequence_rows * self.geometry.config.columns + column

    def key_writes(self, sequence: int, channel: int, token: int) -> list[KeyWrite]:
        """What a channel holds of a key."""
        group, bank = divmod(token, self.geometry.banks)
        return [
            (self.key(sequence, group, block, block.start), self.key_columns, bank)
            for block in self.blocks_of(channel)
        ]

    def value_heads(self, channel: int) -> tuple[int, ...]:
        """Groups of V that a channel holds, per head."""
        return (ceil_div(self.head_dim, self.geometry.banks),) * self._own_heads[channel]
