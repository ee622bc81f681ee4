"""Curve model: probabilities that an example is mislabelled, contested or agreed, from the features of its curves.

A multinomial logistic model for each regime, whose coefficients were fitted once on runs of which the truth is known
(`curve_model.json` names the command) and are the same for every study.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dissensus.analysis.triage.evidence import FEATURES
from dissensus.curves import FloatArray

CLASSES = ("mislabelled", "contested", "agreed")


class RegimeModel(BaseModel):
    """The fitted model of one regime.

    Attributes:
        scale: standard deviation of each feature in the runs that it was fitted on.
        coefficients: one row a class, on the features over `scale`.
        intercepts: one a class.
        shares: of the classes in the runs that it was fitted on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scale: Annotated[tuple[float, ...], Field(min_length=len(FEATURES), max_length=len(FEATURES))]
    coefficients: tuple[tuple[float, ...], ...]
    intercepts: tuple[float, ...]
    shares: tuple[float, ...]


class CurveModel(BaseModel):
    """What `curve_model.json` holds.

    Attributes:
        command: what made it.
        features: names, as in `evidence.FEATURES`.
        held_out: the model of examples that are held out.
        trained_on: of those that are trained on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    command: str
    features: tuple[str, ...]
    held_out: RegimeModel
    trained_on: RegimeModel


@cache
def curve_model() -> CurveModel:
    """The model that comes with the package."""
    text = files(__package__).joinpath("curve_model.json").read_text(encoding="utf-8")
    return CurveModel.model_validate_json(text)


def evidence_factors(features: FloatArray, model: RegimeModel) -> FloatArray:
    """How much likelier the curves of n examples are under each class than on the whole, shape (n, 3).

    The model's probabilities over the shares of the classes where it was fitted: so they carry no base rate. A run
    without skill has the same factors for every example. NaN where the curves say nothing.

    Args:
        features: of one run, or the mean over several, shape (n, F).
        model: of the examples' regime.
    """
    known = np.isfinite(features).all(axis=1)
    factors = np.full((len(features), len(CLASSES)), np.nan)
    scores = features[known] / np.array(model.scale) @ np.array(model.coefficients).T + np.array(
        model.intercepts
    )
    likely = np.exp(scores - scores.max(axis=1, keepdims=True))
    factors[known] = likely / likely.sum(axis=1, keepdims=True) / np.array(model.shares)
    return factors
