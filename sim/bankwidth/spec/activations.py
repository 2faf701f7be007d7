"""Where the activations come from whose bits look-up tables are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from bankwidth.spec.base import Count, Relation, Spec, pick

Distribution = Literal["normal", "laplace", "student_t", "uniform", "outliers"]
Positive = Annotated[float, Field(gt=0)]
SUFFIXES: Final = (".npy", ".npz")
# Field -> the distribution that has it.
PARAMETERS: Final = {
    "degrees_of_freedom": "student_t",
    "outlier_share": "outliers",
    "outlier_scale": "outliers",
}


class ActivationsSpec(Spec):
    """Numbers of a distribution or of a file, quantised as the machine's activations are.

    A token's numbers share a scale: its largest magnitude becomes the largest integer.
    """

    distribution: Distribution = Field(
        default="normal",
        description="normal, laplace, student_t, uniform around 0, or outliers: normal, a few "
        "channels larger in every token",
    )
    seed: Annotated[int, Field(ge=0)] = Field(
        default=0, description="same seed, same numbers; tokens of a smaller batch come first"
    )
    degrees_of_freedom: Positive = Field(
        default=4.0, description="of student_t: the fewer, the heavier its tails"
    )
    outlier_share: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.001, description="of the channels, rounded up, with distribution: outliers"
    )
    outlier_scale: Positive = Field(
        default=20.0, description="what outliers are larger by, with distribution: outliers"
    )
    scale_block: Count | None = Field(
        default=None, description="channels that share a scale; default: all of a token"
    )
    file: str | None = Field(
        default=None,
        description="a .npy of shape [tokens, channels], the first of which are taken, or "
        "[channels] for all tokens alike; or a .npz of one for each width. Integers are taken as "
        "they are, floats are quantised. A relative path begins at the working directory",
    )
    other_widths: Literal["error", "drawn"] = Field(
        default="error", description="those that a file lacks: drawn is from the distribution"
    )

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """A parameter belongs to a distribution; files are numpy's."""
        for name, distribution in PARAMETERS.items():
            if isinstance(data, dict) and name in data:
                if pick(data, "distribution") != distribution:
                    yield (name,), f"only {distribution} has this: set distribution: {distribution}"
        file: Any = pick(data, "file")
        if file is None and pick(data, "other_widths") == "drawn":
            yield ("other_widths",), "all is drawn without a file: name one, or leave this out"
        if isinstance(file, str) and not file.endswith(SUFFIXES):
            yield ("file",), f"{file!r}: need a {' or '.join(SUFFIXES)} file"
