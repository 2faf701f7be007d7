"""What is kept further away: where it lies, copies beside the computing, prefetches ahead of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bankwidth.errors import MappingError
from bankwidth.mapping.build import make_plan
from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.fetching import fetch_task, prefetch_waits
from bankwidth.mapping.placement import needed_for_prefetches, place
from bankwidth.mapping.plan import Placement
from bankwidth.operators import Attention, Block, Fetch, KvAppend, Norm, Operator, Trace
from bankwidth.results import Result
from bankwidth.simulation import simulate
from bankwidth.spec import MachineSpec, load_machine

LAYERS = 6
MIB = 1 << 20
FAR_MACHINES = ("h100-host", "h100-flash", "h200-cxl", "gh200-grace", "rtx-4090-host")


@pytest.fixture(scope="module")
def machine() -> MachineSpec:
    return load_machine("h100-host")


def attention(role: str, **changes: object) -> Attention:
    op = Attention(
        name="attention", layer=0, deps=("norm",), phase="decode", batch=1, q_len=1, kv_len=2048,
        n_heads=8, n_kv_heads=8, head_dim=128, dtype="bf16", kv_dtype="bf16",
        kv_role=role,  # type: ignore[arg-type]
    )  # fmt: skip
    return replace(op, **changes)  # type: ignore[arg-type]


def trace_of(*operators: Operator, layers: int = LAYERS) -> Trace:
    block = Block(name="layers", repeat=layers, operators=operators)
    return Trace(
        model="x", phase="decode", batch=1, context=2048, output_tokens=1, dtypes={},
        blocks=(block,), weight_bytes=MIB, kv_bytes=layers * sum(o.stored_bytes for o in operators),
        activation_bytes=64 * MIB,
        far_bytes=layers * sum(o.far_stored_bytes for o in operators),
    )  # fmt: skip


def norm(rows: int = 8192) -> Norm:
    return Norm(
        name="norm", layer=0, deps=("@prev",), rows=rows, width=4096, style="rms", dtype="bf16"
    )


def fetch(*deps: str, **changes: object) -> Fetch:
    op = Fetch(name="fetch", layer=0, deps=deps, size_bytes=8 * MIB, what="keys and values")
    return replace(op, **changes)  # type: ignore[arg-type]


def fetched(*deps: str, rows: int = 8192) -> Trace:
    """Layers of a norm and an attention to what is fetched."""
    return trace_of(norm(rows), fetch(*deps), attention("activation", deps=("norm", "fetch")))


def starts_and_ends(result: Result) -> dict[str, list[tuple[int, int]]]:
    table = result.operators
    found: dict[str, list[tuple[int, int]]] = {}
    for name, start, end in zip(table["name"], table["start_ns"], table["end_ns"], strict=True):
        found.setdefault(str(name), []).append((start, end))
    return found


def test_far_bytes_lie_where_the_machine_says(machine: MachineSpec) -> None:
    trace = fetched()
    placed = place(machine, trace)
    assert placed["far"].memory == "host"
    assert placed["far"].size_bytes == trace.far_bytes == LAYERS * 8 * MIB
    assert "far" not in place(machine, trace_of(norm(), attention("kv")))


def test_a_machine_without_such_a_place_says_how_to_get_one() -> None:
    with pytest.raises(MappingError, match=r"h100 names none: set mapping\.place\.far .*h100-host"):
        make_plan(load_machine("h100"), fetched())


def test_a_trace_that_forgets_to_say_how_much_is_far_is_refused(machine: MachineSpec) -> None:
    with pytest.raises(MappingError, match=r"'fetch\.far' lies in a memory further away"):
        make_plan(machine, replace(fetched(), far_bytes=0))


def test_more_than_the_memory_further_away_holds_is_refused(machine: MachineSpec) -> None:
    capacity = machine.memories["host"].capacity_bytes
    assert capacity is not None
    place(machine, replace(fetched(), far_bytes=capacity))
    with pytest.raises(MappingError, match=r"far .* placed in memory 'host'"):
        place(machine, replace(fetched(), far_bytes=capacity + 1))


def test_a_prefetch_needs_a_second_buffer(machine: MachineSpec) -> None:
    assert needed_for_prefetches(fetched()) == 8 * MIB
    assert needed_for_prefetches(fetched("norm")) == 0
    hbm = machine.memories["hbm"].capacity_bytes
    assert hbm is not None
    trace = fetched("norm")
    full = replace(trace, activation_bytes=hbm - trace.weight_bytes - trace.kv_bytes)
    place(machine, full)
    with pytest.raises(MappingError, match=r"buffers 0\.01"):
        place(machine, replace(full, blocks=fetched().blocks))


def test_a_fetch_is_a_task_of_a_unit_of_its_own(machine: MachineSpec) -> None:
    tasks = [task for task in make_plan(machine, fetched()).tasks if task.name == "fetch"]
    assert len(tasks) == LAYERS
    assert {task.unit for task in tasks} == {"fetch from host"}
    for task in tasks:
        assert [(t.memory, t.size_bytes, t.is_write) for t in task.loads] == [
            ("host", 8 * MIB, False)
        ]
        assert [(t.memory, t.size_bytes, t.is_write) for t in task.stores] == [
            ("hbm", 8 * MIB, True)
        ]


@pytest.mark.parametrize(("pieces", "chunk"), [(1, 0), (3, -(-8 * MIB // 3)), (2048, 4096)])
def test_pieces_are_read_as_such(pieces: int, chunk: int) -> None:
    op = fetch(pieces=pieces)
    whole = Placement(memory="m", base=0, size_bytes=1 << 30)
    context = LoweringContext(dict.fromkeys(("activations", "far"), whole), [op])
    task = fetch_task(op, 0, "gpu", context)
    assert [t.chunk_bytes for t in task.loads] == [chunk]


def test_a_prefetch_waits_for_the_last_user_of_the_one_two_before() -> None:
    steps = list(fetched().expand())
    waits = prefetch_waits(steps)
    assert [waits[3 * layer + 1] for layer in range(LAYERS)] == [
        (), (), *((3 * layer + 2,) for layer in range(LAYERS - 2)),
    ]  # fmt: skip
    assert prefetch_waits(list(fetched("norm").expand())) == {}


def test_heads_that_are_fetched_one_by_one_share_two_buffers(machine: MachineSpec) -> None:
    parts = [
        part
        for head in range(4)
        for part in (
            fetch(name=f"fetch{head}", size_bytes=2 * MIB),
            attention("activation", name=f"head{head}", deps=("norm", f"fetch{head}")),
        )
    ]
    trace = trace_of(norm(), *parts)
    assert needed_for_prefetches(trace) == 2 * MIB
    waits = prefetch_waits(list(trace.expand()))
    assert [waits[index] for index in (1, 3, 5, 7, 10)] == [(), (), (2,), (4,), (6,)]


def test_prefetches_run_beside_the_layers_before_and_no_further(machine: MachineSpec) -> None:
    found = starts_and_ends(simulate(machine, fetched()))
    fetches, users = found["fetch"], found["attention"]
    for layer in range(LAYERS):
        assert fetches[layer][1] <= users[layer][0]
    for layer in range(2, LAYERS):
        assert users[layer - 2][1] <= fetches[layer][0] < users[layer - 1][1]


def test_what_is_fetched_on_demand_takes_longer(machine: MachineSpec) -> None:
    ahead, waiting, near = (
        simulate(machine, trace).latency_ns
        for trace in (fetched(), fetched("norm"), trace_of(norm(), attention("kv")))
    )
    assert near < ahead < waiting
    at_the_link = LAYERS * 8 * MIB / 55.6
    assert at_the_link < ahead < 1.2 * at_the_link


def test_a_hidden_prefetch_owns_no_time_of_the_run(machine: MachineSpec) -> None:
    """Norms so long that all but the first copy hide behind them."""
    result = simulate(machine, fetched(rows=200_000))
    result.verify()
    owned = [
        float(time)
        for name, time in zip(result.operators["name"], result.operators["time_ns"], strict=True)
        if name == "fetch"
    ]
    assert owned[2:] == [0.0] * (LAYERS - 2)


def test_attention_may_read_far_keys_and_values_where_they_are(machine: MachineSpec) -> None:
    trace = trace_of(norm(), attention("far"))
    (task, *_) = [t for t in make_plan(machine, trace).tasks if t.name == "attention"]
    assert {(t.memory, t.size_bytes) for t in task.loads if t.memory == "host"} == {
        ("host", 2 * 2048 * 8 * 128 * 2)
    }
    read_ns = LAYERS * 2 * 2048 * 8 * 128 * 2 / 55.6
    assert simulate(machine, trace).latency_ns > read_ns


@pytest.mark.parametrize("tokens", [1, 100_000])  # these do not fit the L2
def test_new_keys_and_values_leave_without_being_waited_for(
    machine: MachineSpec, tokens: int
) -> None:
    append = KvAppend(
        name="kv_append", layer=0, deps=("norm",), tokens=tokens, kv_heads=8, head_dim=128,
        dtype="bf16", kv_dtype="bf16", kv_role="far",
    )  # fmt: skip
    trace = trace_of(norm(), append, attention("far", deps=("norm", "kv_append")))
    (task, *_) = [t for t in make_plan(machine, trace).tasks if t.name == "kv_append"]
    assert {(t.memory, t.posted) for t in task.stores} == {("host", True)}
    assert sum(t.size_bytes for t in task.stores) == append.write_bytes


@pytest.mark.parametrize("name", FAR_MACHINES)
def test_machines_with_far_memory_fetch_at_the_rate_of_their_way(name: str) -> None:
    machine = load_machine(name)
    far = machine.mapping.place["far"]
    ways = [link for link in machine.links if "gpu" in link.ends and far in link.ends]
    slowest = min(
        link.bandwidth_bytes_per_ns
        for link in machine.links
        if link in ways or (not ways and "hbm" not in link.ends)
    )
    result = simulate(machine, fetched(rows=1))
    rate = LAYERS * 8 * MIB / result.latency_ns
    assert 0.4 * slowest < rate < slowest
