"""Competence of annotators and posterior labels by the models of Dawid and Skene and of MACE, from crowd-kit.

Sources: A. P. Dawid and A. M. Skene, "Maximum likelihood estimation of observer error-rates using the EM algorithm",
Applied Statistics 28, 1979; D. Hovy et al., "Learning whom to trust with MACE", NAACL 2013.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from dissensus.data.annotators.panel import FloatArray, Panel
from dissensus.display import ShortRepr
from dissensus.errors import MissingDependencyError


@dataclass(frozen=True, eq=False, repr=False)
class Competence(ShortRepr):
    """Two models' view of a panel.

    Attributes:
        dawid_skene: chance that an annotator gives the label that the model takes for true, shape (annotators,).
        mace: chance that an annotator answers by what is asked and not by habit, shape (annotators,).
        posterior: Dawid and Skene's chance of each label, shape (items, K).
        posterior_mace: MACE's.
        left_out: answers of several labels, which neither model can take.

    NaN where nothing was answered.
    """

    dawid_skene: FloatArray
    mace: FloatArray
    posterior: FloatArray
    posterior_mace: FloatArray
    left_out: int


def competence(panel: Panel, *, seed: int = 0) -> Competence:
    """Fit both models.

    Args:
        panel: the answers.
        seed: of MACE's start.

    Raises:
        MissingDependencyError: crowd-kit is not installed.
    """
    try:
        import pandas as pd
        from crowdkit.aggregation import MACE, DawidSkene
    except ImportError:
        raise MissingDependencyError("crowd-kit", "crowd", "competence of annotators") from None
    whole = ~panel.split
    people, items, labels = len(panel.names), panel.items, panel.labels
    accuracy, knowing = np.full(people, np.nan), np.full(people, np.nan)
    posterior, posterior_mace = np.full((items, labels), np.nan), np.full((items, labels), np.nan)
    if whole.any():
        answers = pd.DataFrame(
            {
                "task": panel.item[whole],
                "worker": panel.annotator[whole],
                "label": panel.shares[whole].argmax(axis=1),
            }
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pandas, about crowd-kit's use of it
            model = DawidSkene(n_iter=100, tol=1e-5).fit(answers)
            # Its restarts all begin with the same numbers when the seed is one number: one is as good as ten.
            mace = MACE(n_restarts=1, random_state=seed, verbose=0).fit(answers)
        _fill(posterior, model.probas_)
        errors: Any = model.errors_
        hits = pd.Series(0.0, index=errors.index.get_level_values("worker").unique())
        for label in errors.columns:
            given = errors[label].xs(label, level="label") * model.priors_[label]
            hits = hits.add(given, fill_value=0.0)
        accuracy[hits.index.to_numpy()] = np.minimum(hits.to_numpy(), 1.0)
        _fill(posterior_mace, mace.probas_)
        knowing[pd.factorize(answers["worker"])[1].to_numpy()] = mace.spamming_[:, 1]
    return Competence(accuracy, knowing, posterior, posterior_mace, int(panel.split.sum()))


def _fill(target: FloatArray, chances: Any) -> None:
    """Write a frame of chances, indexed by item, with a column per label that somebody gave."""
    rows = chances.index.to_numpy()
    target[rows] = 0.0
    for label in chances.columns:
        target[rows, int(label)] = chances[label].to_numpy()
