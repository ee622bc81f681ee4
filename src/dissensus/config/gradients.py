"""The specification of the gradient probe: when it measures, of which entropy classes, and what."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from dissensus.config.base import Spec

EntropyClass = Literal["settled", "middle", "contested"]


class GradientSpec(Spec):
    """Mean gradients of entropy classes of the tracked set, over all trainable weights, and their cosines.

    Of the gold loss without class weights, in the weights' own precision. Measuring changes nothing in training.
    """

    every: int | None = Field(
        None, ge=1, description="A point after every so many steps; step 0 and the last are always points."
    )
    epoch_ends: bool = Field(False, description="A point at the end of each epoch too.")
    groups: tuple[EntropyClass, ...] = Field(
        ("settled", "contested"), min_length=1, description="Entropy classes, by the data set's entropy_cuts."
    )
    mode: Literal["train", "eval"] = Field(
        "train", description="Mean gradients with dropout as in training, or without dropout."
    )
    batch_size: int = Field(
        64, ge=1, description="Examples per backward pass: memory; the numbers are the same to rounding."
    )
    norms: Literal["end", "all"] | None = Field(
        None,
        description="Each tracked example's own gradient norm too, without dropout, one backward pass each: after the "
        "last step, or at all points.",
    )

    @field_validator("groups")
    @classmethod
    def _each_once(cls, groups: tuple[EntropyClass, ...]) -> tuple[EntropyClass, ...]:
        if len(set(groups)) < len(groups):
            raise ValueError(f"groups names a class twice: {', '.join(groups)}")
        return groups
