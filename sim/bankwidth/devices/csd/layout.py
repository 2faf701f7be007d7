"""Where keys and values of one layer lie in the pages of a drive.

From InstInfer (HPCA 2025, 10.1109/HPCA61900.2025.00113): a token-indexed page holds consecutive
tokens of one head, all its channels (16 tokens x 128 channels x 2 bytes = 4 KiB); pages go to the
flash channels in turn in the order of their tokens. For sparse attention K is stored a second time,
channel-indexed: a page holds a few neighbouring channels of many tokens.

Logical page numbers here are head by head, so that a group (one head of one sequence) reads
consecutive ones; the drive's striping makes consecutive pages channels in turn, then dies, and
groups begin on the dies in turn. (As published, pages of many heads share a block: the drive
appends what is written together. Which die that is differs from one group of tokens to the next.)
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

from bankwidth.errors import MappingError


@dataclass(frozen=True, slots=True, kw_only=True)
class KvLayout:
    """Pages of one layer, counted from its first: per group K, V and the second copy of K.

    Each of the three has space for `tokens` tokens, and begins at the first flash channel.
    """

    page_bytes: int
    element_bytes: int
    head_dim: int
    groups: int  # heads of K and V of all sequences, on one drive
    tokens: int  # that a sequence may have
    flash_channels: int
    key_channels: int = 0  # per page of the second copy of K; 0: there is none
    period_pages: int = 1  # a layer takes a multiple of these: its pages lie on dies as the first's

    def __post_init__(self) -> None:
        if not self.page_tokens:
            raise MappingError(
                f"a head of {self.head_dim * self.element_bytes} bytes per token does not fit a "
                f"flash page of {self.page_bytes} bytes"
            )
        if self.key_channels and self.head_dim % self.key_channels:
            raise MappingError(
                f"mapping.csd.key_channels: {self.key_channels} channels per page do not divide "
                f"the {self.head_dim} channels of a head"
            )

    @property
    def page_elements(self) -> int:
        """Numbers that a page holds."""
        return self.page_bytes // self.element_bytes

    @property
    def page_tokens(self) -> int:
        """Tokens of a token-indexed page."""
        return self.page_elements // self.head_dim

    @property
    def block_tokens(self) -> int:
        """Tokens of a channel-indexed page; 0 where there are none."""
        if not self.key_channels:
            return 0
        # whole token pages, so that what is not indexed yet begins with one
        return self.page_elements // self.key_channels // self.page_tokens * self.page_tokens

    @property
    def block_pages(self) -> int:
        """Channel-indexed pages that hold all channels of `block_tokens` tokens."""
        return self.head_dim // self.key_channels if self.key_channels else 0

    @property
    def token_region_pages(self) -> int:
        """Pages kept for K, and for V, of a group."""
        return self._striped(-(-self.tokens // self.page_tokens))

    @property
    def indexed_region_pages(self) -> int:
        """Pages kept for the second copy of K of a group."""
        if not self.key_channels:
            return 0
        return self._striped(-(-self.tokens // self.block_tokens) * self.block_pages)

    @property
    def group_pages(self) -> int:
        """Pages kept for a group: neighbouring ones begin on different dies, all dies in turn."""
        stripes = (2 * self.token_region_pages + self.indexed_region_pages) // self.flash_channels
        of_channel = max(1, self.period_pages // self.flash_channels)
        while gcd(stripes, of_channel) > 1:
            stripes += 1
        return stripes * self.flash_channels

    @property
    def layer_pages(self) -> int:
        """Pages kept for the layer."""
        return -(-self.groups * self.group_pages // self.period_pages) * self.period_pages

    @property
    def first_value_page(self) -> int:
        """V of a group, from the group's first page on."""
        return self.token_region_pages

    @property
    def first_indexed_page(self) -> int:
        """Second copy of K of a group, from the group's first page on."""
        return 2 * self.token_region_pages

    def key_page(self, group: int, token: int) -> int:
        """The token-indexed page that holds a key."""
        return group * self.group_pages + token // self.page_tokens

    def value_page(self, group: int, token: int) -> int:
        """The page that holds a value."""
        return self.key_page(group, token) + self.first_value_page

    def indexed_page(self, group: int, token: int, channel: int) -> int:
        """The channel-indexed page that holds one channel of a key."""
        block = token // self.block_tokens * self.block_pages
        first = group * self.group_pages + self.first_indexed_page
        return first + block + channel // self.key_channels

    def flash_channel(self, page: int) -> int:
        """The flash channel of a page, where the drive's striping begins with channels."""
        return page % self.flash_channels

    def full_pages(self, tokens: int) -> int:
        """Token-indexed pages of K, and of V, that `tokens` tokens fill."""
        return tokens // self.page_tokens

    def full_blocks(self, tokens: int) -> int:
        """Blocks of channel-indexed pages that `tokens` tokens fill."""
        return tokens // self.block_tokens if self.key_channels else 0

    def indexed_token_pages(self, tokens: int) -> int:
        """Token-indexed pages of K whose tokens the second copy holds as well."""
        return self.full_blocks(tokens) * self.block_tokens // self.page_tokens

    def _striped(self, pages: int) -> int:
        return -(-pages // self.flash_channels) * self.flash_channels
