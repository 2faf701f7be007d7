from __future__ import annotations

import pytest

from bankwidth.errors import TraceError
from bankwidth.operators import Block, Elementwise, Trace
from bankwidth.operators.liveness import peak_activation_bytes


def add(name: str, *deps: str, layer: int = 0, elements: int = 4) -> Elementwise:
    return Elementwise(
        name=name,
        layer=layer,
        deps=deps,
        function="relu",
        elements=elements,
        num_inputs=1,
        dtype="int8",
    )


def trace(*blocks: Block) -> Trace:
    return Trace(
        model="m",
        phase="decode",
        batch=1,
        context=1,
        output_tokens=1,
        dtypes={},
        blocks=blocks,
        weight_bytes=0,
        kv_bytes=0,
        activation_bytes=0,
    )


def test_expand_counts_the_layers_of_a_repeated_block() -> None:
    steps = list(trace(Block(name="b", repeat=3, operators=(add("x", layer=5),))).expand())
    assert [step.operator.layer for step in steps] == [5, 6, 7]


def test_expand_leaves_operators_outside_the_layers_outside() -> None:
    steps = list(trace(Block(name="b", repeat=2, operators=(add("x", layer=-1),))).expand())
    assert [step.operator.layer for step in steps] == [-1, -1]


def test_previous_is_the_last_operator_of_the_iteration_or_block_before() -> None:
    pair = (add("x", "@prev"), add("y", "x", "@prev"))
    steps = list(
        trace(
            Block(name="a", operators=(add("z"),)), Block(name="b", repeat=2, operators=pair)
        ).expand()
    )
    assert [step.deps for step in steps] == [(), (0,), (1, 0), (2,), (3, 2)]


def test_previous_of_the_first_iteration_waits_for_nothing() -> None:
    steps = list(trace(Block(name="a", repeat=2, operators=(add("x", "@prev"),))).expand())
    assert [step.deps for step in steps] == [(), (0,)]


def test_totals_count_repeats() -> None:
    once = trace(Block(name="a", operators=(add("x"),)))
    thrice = trace(Block(name="a", repeat=3, operators=(add("x"),)))
    assert thrice.read_bytes == 3 * once.read_bytes == 3 * 4
    assert thrice.write_bytes == 3 * once.write_bytes
    assert thrice.flops == 3 * once.flops
    assert (once.num_steps, thrice.num_steps) == (1, 3)


def test_a_name_can_be_used_once_in_a_block() -> None:
    with pytest.raises(TraceError, match="the name 'x' is taken"):
        Block(name="b", operators=(add("x"), add("x")))


def test_a_dependency_must_be_an_earlier_operator() -> None:
    with pytest.raises(TraceError, match="'x' depends on 'later'"):
        Block(name="b", operators=(add("x", "later"), add("later")))


def test_an_operator_cannot_depend_on_itself() -> None:
    with pytest.raises(TraceError, match="'x' depends on 'x'"):
        Block(name="b", operators=(add("x", "x"),))


def test_a_misspelt_dependency_gets_a_hint() -> None:
    with pytest.raises(TraceError, match="did you mean 'attention'"):
        Block(name="b", operators=(add("attention"), add("o", "atention")))


@pytest.mark.parametrize("repeat", [0, -1])
def test_a_block_runs_at_least_once(repeat: int) -> None:
    with pytest.raises(TraceError, match="repeat must be at least 1"):
        Block(name="b", repeat=repeat, operators=(add("x"),))


def test_an_empty_block_or_trace_is_an_error() -> None:
    with pytest.raises(TraceError, match="'b' has no operators"):
        Block(name="b", operators=())
    with pytest.raises(TraceError, match="at least one block"):
        trace()


def test_a_chain_keeps_two_outputs_alive() -> None:
    chain = (add("x", elements=10), add("y", "x", elements=20), add("z", "y", elements=5))
    assert peak_activation_bytes([Block(name="b", operators=chain)]) == 10 + 20


def test_a_residual_is_alive_until_it_is_added() -> None:
    operators = (
        add("x", elements=10),
        add("y", "x", elements=20),
        add("z", "y", elements=30),
        add("sum", "z", "x", elements=10),
    )
    assert peak_activation_bytes([Block(name="b", operators=operators)]) == 10 + 20 + 30


def test_the_output_of_an_iteration_is_alive_in_the_next() -> None:
    operators = (add("x", elements=3), add("y", "x", "@prev", elements=10))
    block = Block(name="b", operators=operators)
    repeated = Block(name="b", repeat=2, operators=operators)
    assert peak_activation_bytes([block]) == 3 + 10
    assert peak_activation_bytes([repeated]) == 10 + 3 + 10
    assert peak_activation_bytes([block, block]) == 10 + 3 + 10
