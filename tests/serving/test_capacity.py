"""Room for keys and values beside a model."""

from __future__ import annotations

import pytest

from bankwidth.errors import MappingError
from bankwidth.operators.passes import Group
from bankwidth.serving.capacity import cache_size, room_of
from bankwidth.serving.pricing_parts import Served
from bankwidth.spec import load_machine, load_workload


def served(machine: str, model: str, tensor: int = 1) -> Served:
    return Served(machine=load_machine(machine), workload=load_workload(model), tensor=tensor)


@pytest.mark.parametrize(
    ("model", "token_bytes"),
    [("llama-3-8b", 32 * 2 * 8 * 128 * 2), ("llama-2-70b", 80 * 2 * 8 * 128 * 2), ("gpt2", 36_864)],
)
def test_bytes_of_a_token_are_the_closed_form(model: str, token_bytes: int) -> None:
    size = cache_size(served("h200", model))
    assert (size.token_bytes, size.sequence_bytes) == (token_bytes, 0)


def test_room_is_capacity_less_weights_and_activations_of_all_devices() -> None:
    asked = served("h200", "llama-2-70b", tensor=2)
    chunk = Group(batch=1, q_len=4096, kv_len=4096, phase="prefill")
    trace = asked.trace((chunk,))
    room = room_of(asked, batched_tokens=4096, utilisation=0.8)
    one = 0.8 * 141e9 - trace.weight_bytes - trace.activation_bytes
    assert room.kv_bytes == pytest.approx(2 * one, rel=1e-6)
    assert room.kv_bytes_per_token == 327_680


def test_states_are_of_sequences_and_not_of_tokens() -> None:
    room = room_of(served("h200", "mamba-2.8b"))
    assert room.kv_bytes_per_token == 0
    assert room.sequence_bytes > 0


def test_windows_are_of_sequences_and_the_other_layers_of_tokens() -> None:
    size = cache_size(served("h200", "gemma-3-4b"))
    layer = 2 * 4 * 256 * 2  # bytes of a token in one layer
    assert size.token_bytes == 5 * layer  # five of 34 layers see everything
    assert size.sequence_bytes >= 29 * 1024 * layer


def test_a_model_that_fills_the_memory_is_refused_with_its_sizes() -> None:
    with pytest.raises(MappingError, match=r"leaves h100 no room .* weights 128\.\d+ .*90% of"):
        room_of(served("h100", "llama-2-70b"))


def test_more_devices_and_more_of_the_memory_leave_more_room() -> None:
    rooms = [room_of(served("h200", "llama-3-8b", tensor=n)).kv_bytes for n in (1, 2, 4)]
    assert rooms == sorted(rooms)
    asked = served("h200", "llama-3-8b")
    assert room_of(asked, utilisation=0.5).kv_bytes < room_of(asked).kv_bytes
