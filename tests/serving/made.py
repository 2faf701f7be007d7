"""Requests and runs that tests of serving share."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from bankwidth.serving.iteration import FakePricing, Room
from bankwidth.serving.requests import Request, Requests, requests_of
from bankwidth.serving.run import ServingResult, sequences_of, serve_priced
from bankwidth.serving.scheduler import Instance
from bankwidth.serving.sequence import Sequence
from bankwidth.spec.serving import ServingSpec, serving_spec

KV_BYTES = 1000  # of a token
PRICING = FakePricing(base_ps=1_000_000, per_token_ps=1_000, per_kv_token_ps=10, idle_mw=5.0)
ENOUGH = 10_000


def room(tokens: int = ENOUGH, **more: Any) -> Room:
    """A machine with room for so many tokens."""
    return Room(kv_bytes=tokens * KV_BYTES, kv_bytes_per_token=KV_BYTES, **more)


def requests(*rows: tuple[int, int, int]) -> Requests:
    """Requests of (arrival in us, prompt, output)."""
    return requests_of(Request(us * 10**6, prompt, output) for us, prompt, output in rows)


def run(
    asked: Requests, tokens: int = ENOUGH, *, swap_bytes_per_ns: float = 1.0, **options: Any
) -> ServingResult:
    """Requests on a machine with room for so many tokens."""
    return serve_priced(
        asked,
        serving_spec({"watermark": 0.0} | options),
        pricing=PRICING,
        room=room(tokens, swap_bytes_per_ns=swap_bytes_per_ns),
    )


def stepped(asked: Requests, spec: ServingSpec, tokens: int) -> tuple[Instance, list[Sequence]]:
    """The same, with the counts of blocks checked after every iteration."""
    machine = Instance(
        spec, room(tokens, swap_bytes_per_ns=1.0), PRICING, has_hashes=asked.has_hashes
    )
    sequences = sequences_of(asked)
    for each in sequences:
        machine.submit(each)
    while machine.next_ps is not None:
        machine.step()
        machine.verify()
    return machine, sequences


def _sums(gaps: list[int]) -> list[int]:
    times, now = [], 0
    for gap in gaps:
        now += gap
        times.append(now)
    return times


lengths = st.tuples(st.integers(0, 3), st.integers(1, 60), st.integers(1, 30))
loads = st.lists(lengths, min_size=1, max_size=14).map(
    lambda rows: requests(
        *zip(_sums([r[0] for r in rows]), [r[1] for r in rows], [r[2] for r in rows], strict=True)
    )
)
policies = st.sampled_from(["vllm", "sarathi", "orca", "static"])
specs = st.builds(
    lambda **given: serving_spec(given),
    policy=policies,
    max_sequences=st.integers(1, 8),
    max_batched_tokens=st.integers(1, 100),
    chunk_tokens=st.integers(1, 40),
    block_tokens=st.sampled_from([1, 2, 4, 7, 16]),
    watermark=st.sampled_from([0.0, 0.1]),
    preemption=st.sampled_from(["recompute", "swap"]),
)


@st.composite
def prompts_with_hashes(draw: st.DrawFn) -> Requests:
    """Prompts that begin alike: a walk down a tree of few branches."""
    rows, now = [], 0
    for _ in range(draw(st.integers(1, 10))):
        now += draw(st.integers(0, 4)) * 10**6
        prompt = draw(st.integers(1, 4 * 512))
        branch = draw(st.integers(0, 1))
        ids = tuple(10 * depth + (branch if depth else 0) for depth in range(-(-prompt // 512)))
        rows.append(Request(now, prompt, draw(st.integers(1, 12)), ids))
    return requests_of(rows)
