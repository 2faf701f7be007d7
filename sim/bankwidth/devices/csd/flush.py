"""What a drive writes: new keys and values once they fill pages.

They wait in the drive's DRAM and are programmed in the background, a page of K and one of V per
group for every `page_tokens` tokens, and with a second copy of K all pages of a block for every
`block_tokens`. (To make these the engine reads the block's keys once more: 16 pages for 256 tokens,
a part in a thousand of what attention read meanwhile, not counted.)
"""

from __future__ import annotations

from collections.abc import Iterator

from bankwidth.devices.csd.layout import KvLayout
from bankwidth.devices.csd.program import PageWrite


def writes(
    layout: KvLayout, tokens_before: int, tokens: int, base_page: int = 0
) -> tuple[PageWrite, ...]:
    """Pages that fill while a sequence grows from `tokens_before` to `tokens` tokens."""
    return tuple(_writes(layout, tokens_before, tokens, base_page))


def _writes(
    layout: KvLayout, tokens_before: int, tokens: int, base_page: int
) -> Iterator[PageWrite]:
    first, end = layout.full_pages(tokens_before), layout.full_pages(tokens)
    yield from _range(layout, base_page + first, end - first)
    yield from _range(layout, base_page + layout.first_value_page + first, end - first)
    block, last = layout.full_blocks(tokens_before), layout.full_blocks(tokens)
    indexed = base_page + layout.first_indexed_page + block * layout.block_pages
    yield from _range(layout, indexed, (last - block) * layout.block_pages)


def _range(layout: KvLayout, first_page: int, pages: int) -> Iterator[PageWrite]:
    if pages:
        yield PageWrite(
            first_page=first_page,
            pages=pages,
            groups=layout.groups,
            group_stride_pages=layout.group_pages,
        )
