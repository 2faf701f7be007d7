"""How a machine serves requests: which share an iteration, what they hold, what they are promised.

Iteration-level scheduling is Orca's (Yu et al., OSDI 2022), paged keys and values with preemption
vLLM's (Kwon et al., SOSP 2023), chunked prefill beside decodes Sarathi-Serve's (Agrawal et al.,
OSDI 2024).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from bankwidth.errors import SpecError, did_you_mean
from bankwidth.spec.base import (
    RELATION,
    Bytes,
    BytesPerNs,
    Count,
    Ns,
    Relation,
    Spec,
    pick,
    yaml_key,
)
from bankwidth.spec.scalars import plain_scalar

Policy = Literal["vllm", "sarathi", "orca", "static"]
PREEMPTIONS = (
    "of the youngest sequence, when keys and values have no room to grow. recompute: it waits, "
    "and goes through the model again with what it has produced. swap: its blocks go to the host "
    "and come back, over the machine's link"
)
POLICIES: Mapping[str, str] = {
    "vllm": "prompts first and alone, whole; decodes wait meanwhile (Kwon et al. 2023)",
    "sarathi": "decodes first, what is left of chunk_tokens goes to pieces of prompts "
    "(Agrawal et al. 2024)",
    "orca": "whole prompts beside decodes; room for all of a request's tokens is kept from the "
    "start, its length known (Yu et al. 2022; 'Oracle' in Kwon et al. 2023)",
    "static": "the next batch starts when all of the last are done; those that end early keep "
    "their places and are computed on",
}


class ServingSpec(Spec):
    """Options of request-level runs."""

    policy: Policy = Field(
        default="vllm", description="; ".join(f"{k}: {v}" for k, v in POLICIES.items())
    )
    max_sequences: Count = Field(default=256, description="sequences that run at once, at most")
    max_batched_tokens: Count = Field(
        default=8192,
        description="tokens of prompts in one iteration, at most; a longer prompt goes alone. "
        "Not of sarathi",
    )
    chunk_tokens: Count = Field(
        default=512,
        description="sarathi: tokens of one iteration, decodes and pieces of prompts together; "
        "no more sequences run at once",
    )
    block_tokens: Count = Field(default=16, description="tokens in a block of keys and values")
    watermark: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.01, description="share of the blocks that stays free when a prompt is taken in"
    )
    preemption: Literal["recompute", "swap"] = Field(default="recompute", description=PREEMPTIONS)
    swap_bandwidth_bytes_per_ns: BytesPerNs | None = Field(
        default=None,
        description="of the link to the host, of all devices together, as '64 GB/s'. Swapping "
        "needs it; an iteration waits for what it swaps",
    )
    swap_space_bytes: Bytes | None = Field(
        default=None,
        description="room in the host for swapped sequences; one that has none is recomputed. "
        "Default: without end",
    )
    prefix_cache: bool = Field(
        default=True,
        description="blocks of prompts stay until their room is needed, the least recently used "
        "go first, and prompts that begin with them skip them. Needs requests with hash_ids",
    )
    kv_memory_bytes: Bytes | None = Field(
        default=None, description="memory for keys and values. Default: what the machine has left"
    )
    max_context: Count | None = Field(
        default=None,
        description="tokens of a request, prompt and output; longer ones are rejected. "
        "Default: as many as have room",
    )
    slo_ttft_ns: Ns | None = Field(
        default=None, description="promised time to the first token. Default: none"
    )
    slo_tpot_ns: Ns | None = Field(
        default=None, description="promised mean time per further token. Default: none"
    )

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """Swapping needs a link, and nothing else needs it or room in the host."""
        swaps = pick(data, "preemption") == "swap"
        for key in ("swap_bandwidth", "swap_space"):
            field = next(name for name in cls.model_fields if yaml_key(name) == key)
            if not swaps and pick(data, field) is not None:
                yield (key,), "is for 'preemption: swap', which is not asked for"


def serving_options(texts: Iterable[str]) -> dict[str, Any]:
    """Options as people type them: `policy=sarathi,chunk_tokens=256`, any number of such texts.

    Raises SpecError for a text that is not of this form, and for an option that comes twice.
    """
    found: dict[str, Any] = {}
    for pair in (pair for text in texts for pair in text.split(",") if pair.strip()):
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not (name and equals and value):
            raise SpecError(f"serving: {pair.strip()!r} is not NAME=VALUE, as policy=sarathi")
        if name in found:
            raise SpecError(f"serving: {name} is given twice: {found[name]} and {value}")
        found[name] = plain_scalar(value)
    return found


def serving_spec(given: Mapping[str, Any]) -> ServingSpec:
    """Options by their YAML keys or field names; None is left out.

    Raises SpecError that says, for each wrong one, what was found and what is allowed.
    """
    present = {name: value for name, value in given.items() if value is not None}
    try:
        return ServingSpec.model_validate(present)
    except ValidationError as error:
        found = [_sentence(detail) for detail in error.errors(include_url=False)]
        raise SpecError("\n".join(f"serving: {text}" for text in found)) from error


def _sentence(detail: Any) -> str:
    name = ".".join(map(str, detail["loc"]))
    if detail["type"] == RELATION:
        return f"{name}: {detail['msg']}"
    if detail["type"] != "extra_forbidden":
        return f"{name}: {detail['input']!r}: {_said(detail)}"
    known = [yaml_key(field) for field in ServingSpec.model_fields if field != "source"]
    return f"unknown option {name!r}{did_you_mean(name, known)}; options: {', '.join(known)}"


def _said(detail: Any) -> str:
    text: str = detail["msg"]
    text = text.removeprefix("Value error, ")
    return text[:1].lower() + text[1:] if text[:1].isupper() else text
