"""The specification of a study's analysis: how stored curves become tables."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from dissensus.config.base import Spec
from dissensus.config.dataset import DatasetSpec
from dissensus.errors import SpecError

Measure = Literal[
    "kendall",
    "partials",
    "by_gold",
    "bins",
    "calibration",
    "learning_time",
    "concordance",
    "incremental_r2",
    "cartography",
    "rank_trend",
    "paired_noise",
]
"""A table that `dissensus analyze` makes where a study asks for it."""


class CartographySpec(Spec):
    """How data maps (confidence, variability, correctness) are made."""

    include_start: bool = Field(False, description="Take step 0, the untrained head, as a point too.")
    threshold: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="Correct where the gold label's probability is above this. Default: where it is the single most "
        "probable label.",
    )


class AnalysisSpec(Spec):
    """How stored curves become tables. Not part of a cell's identity: change it and analyse again."""

    entropy: Literal["plugin", "miller_madow", "chao_shen"] = "plugin"
    gold: Literal["as_stored", "majority"] = Field(
        "as_stored",
        description="Which label the loss is read on: the one the data set gave, or the annotators' most frequent. "
        "Every label's log-probability is stored, so this asks for no new training.",
    )
    contested_share: float = Field(
        1 / 3, gt=0, le=0.5, description="Share of items in each outer entropy group."
    )
    cuts: tuple[float, float] | Literal["entropy_cuts"] | None = Field(
        None,
        description="Entropy cut points instead of shares, in `cuts_unit`; or `entropy_cuts`: those of each data set.",
    )
    cuts_unit: Literal["bits", "nats"] = Field(
        "bits", description="Unit of `cuts`: bits, or nats (1 nat is 1.4427 bits)."
    )
    aulc: Literal["trapezoid", "mean"] = Field(
        "trapezoid",
        description="AULC: the area under the curve by the trapezoid rule, or the plain mean of the recorded losses, "
        "each tracking point once whatever its spacing.",
    )
    learned_loss: float | None = Field(
        None,
        gt=0,
        description="Learning time of an example: the first tracking point with a loss below this, in nats (0.693 is "
        "ln 2). Adds the columns learning_point and learning_step to the table of examples.",
    )
    cartography: CartographySpec = CartographySpec()
    partial: Literal["flexible", "linear"] = Field(
        "flexible",
        description="How partial correlations hold a numeric covariate fixed: as a flexible function of its rank, or "
        "as a line in it. A line leaves most of gold share's tie with entropy in place.",
    )
    covariates: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="What partial correlations hold fixed, by name: token_count, lexical_overlap, gold (its class), "
        "initial_loss (these four are the default), gold_share, majority_share, words (in all text fields), "
        "words_FIELD (words_premise, ...), count_skewness (of the label counts), or another covariate of the cells.",
    )
    clusters: str | None = Field(
        None,
        min_length=1,
        description="Text field whose shared texts make examples belong together in every interval; `none`: each "
        "example is its own cluster. Default: premise, or the first of several fields, if it is shared by some.",
    )
    resamples: int = Field(1000, ge=100, description="Bootstrap resamples.")
    confidence: float = Field(0.95, gt=0, lt=1)
    noise_floor: float = Field(0.1, ge=0, description="Un-learning: smallest rise that counts, in nats.")
    seed: int = Field(0, ge=0, description="Of the bootstrap.")
    smallest_rho: float = Field(
        0.05,
        ge=0,
        lt=1,
        description="Claims: a correlation below this counts as none. The paper's smallest is 0.06.",
    )
    smallest_change: float = Field(
        0.05, ge=0, description="Claims: a change of loss below this counts as none, in nats."
    )
    measures: tuple[Measure, ...] = Field(
        (),
        description="More tables of `dissensus analyze`, by name: kendall, partials, by_gold, bins, calibration, "
        "learning_time, concordance, incremental_r2, cartography, rank_trend, paired_noise (docs/measures.md).",
    )
    calibration_bins: int = Field(15, ge=1, description="Equal bins of the expected calibration error.")
    extensions: tuple[str, ...] = Field(
        (),
        description="Names of metrics, claims and report sections of installed packages. Their code runs when the "
        "study is analysed, judged and reported.",
    )

    @property
    def cuts_in_bits(self) -> tuple[float, float] | None:
        """Both cut points in bits, or None where groups are shares."""
        assert self.cuts != "entropy_cuts"  # `for_dataset` comes first
        if self.cuts is None or self.cuts_unit == "bits":
            return self.cuts
        low, high = self.cuts
        return low / math.log(2), high / math.log(2)

    def for_dataset(self, dataset: DatasetSpec) -> AnalysisSpec:
        """The settings for a cell of a data set: with its own cut points, where `cuts` leaves them to it.

        Raises:
            SpecError: it has none.
        """
        if self.cuts != "entropy_cuts":
            return self
        own = dataset.entropy_cuts
        if own is None:
            raise SpecError(
                f"analysis.cuts takes each data set's entropy_cuts, and {dataset.name!r} has none; give it some, e.g. "
                "{low: 0.4, high: 0.7, unit: nats}"
            )
        return self.model_copy(update={"cuts": (own.low, own.high), "cuts_unit": own.unit})

    @model_validator(mode="after")
    def _fits_together(self) -> AnalysisSpec:
        if self.cuts_unit != "bits" and not isinstance(self.cuts, tuple):
            raise ValueError("cuts_unit is the unit of cuts; give cuts, e.g. cuts: [0.4, 0.7]")
        for name in ("covariates", "measures"):
            listed = getattr(self, name) or ()
            repeated = [item for item in dict.fromkeys(listed) if listed.count(item) > 1]
            if repeated:
                raise ValueError(f"{name} lists {repeated[0]!r} twice; name each once")
        timed = [name for name in self.measures if name in ("learning_time", "concordance")]
        if timed and self.learned_loss is None:
            raise ValueError(
                f"the measure {timed[0]!r} goes by learning time; give learned_loss, e.g. learned_loss: 0.693"
            )
        return self

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A study.yaml names extensions, and settings that came after the first ones, only where they are chosen."""
        stored: dict[str, Any] = dump(self)
        for name in LATER:
            if getattr(self, name) == type(self).model_fields[name].get_default():
                stored.pop(name, None)
        return stored


LATER = (
    *("cuts_unit", "aulc", "learned_loss", "cartography", "covariates", "measures", "calibration_bins"),
    "extensions",
)
"""Settings that a study.yaml leaves out at their default: a study that was run before they came keeps its bytes."""
