"""The prefix cache: what is found, what is evicted, and that room is shared with what runs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.serving.made import run

from bankwidth.errors import SpecError
from bankwidth.serving.prefixes import Node, PrefixTree
from bankwidth.serving.requests import Request, Requests, requests_of

US = 10**6


def paths(tree: PrefixTree) -> set[tuple[int, ...]]:
    """All that a match can find."""
    found: set[tuple[int, ...]] = set()
    stack: list[tuple[Node, tuple[int, ...]]] = [(tree._root, ())]
    while stack:
        node, path = stack.pop()
        found.add(path)
        stack += [(child, (*path, hash)) for hash, child in node.children.items()]
    return found - {()}


def add(tree: PrefixTree, *hashes: int) -> list[Node]:
    path = tree.match(hashes, len(hashes))
    tree.pin(path)
    for each in hashes[len(path) :]:
        tree.extend(path, each)
    return path


def test_the_longest_path_is_found() -> None:
    tree = PrefixTree()
    tree.unpin(add(tree, 1, 2, 3))
    assert [node.hash for node in tree.match((1, 2, 9), 3)] == [1, 2]
    assert [node.hash for node in tree.match((1, 2, 3), 2)] == [1, 2]
    assert tree.match((2, 3), 2) == []  # a hash stands for all before it as well


def test_leaves_go_first_and_of_those_the_least_recently_used() -> None:
    tree = PrefixTree()
    tree.unpin(add(tree, 1, 2))
    tree.unpin(add(tree, 1, 3))
    tree.unpin(add(tree, 1, 2))  # used again
    tree.evict()
    assert paths(tree) == {(1,), (1, 2)}
    tree.evict()
    tree.evict()
    assert (paths(tree), tree.idle, tree.evicted) == (set(), 0, 3)


def test_what_is_in_use_is_not_evicted() -> None:
    tree = PrefixTree()
    kept = add(tree, 1, 2)
    tree.unpin(add(tree, 1, 3, 4))
    assert (tree.pinned, tree.idle) == (2, 2)
    tree.evict()
    tree.evict()
    assert paths(tree) == {(1,), (1, 2)}
    tree.unpin(kept)
    assert (tree.pinned, tree.idle) == (0, 2)


@given(st.lists(st.tuples(st.lists(st.integers(0, 2), max_size=4), st.booleans()), max_size=30))
def test_counts_of_nodes_are_those_of_the_tree(
    steps: list[tuple[list[int], bool]],
) -> None:
    tree, pinned = PrefixTree(), []
    for hashes, releases in steps:
        pinned.append(add(tree, *hashes))
        if releases and pinned:
            tree.unpin(pinned.pop(0))
        if tree.idle > 3:
            tree.evict()
        assert tree.pinned == len({id(node) for path in pinned for node in path})
        assert tree.pinned + tree.idle == len(paths(tree))


# ---------------------------------------------------------------------------- in a run
def turns(*prompts: tuple[int, tuple[int, ...]]) -> Requests:
    return requests_of(
        Request(i * 1000 * US, tokens, 2, ids) for i, (tokens, ids) in enumerate(prompts)
    )


def test_a_later_prompt_skips_what_an_earlier_one_left() -> None:
    asked = turns((1500, (1, 2, 3)), (1500, (1, 2, 4)), (1025, (1, 2, 5)), (1024, (1, 2)))
    reused = run(asked).tables()["requests"]["reused_tokens"].tolist()
    # Whole blocks only, and the last token of a prompt always goes through the model.
    assert reused == [0, 1024, 1024, 512]
    assert run(asked, prefix_cache=False).to_json()["tokens"]["reused"] == 0


def test_a_reused_prefix_shortens_the_time_to_the_first_token_by_its_price() -> None:
    asked = turns((1500, (1, 2, 3)), (1500, (1, 2, 4)))
    first, second = run(asked).sequences
    saved = (first.first_ps - first.arrival_ps) - (second.first_ps - second.arrival_ps)
    assert saved == 1024 * 1_000  # new tokens; what is read from the cache is the same


def test_prompts_in_one_iteration_compute_what_they_share_twice_and_keep_it_once() -> None:
    asked = requests_of(Request(0, 1024, 3, (1, 2)) for _ in range(2))
    result = run(asked)
    assert result.to_json()["tokens"]["reused"] == 0
    used = result.tables()["iterations"]["used_blocks"].tolist()
    assert used == [128, 66, 66]  # 64 shared, and one more of each


def test_prefixes_make_room_for_what_runs() -> None:
    asked = turns((1500, (1, 2, 3)), (1500, (4, 5, 6)), (1500, (1, 2, 3)))
    result = run(asked, 2048)
    # Of the first prompt's two nodes the second had to go; the third prompt found the first.
    assert [each.reused for each in result.sequences] == [0, 0, 512]
    assert all(each.status == "finished" for each in result.sequences)
    kv = result.to_json()["machines"]["machine"]["kv"]
    assert kv["evicted_prefix_blocks"] > 0
    assert [each.reused for each in run(asked, 4096).sequences] == [0, 0, 1024]


def test_blocks_that_do_not_divide_a_hash_are_refused() -> None:
    with pytest.raises(SpecError, match="block_tokens: 24 does not divide the 512 tokens"):
        run(turns((1500, (1, 2, 3))), block_tokens=24)
    run(turns((1500, (1, 2, 3))), block_tokens=24, prefix_cache=False)
