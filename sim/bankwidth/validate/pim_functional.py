"""Functional mode against numpy: products, attention and a small GPT through mapped commands.

Each case is the element that lies farthest from numpy in units of its error bound; the tolerance
is that bound. A mapping that reads a wrong byte is off by the size of the numbers themselves, some
hundred times as much.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from bankwidth.spec import MachineSpec, PimMappingSpec, load_machine
from bankwidth.validate.pim_bounds import DEVIATIONS
from bankwidth.validate.pim_checks import check_attention, check_product
from bankwidth.validate.pim_hbm_products import HbmBankProducts, LaneProducts, check_hbm_product
from bankwidth.validate.pim_models import OUTPUT, PROMPT, check_block, small_gpt, small_llama
from bankwidth.validate.verdicts import Case

PUBLISHED: Final = "numpy"  # instead of papers
MACHINE: Final = "pim-gpt"
HBM_MACHINE: Final = "hbm-pim-16"
# m, n, k: a full row, an input longer than the buffer, outputs that fill no group, several tokens
PRODUCTS: Final = ((1, 128, 1024), (1, 1000, 2500), (1, 33, 17), (3, 100, 1500))
# m, n, k for HBM-PIM: a group of outputs per channel, parts of k per channel, no whole tiles
HBM_PRODUCTS: Final = ((1, 1024, 1024), (2, 70, 700), (1, 1500, 400))
# heads of q, heads of K, head, tokens: one group, heads shared, more tokens than the buffer holds
ATTENTIONS: Final = ((4, 4, 64, 5), (8, 2, 80, 300), (6, 6, 24, 1100))
HIDDEN: Final = (64, 128, 256)
Options = Mapping[str, Mapping[str, Any]]
OF_PRODUCTS: Final[Options] = {
    "as published": {},
    "results stay": {"reuse": "result"},
    "rows of their own": {"reuse": "result", "rows": "own"},
    "sums in the banks": {"partial_sums": "bank"},
}
OF_ATTENTIONS: Final[Options] = {
    "as published": {},
    "heads per channel": {"heads": "per_channel"},
    "sums in the banks": {"partial_sums": "bank"},
}
OF_BLOCKS: Final[Options] = {
    **OF_PRODUCTS,
    "heads per channel": {"heads": "per_channel"},
    "function in the banks": {"reuse": "result", "activation_function": "bank"},
    "scores on the host": {"score": "host"},
    "context on the host": {"context": "host"},
    "space for 200 tokens": {"reserve_tokens": 200},
}
# Machines whose commands are AiM's too, with a model of the kind that they are for.
OTHERS: Final = {"ianus": small_gpt, "cent-7b": small_llama}
ALL_ROUNDINGS: Final = "worst case of all roundings"
RANDOM_ROUNDINGS: Final = f"{DEVIATIONS:g} deviations of random roundings"


def published() -> Iterator[Case]:
    """Products, attention and blocks, each with the choices of mapping that it depends on."""
    machine = load_machine(MACHINE)
    for name, options in OF_PRODUCTS.items():
        for m, n, k in PRODUCTS:
            check = check_product(with_options(machine, options), m=m, n=n, k=k)
            yield check.case(f"product {m} x {k} x {n}, {name}", ALL_ROUNDINGS)
    for name, options in OF_ATTENTIONS.items():
        for shape in ATTENTIONS:
            yield from _attention_cases(with_options(machine, options), name, shape)
    yield from _hbm_cases()
    yield from _block_cases()


def _hbm_cases() -> Iterator[Case]:
    machine = load_machine(HBM_MACHINE)
    for m, n, k in HBM_PRODUCTS:
        check = check_hbm_product(machine, m=m, n=n, k=k)
        yield check.case(f"product {m} x {k} x {n}, hbm-pim in fp16", "running error of all sums")


def _attention_cases(
    machine: MachineSpec, name: str, shape: tuple[int, int, int, int]
) -> Iterator[Case]:
    n_heads, n_kv_heads, head_dim, tokens = shape
    checks = check_attention(
        machine, n_heads=n_heads, n_kv_heads=n_kv_heads, head_dim=head_dim, tokens=tokens
    )
    sizes = f"{n_heads} heads of {head_dim} over {tokens} tokens of {n_kv_heads}, {name}"
    for stage, check in zip(("scores", "context"), checks, strict=True):
        yield check.case(f"{stage}, {sizes}", ALL_ROUNDINGS)


def _block_cases() -> Iterator[Case]:
    published = load_machine(MACHINE)
    for hidden in HIDDEN:
        for name, options in OF_BLOCKS.items():
            check = check_block(with_options(published, options), hidden=hidden)
            yield check.case(_block_name("gpt", hidden, name), RANDOM_ROUNDINGS)
    for name, options in OF_ATTENTIONS.items():
        machine = with_options(published, options)
        check = check_block(machine, hidden=max(HIDDEN), model=small_llama)
        yield check.case(_block_name("llama", max(HIDDEN), name), RANDOM_ROUNDINGS)
    for name, model in OTHERS.items():
        check = check_block(load_machine(name), hidden=max(HIDDEN), model=model)
        kind = model.__name__.removeprefix("small_")
        yield check.case(_block_name(kind, max(HIDDEN), name), RANDOM_ROUNDINGS)
    check = check_block(
        load_machine(HBM_MACHINE), hidden=min(HIDDEN), banks=HbmBankProducts, sampled=LaneProducts
    )
    yield check.case(_block_name("gpt", min(HIDDEN), "hbm-pim in fp16"), RANDOM_ROUNDINGS)


def _block_name(kind: str, hidden: int, name: str) -> str:
    return f"{kind} block of {hidden}, {PROMPT} + {OUTPUT} tokens, {name}"


def with_options(machine: MachineSpec, options: Mapping[str, Any]) -> MachineSpec:
    """The machine with other choices of mapping."""
    chosen = PimMappingSpec(**options)
    mapping = machine.mapping.model_copy(update={"pim": chosen})
    return machine.model_copy(update={"mapping": mapping})
