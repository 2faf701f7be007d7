"""Model families: configuration fields in, `ModelShape` out. To add one: a file, a line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from bankwidth.errors import SpecError, did_you_mean
from bankwidth.operators.families.falcon import falcon_shape
from bankwidth.operators.families.gpt2 import gpt2_shape
from bankwidth.operators.families.llama import llama_shape
from bankwidth.operators.families.opt import opt_shape
from bankwidth.operators.fields import Config, Fields, text_config
from bankwidth.operators.model import ModelShape

FAMILIES: Final[dict[str, Callable[[Fields], ModelShape]]] = {
    "falcon": falcon_shape,
    "gpt2": gpt2_shape,
    "llama": llama_shape,
    "opt": opt_shape,
}


def model_shape(config: Config, where: str) -> ModelShape:
    """The shape of the model that a Hugging Face configuration describes.

    Raises SpecError for an unknown `model_type` and for fields that are missing or wrong, all of
    them in one message that starts with `where`.
    """
    config = text_config(config)
    family = _family(config, where)
    fields = Fields(config, where=where, family=family)
    shape = FAMILIES[family](fields)
    fields.finish()
    return shape


def _family(config: Config, where: str) -> str:
    family = config.get("model_type")
    known = ", ".join(sorted(FAMILIES))
    if family is None:
        raise SpecError(f"{where}: model_type is missing (known families: {known})")
    if not isinstance(family, str) or family not in FAMILIES:
        hint = did_you_mean(str(family), FAMILIES)
        raise SpecError(
            f"{where}: unknown model_type {family!r}{hint} (known families: {known}). A model of "
            f"the same layer structure can be described with the fields of one of these"
        )
    return family
