"""The page-mapped translation layer: where logical pages lie, appended writes, collection.

Every logical page has a home, by the striping order; a drive that was never written by a run holds
all its pages there. What is written is appended to the open block of its home's plane. When a plane
runs short of free blocks, the block with the most stale pages is collected: its valid pages move to
the open block and it is erased. The tables change when a write is taken up; the operations that
this takes are queued in the same order, so that a block is erased before it is written again.
"""

from __future__ import annotations

from numba import njit

from bankwidth.devices.nand.kernel_jit import inner
from bankwidth.devices.nand.kernel_rows import at_plane
from bankwidth.devices.nand.kernel_state import (
    B_ERASES,
    B_FREE_BLOCKS,
    B_HOLDER,
    B_LOG,
    B_MAPPED,
    B_STALE,
    B_WRITTEN,
    BY_CHANNEL,
    BY_CHIP,
    BY_DIE,
    ERASES,
    FREE,
    FREE_BLOCKS,
    HOLDER,
    HOME,
    IN_USE,
    K_BLOCKS,
    K_CHIPS,
    K_DIES,
    K_HOME_BLOCKS,
    K_LOGICAL_PAGES,
    K_PAGES,
    K_PLANES,
    K_STRIPE,
    L_FREE,
    L_FREE_HEAD,
    L_NEXT,
    L_OPEN,
    L_UNUSED,
    MAPPED,
    NOBODY,
    S_ERROR,
    S_LOG,
    S_LOGGED,
    S_MAPPED,
    STALE,
    WRITTEN,
    Ints,
    Words,
)


@inner
def keep(m: Ints, f: Words, x: Ints, which: int, index: int, old: int) -> None:
    """Remember a word that is about to change, for a return to the last snapshot."""
    if m[S_LOGGED]:
        at = m[S_LOG]
        row = m[B_LOG] + 3 * at
        x[row], x[row + 1], x[row + 2] = which, index, old
        m[S_LOG] = at + 1


@inner
def home(m: Ints, f: Words, x: Ints, lpa: int) -> int:
    """The physical page that a logical page has by the striping order alone."""
    rest = lpa
    channel = chip = die = plane = 0
    for i in range(4):
        number = m[K_STRIPE + 4 + i]
        place = rest % number
        rest //= number
        which = m[K_STRIPE + i]
        if which == BY_CHANNEL:
            channel = place
        elif which == BY_CHIP:
            chip = place
        elif which == BY_DIE:
            die = place
        else:
            plane = place
    flat = ((channel * m[K_CHIPS] + chip) * m[K_DIES] + die) * m[K_PLANES] + plane
    return int(flat * m[K_BLOCKS] * m[K_PAGES] + rest)


@inner
def at_home(m: Ints, f: Words, x: Ints, ppa: int) -> int:
    """The logical page whose home a physical page is; beyond the last one if none."""
    per_plane = m[K_BLOCKS] * m[K_PAGES]
    flat, rest = ppa // per_plane, ppa % per_plane
    plane, flat = flat % m[K_PLANES], flat // m[K_PLANES]
    die, flat = flat % m[K_DIES], flat // m[K_DIES]
    chip, channel = flat % m[K_CHIPS], flat // m[K_CHIPS]
    lpa = rest
    for i in range(3, -1, -1):
        which, number = m[K_STRIPE + i], m[K_STRIPE + 4 + i]
        if which == BY_CHANNEL:
            place = channel
        elif which == BY_CHIP:
            place = chip
        elif which == BY_DIE:
            place = die
        else:
            place = plane
        lpa = lpa * number + place
    return int(lpa)


@njit(cache=True)
def lookup(m: Ints, f: Words, x: Ints, lpa: int) -> int:
    """The physical page that holds a logical one."""
    mapped = f[m[B_MAPPED] + lpa] if m[S_MAPPED] else 0
    return home(m, f, x, lpa) if mapped == 0 else mapped - 1


@inner
def plane_of(m: Ints, f: Words, x: Ints, ppa: int) -> int:
    """The plane of a physical page, counted over the whole drive."""
    return int(ppa // (m[K_BLOCKS] * m[K_PAGES]))


@inner
def free_blocks_of(m: Ints, f: Words, x: Ints, plane: int) -> int:
    """Erased blocks of a plane."""
    return int(m[at_plane(m, plane) + L_FREE] + m[K_BLOCKS] - m[at_plane(m, plane) + L_UNUSED])


@inner
def _take_block(m: Ints, f: Words, x: Ints, plane: int) -> int:
    """An erased block of a plane, NOBODY if there is none."""
    row, blocks = at_plane(m, plane), m[K_BLOCKS]
    if m[row + L_FREE] > 0:
        block = f[m[B_FREE_BLOCKS] + plane * blocks + m[row + L_FREE_HEAD]]
        m[row + L_FREE_HEAD] = (m[row + L_FREE_HEAD] + 1) % blocks
        m[row + L_FREE] -= 1
        return int(block)
    if m[row + L_UNUSED] < blocks:
        m[row + L_UNUSED] += 1
        return int(m[row + L_UNUSED] - 1)
    return NOBODY


@inner
def _open_block(m: Ints, f: Words, x: Ints, plane: int) -> bool:
    block = _take_block(m, f, x, plane)
    if block == NOBODY:
        m[S_ERROR] = 1
        return False
    m[at_plane(m, plane) + L_OPEN], m[at_plane(m, plane) + L_NEXT] = block, 0
    flat = plane * m[K_BLOCKS] + block
    keep(m, f, x, WRITTEN, flat, f[m[B_WRITTEN] + flat])
    f[m[B_WRITTEN] + flat] = IN_USE
    return True


@inner
def needs_block(m: Ints, f: Words, x: Ints, plane: int) -> bool:
    """Whether the next write to a plane opens a block."""
    return bool(
        m[at_plane(m, plane) + L_OPEN] == NOBODY or m[at_plane(m, plane) + L_NEXT] == m[K_PAGES]
    )


@inner
def place(m: Ints, f: Words, x: Ints, lpa: int, plane: int) -> int:
    """Append a logical page to a plane: its new physical page, NOBODY when the plane is full."""
    if needs_block(m, f, x, plane) and not _open_block(m, f, x, plane):
        return NOBODY
    blocks, pages = m[K_BLOCKS], m[K_PAGES]
    row = at_plane(m, plane)
    ppa = (plane * blocks + m[row + L_OPEN]) * pages + m[row + L_NEXT]
    m[row + L_NEXT] += 1
    _forget(m, f, x, lpa)
    keep(m, f, x, MAPPED, lpa, f[m[B_MAPPED] + lpa])
    keep(m, f, x, HOLDER, ppa, f[m[B_HOLDER] + ppa])
    f[m[B_MAPPED] + lpa], f[m[B_HOLDER] + ppa] = ppa + 1, lpa + 1
    m[S_MAPPED] += 1
    return int(ppa)


@inner
def _forget(m: Ints, f: Words, x: Ints, lpa: int) -> None:
    """The page that holds `lpa` now becomes stale."""
    block = lookup(m, f, x, lpa) // m[K_PAGES]
    if f[m[B_MAPPED] + lpa] or block % m[K_BLOCKS] < m[K_HOME_BLOCKS]:
        keep(m, f, x, STALE, block, f[m[B_STALE] + block])
        f[m[B_STALE] + block] += 1


@inner
def held_by(m: Ints, f: Words, x: Ints, ppa: int) -> int:
    """The logical page that a physical one holds validly, NOBODY if none."""
    block = ppa // m[K_PAGES]
    if f[m[B_WRITTEN] + block] == HOME:
        lpa = at_home(m, f, x, ppa)
        valid = lpa < m[K_LOGICAL_PAGES] and f[m[B_MAPPED] + lpa] == 0
        return int(lpa) if valid else NOBODY
    lpa = f[m[B_HOLDER] + ppa] - 1
    return int(lpa) if lpa >= 0 and f[m[B_MAPPED] + lpa] == ppa + 1 else NOBODY


@inner
def victim_of(m: Ints, f: Words, x: Ints, plane: int) -> int:
    """The block of a plane with the most stale pages, NOBODY if none has any."""
    blocks, most, victim = m[K_BLOCKS], 0, NOBODY
    for block in range(m[at_plane(m, plane) + L_UNUSED]):
        flat = plane * blocks + block
        if (
            f[m[B_STALE] + flat] > most
            and f[m[B_WRITTEN] + flat] != FREE
            and block != m[at_plane(m, plane) + L_OPEN]
        ):
            most, victim = f[m[B_STALE] + flat], block
    return victim


@inner
def release(m: Ints, f: Words, x: Ints, plane: int, block: int) -> None:
    """A block is erased: it is free and nothing in it is stale."""
    blocks, row = m[K_BLOCKS], at_plane(m, plane)
    flat = plane * blocks + block
    keep(m, f, x, WRITTEN, flat, f[m[B_WRITTEN] + flat])
    keep(m, f, x, STALE, flat, f[m[B_STALE] + flat])
    keep(m, f, x, ERASES, flat, f[m[B_ERASES] + flat])
    f[m[B_WRITTEN] + flat], f[m[B_STALE] + flat] = FREE, 0
    f[m[B_ERASES] + flat] += 1
    at = plane * blocks + (m[row + L_FREE_HEAD] + m[row + L_FREE]) % blocks
    keep(m, f, x, FREE_BLOCKS, at, f[m[B_FREE_BLOCKS] + at])
    f[m[B_FREE_BLOCKS] + at] = block
    m[row + L_FREE] += 1
