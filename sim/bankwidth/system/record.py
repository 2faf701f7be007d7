"""What finished tasks and transfers left behind: when, and the parts a task's time is made of."""

from __future__ import annotations

from dataclasses import dataclass, field

# The parts of an operator's time; `bound` is what its work takes at the machine's peaks.
PARTS = ("wait", "launch", "fill", "bound", "quantisation", "row_miss", "refresh")


@dataclass(frozen=True, slots=True)
class Served:
    """What one transfer met in its memory: when it began and ended, how long refresh took."""

    start_ps: int
    end_ps: int
    refresh_ps: int


@dataclass(slots=True, kw_only=True)
class TaskRecord:
    """Times in ps. `parts` are in the order they happened and sum to end - start."""

    start_ps: int
    end_ps: int = 0
    parts: list[tuple[str, int]] = field(default_factory=list)
    bound_ps: int = 0
    bound: str = ""
    memory_ps: dict[str, int] = field(default_factory=dict)  # bytes moved, at the peak
    served_ps: dict[str, tuple[int, int]] = field(default_factory=dict)  # by memory: start, end

    def serve(self, memory: str, start_ps: int, end_ps: int) -> None:
        """A memory worked for the task from `start_ps` to `end_ps`; overlapping work is merged."""
        first, last = self.served_ps.get(memory, (start_ps, end_ps))
        self.served_ps[memory] = (min(first, start_ps), max(last, end_ps))


def split_body(
    *, body_ps: int, compute_ps: int, ideal_ps: int, memory_ps: int, bytes_ps: int, refresh_ps: int
) -> list[tuple[str, int]]:
    """A body of overlapped compute and memory as parts that sum to `body_ps`.

    The longer of the two explains the body: at the peaks it would take `bound`; waves and tiles
    that are not full (quantisation) or the DRAM's rows and refresh make it longer; what is left is
    load or drain that nothing overlapped (fill).
    """
    bound = min(body_ps, max(ideal_ps, bytes_ps))
    if compute_ps >= memory_ps:
        loss = [("quantisation", max(0, min(compute_ps, body_ps) - bound))]
    else:
        lost = max(0, min(memory_ps, body_ps) - bound)
        refresh = min(refresh_ps, lost)
        loss = [("row_miss", lost - refresh), ("refresh", refresh)]
    fill = body_ps - bound - sum(ps for _, ps in loss)
    return [("fill", fill), ("bound", bound), *loss]
