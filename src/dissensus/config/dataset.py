"""The specification of a data set: what is tracked, what is trained on, what is held back."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from dissensus.config.base import Spec
from dissensus.config.sources import AnySource


class HoldoutSpec(Spec):
    """A fixed part of the tracked source that is neither tracked nor trained on, the same for every cell and seed.

    It is stratified by entropy class (`entropy_cuts`) and drawn as scikit-learn's `StratifiedShuffleSplit` draws one
    split, so that a study that was split so comes out item by item.
    """

    share: float = Field(0.2, gt=0, lt=1, description="Share of the examples that is held out.")
    seed: int = Field(42, ge=0, description="Of the split (`random_state`).")


class EntropyCuts(Spec):
    """Classes of annotation entropy that a cell's data are split by: settled up to `low`, contested from `high`."""

    low: float = Field(ge=0)
    high: float = Field(ge=0)
    unit: Literal["bits", "nats"] = "bits"

    @model_validator(mode="after")
    def _rising(self) -> EntropyCuts:
        if not self.low < self.high:
            raise ValueError(f"low is {self.low:g} and high {self.high:g}; low must be below high")
        return self

    @property
    def bits(self) -> tuple[float, float]:
        """Both cut points in bits."""
        scale = 1 / math.log(2) if self.unit == "nats" else 1.0
        return self.low * scale, self.high * scale


GroupSize = Annotated[int, Field(ge=1)] | Literal["all"] | None


class TrainGroups(Spec):
    """Which entropy classes of the tracked set are trained on: all of a class, so many of it, or none (the default)."""

    settled: GroupSize = None
    middle: GroupSize = None
    contested: GroupSize = None

    @model_validator(mode="after")
    def _some(self) -> TrainGroups:
        if self.settled is self.middle is self.contested is None:
            raise ValueError(
                "train_groups names no class; give one of settled, middle, contested: all, or a number"
            )
        return self


class DatasetSpec(Spec):
    """What is tracked and what is trained on."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", description="Name in tables and folders.")
    tracked: AnySource
    train: AnySource | None = Field(
        None, description="Training pool; without one, only the tracked set is trained on."
    )
    tracked_size: int | None = Field(
        None, ge=2, description="Track this many, stratified by annotation entropy."
    )
    entropy_cuts: EntropyCuts | None = Field(
        None, description="Entropy classes, for holdout, train_groups and noise among settled examples."
    )
    holdout: HoldoutSpec | None = Field(
        None,
        description="Hold a part of the tracked source back: neither tracked nor trained on, and scored at the end of "
        "each epoch (its curves lie in the cell's folder `validation`).",
    )
    train_groups: TrainGroups | None = Field(
        None,
        description="Trained on: only these entropy classes of the tracked set are. All of it is tracked.",
    )
    train_size: int | None = Field(None, ge=1, description="Draw this many from the training pool (seeded).")
    train_seed: int | None = Field(
        None,
        ge=0,
        description="One draw for all seeds: NumPy's legacy `RandomState(train_seed).choice` without replacement, in "
        "the pool's order. Default: a draw of its own for each seed.",
    )
    keep_shared_texts: bool = Field(
        False,
        description="Trained on: keep pool examples that have a tracked example's text. Default: they are left out, "
        "for the tracked one is trained on itself.",
    )
    exclude_shared: tuple[str, ...] = Field(
        (), description="Drop training examples that share one of these text fields with a tracked example."
    )

    @model_validator(mode="after")
    def _pool_settings_need_a_pool(self) -> DatasetSpec:
        about_pool = ("train_size", "train_seed", "exclude_shared", "keep_shared_texts")
        pool_settings = [name for name in about_pool if getattr(self, name) not in (None, (), False)]
        if self.train is None and pool_settings:
            raise ValueError(
                f"{' and '.join(pool_settings)} is about the training pool, and no 'train' source is given"
            )
        if self.train_seed is not None and self.train_size is None:
            raise ValueError("train_seed draws from the training pool; say how many with train_size")
        if self.entropy_cuts is None:
            for name in ("holdout", "train_groups"):
                if getattr(self, name) is not None:
                    raise ValueError(
                        f"{name} goes by entropy class; give entropy_cuts, e.g. {{low: 0.4, high: 0.7, unit: nats}}"
                    )
        return self
