"""How times are taken: in a model, or by a benchmark that runs one operator over and over.

A benchmark keeps in the caches what no model does, and its times hold launches of its own. That is
a property of a measured table, not of a machine.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """`weight_copies`: distinct weights that a benchmark goes through before the first comes again.

    If all of them fit the L2, they are warm, as they never are between the layers of a model. 0: so
    many that none is. `replays_attention`: attention calls are replayed on the same buffers, with
    the kernels that a library's call starts beside attention (CaptureSpec).
    """

    weight_copies: int = 0
    replays_attention: bool = False


IN_A_MODEL = Timing()
