"""Small models through the mapped commands of computing banks, against numpy."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final

import numpy as np

from bankwidth.devices.pim.numbers import FORMATS, Floats
from bankwidth.operators import Trace, make_trace
from bankwidth.spec import MachineSpec, WorkloadSpec
from bankwidth.validate.pim_bank_products import BankProducts
from bankwidth.validate.pim_block import Parameters, PlainProducts, Products, walk
from bankwidth.validate.pim_bounds import Doubles, sampled_bound
from bankwidth.validate.pim_checks import Check, pim_engine

PROMPT, OUTPUT = 3, 3  # tokens of a run
SAMPLES: Final = 24
Model = Callable[[int, int], Trace]  # of a width and a number of layers
Sampled = Callable[[Parameters, Callable[[Floats], Floats]], Products]


def small_gpt(hidden: int, layers: int) -> Trace:
    """A GPT-2 of few parameters: a prompt, then decode steps."""
    return _small(
        {
            "model_type": "gpt2",
            "vocab_size": 128,
            "n_positions": 64,
            "n_embd": hidden,
            "n_layer": layers,
            "n_head": 4,
            "activation_function": "gelu_new",
            "tie_word_embeddings": True,
        }
    )


def small_llama(hidden: int, layers: int) -> Trace:
    """A Llama of few parameters, whose heads of q share heads of K and V."""
    return _small(
        {
            "model_type": "llama",
            "vocab_size": 128,
            "max_position_embeddings": 64,
            "hidden_size": hidden,
            "intermediate_size": 5 * hidden // 2,
            "num_hidden_layers": layers,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "hidden_act": "silu",
            "tie_word_embeddings": False,
        }
    )


def _small(config: dict[str, Any]) -> Trace:
    name = f"small-{config['model_type']}"
    workload = WorkloadSpec(kind="workload", name=name, title=name, config=config)
    return make_trace(workload, phase="generate", prompt=PROMPT, output=OUTPUT)


def check_block(
    machine: MachineSpec,
    *,
    hidden: int = 64,
    layers: int = 1,
    seed: int = 0,
    model: Model = small_gpt,
    banks: Callable[[MachineSpec, Trace, Parameters], Products] = BankProducts,
    sampled: Sampled = PlainProducts,
) -> Check:
    """Logits and hidden states of a small model, for a prompt and the tokens generated after it.

    Through the programs of the plan that `simulate` would run, which `banks` has, against float32
    numpy; `sampled` is numpy with a rounding wherever the banks round.
    """
    trace, parameters = model(hidden, layers), Parameters(seed)
    tokens = list(range(1, PROMPT + 1))
    ours = walk(trace, banks(machine, trace, parameters), parameters, tokens)
    roundoff = FORMATS[pim_engine(machine)[1].numbers.operand].unit_roundoff
    exact, bound = _expected(model, sampled, (hidden, layers, seed), tuple(tokens), roundoff)
    return Check(_outputs(trace, ours), exact, bound)


@cache
def _expected(
    model: Model,
    sampled: Sampled,
    sizes: tuple[int, int, int],
    tokens: tuple[int, ...],
    roundoff: float,
) -> tuple[Floats, Doubles]:
    """What numpy says, and the bound by roundings drawn at random."""
    hidden, layers, seed = sizes
    trace, parameters = model(hidden, layers), Parameters(seed)
    exact = walk(trace, PlainProducts(parameters), parameters, list(tokens))
    samples = []
    for sample in range(SAMPLES):
        rounded = _at_random(np.random.default_rng(sample), roundoff)
        found = walk(trace, sampled(parameters, rounded), parameters, list(tokens))
        samples.append(_outputs(trace, found))
    outputs = _outputs(trace, exact)
    return outputs, sampled_bound(outputs, samples)


def _at_random(rng: np.random.Generator, roundoff: float) -> Callable[[Floats], Floats]:
    """A rounding: any error within the unit roundoff, evenly."""

    def rounded(values: Floats) -> Floats:
        errors = roundoff * rng.uniform(-1.0, 1.0, np.shape(values))
        return np.asarray(values * (1.0 + errors), dtype=np.float32)

    return rounded


def _outputs(trace: Trace, results: list[Floats]) -> Floats:
    """Hidden states behind the last layer and logits, of all passes."""
    wanted = ("add2", "lm_head")
    operators = [step.operator for step in trace.expand()]
    return np.concatenate(
        [np.ravel(r) for op, r in zip(operators, results, strict=True) if op.name in wanted]
    )
