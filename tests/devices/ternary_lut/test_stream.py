"""When activations come out of a quantiser."""

from __future__ import annotations

from bankwidth.devices.ternary_lut.stream import Arrivals, Stream


def taken(stream: Stream, ready: list[int]) -> list[int]:
    """Clocks after those in which words are taken."""
    arrivals = Arrivals(stream)
    return [arrivals.take(clock) for clock in ready]


def test_one_word_a_clock() -> None:
    assert taken(Stream(queue=8), [0, 1, 2, 3]) == [1, 2, 3, 4]
    assert Stream(per_clock=4).words(10) == 3


def test_the_first_word_of_a_block_comes_late() -> None:
    stream = Stream(block=2, block_fill_ck=3, queue=8)
    assert taken(stream, [0, 0, 0, 0]) == [4, 5, 9, 10]


def test_words_that_wait_in_the_queue_are_taken_one_after_the_other() -> None:
    stream = Stream(block=1, block_fill_ck=9, queue=2)
    # By clock 100 two words wait, and a third in the quantiser. With room for one word the second
    # comes out of it when the first is taken, at 30, and the third 10 clocks later.
    assert taken(stream, [100, 101, 102]) == [101, 102, 103]
    assert taken(Stream(block=1, block_fill_ck=9, queue=1), [30, 31, 32]) == [31, 32, 41]


def test_its_state_is_told_from_a_clock_on() -> None:
    early, late = Arrivals(Stream(queue=2)), Arrivals(Stream(queue=2))
    for clock in (0, 1, 2):
        early.take(clock)
    for clock in (0, 1, 2, 3, 4):
        late.take(clock)
    assert early.state(3) == late.state(5)
    assert early.state(3) != late.state(6)
