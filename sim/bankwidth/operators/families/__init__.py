"""Model families: configuration fields in, `ModelShape` out. To add one: a file, a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from bankwidth.errors import SpecError
from bankwidth.operators.families.bert import bert_shape, roberta_shape
from bankwidth.operators.families.deepseek import deepseek_v2_shape, deepseek_v3_shape
from bankwidth.operators.families.described import described_shape
from bankwidth.operators.families.falcon import falcon_shape
from bankwidth.operators.families.gemma import gemma2_shape, gemma3_shape, gemma_shape
from bankwidth.operators.families.gpt2 import gpt2_shape, gpt_bigcode_shape
from bankwidth.operators.families.gpt_neox import gpt_neox_shape
from bankwidth.operators.families.gpt_oss import gpt_oss_shape
from bankwidth.operators.families.hgrn import hgrn_bit_shape
from bankwidth.operators.families.jamba import bamba_shape, jamba_shape
from bankwidth.operators.families.llama import (
    bitnet_shape,
    llama_shape,
    olmo2_shape,
    smollm3_shape,
)
from bankwidth.operators.families.llama4 import llama4_shape
from bankwidth.operators.families.mamba import mamba2_shape, mamba_shape
from bankwidth.operators.families.mistral import ministral3_shape, mistral_shape, mixtral_shape
from bankwidth.operators.families.opt import opt_shape
from bankwidth.operators.families.phi import phi3_shape, phi_shape, phimoe_shape
from bankwidth.operators.families.qwen import (
    qwen2_moe_shape,
    qwen2_shape,
    qwen3_moe_shape,
    qwen3_shape,
)
from bankwidth.operators.families.qwen3_next import qwen3_next_shape
from bankwidth.operators.families.structural import STRUCTURAL
from bankwidth.operators.families.unknown import unknown_family
from bankwidth.operators.fields import Config, Fields, text_config
from bankwidth.operators.model import ModelShape

# model_type -> how its fields are read. The text parts of multi-modal models have names of their
# own; `decoder` is for layers that no family has.
FAMILIES: Final[dict[str, Callable[[Fields], ModelShape]]] = {
    "bamba": bamba_shape,
    "bert": bert_shape,
    "bitnet": bitnet_shape,
    "bitnet-b1.58": bitnet_shape,
    "decoder": described_shape,
    "deepseek_v2": deepseek_v2_shape,
    "deepseek_v3": deepseek_v3_shape,
    "falcon": falcon_shape,
    "gemma": gemma_shape,
    "gemma2": gemma2_shape,
    "gemma3": gemma3_shape,
    "gemma3_text": gemma3_shape,
    "gpt2": gpt2_shape,
    "gpt3": gpt2_shape,
    "gpt_bigcode": gpt_bigcode_shape,
    "gpt_neox": gpt_neox_shape,
    "gpt_oss": gpt_oss_shape,
    "hgrn_bit": hgrn_bit_shape,
    "jamba": jamba_shape,
    "kimi_k2": deepseek_v3_shape,
    "llama": llama_shape,
    "llama4": llama4_shape,
    "llama4_text": llama4_shape,
    "mamba": mamba_shape,
    "mamba2": mamba2_shape,
    "ministral": mistral_shape,
    "ministral3": ministral3_shape,
    "mistral": mistral_shape,
    "mistral3": mistral_shape,
    "mixtral": mixtral_shape,
    "olmo2": olmo2_shape,
    "opt": opt_shape,
    "phi": phi_shape,
    "phi3": phi3_shape,
    "phimoe": phimoe_shape,
    "qwen2": qwen2_shape,
    "qwen2_moe": qwen2_moe_shape,
    "qwen2_5_vl": qwen2_shape,
    "qwen2_5_vl_text": qwen2_shape,
    "qwen2_vl": qwen2_shape,
    "qwen2_vl_text": qwen2_shape,
    "qwen3": qwen3_shape,
    "qwen3_moe": qwen3_moe_shape,
    "qwen3_next": qwen3_next_shape,
    "qwen3_vl_moe_text": qwen3_moe_shape,
    "qwen3_vl_text": qwen3_shape,
    "roberta": roberta_shape,
    "smollm3": smollm3_shape,
    "xlm-roberta": roberta_shape,
}


def model_shape(config: Config, where: str, places: Mapping[str, str] | None = None) -> ModelShape:
    """The shape of the model that a Hugging Face configuration describes.

    Raises SpecError for an unknown `model_type`, for fields that are missing or wrong, and for
    fields that would change layers in a way the family does not have: all of them in one message
    that starts with `where`, and with the places of fields where they are known.
    """
    config = text_config(config)
    family = _family(config, _placed(where, places or {}))
    fields = Fields(config, where=where, family=family, places=places)
    shape = FAMILIES[family](fields)
    fields.refuse_unread(STRUCTURAL)
    fields.finish()
    return shape


def _placed(where: str, places: Mapping[str, str]) -> str:
    """With the place of what names the family, where it is known."""
    place = places.get("model_type", places.get(""))
    return f"{place}: {where}" if place else where


def _family(config: Config, where: str) -> str:
    family = config.get("model_type")
    if family is None:
        known = ", ".join(sorted(FAMILIES))
        raise SpecError(f"{where}: model_type is missing (known families: {known})")
    if not isinstance(family, str) or family not in FAMILIES:
        raise SpecError(unknown_family(config, where, FAMILIES))
    return family
