"""Contested and un-learned examples as issues of cleanlab's Datalab, beside those that it finds itself."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dissensus.curves import Curves, FloatArray
from dissensus.data.agreement import annotation_entropy
from dissensus.errors import DataError, MissingDependencyError, SpecError
from dissensus.exchange.frames import learning_of
from dissensus.metrics import unlearning
from dissensus.stats import entropy_groups

ISSUES = {
    "contested": "Annotators disagree on the example: its annotation entropy is among the highest.",
    "unlearned": "The loss on the example's label rose during training: it is worse at the end than at the start.",
}


def add_to_datalab(
    lab: Any,
    curves: Curves,
    ids: Sequence[str],
    *,
    issues: Sequence[str] = tuple(ISSUES),
    share: float = 1 / 3,
    noise_floor: float = 0.1,
) -> None:
    """Add issue types to a `cleanlab.Datalab`; `lab.report()` and `lab.get_issues(name)` then show them.

    Scores follow Datalab's convention, in [0, 1], the lowest the most severe:

    - `contested`: 1 - H / log2 K, with H the annotation entropy; an issue where the example is in the group of that
      name (see `entropy_groups`). `contested_entropy` (bits) stands beside it.
    - `unlearned`: exp(-max(delta, 0)): p(gold) at the last tracking point over that at the first, at most 1; an issue
      where the un-learning flag is set (see `unlearning`). `unlearned_delta` and `unlearned_rise` (nats) stand beside.

    Where the model learned nothing (see `learning_of`), nothing is un-learned: the issue `unlearned` is left out with a
    `UserWarning` that says why.

    A row of the lab without an example in the curves, and an example for which the number is not defined, is no issue
    and has the score NaN; the summary's score is the mean over the others.

    Args:
        lab: the Datalab; its data has one row per id.
        curves: n examples.
        ids: of the lab's rows, in their order; others than the curves' are allowed.
        issues: which to add.
        share: share of examples that count as contested, in (0, 1/2].
        noise_floor: the smallest rise that counts as un-learning, nats.

    Raises:
        MissingDependencyError: cleanlab is not installed.
        SpecError: an issue is unknown, or an option not valid.
        DataError: the ids are not one per row or not unique, an issue is defined for none of them, or `unlearned` is
            the only one asked for and the model learned nothing.
    """
    unknown = [name for name in issues if name not in ISSUES]
    if unknown:
        raise SpecError(f"the issue {unknown[0]!r} is unknown; expected {' or '.join(ISSUES)}")
    for name, about in ISSUES.items():
        register_issue(name, about)
    check_ids(lab, ids)
    if "unlearned" in issues and (judged := learning_of(curves, share=share)).learned == "no":
        reason = f"the issue 'unlearned' is withheld, for the model learned nothing: {judged.why}"
        issues = [name for name in issues if name != "unlearned"]
        if not issues:
            raise DataError(reason)
        warnings.warn(reason, stacklevel=2)
    columns = {
        "contested": lambda: _contested(curves, share),
        "unlearned": lambda: _unlearned(curves, noise_floor),
    }
    position = {example_id: row for row, example_id in enumerate(curves.ids)}
    rows = np.array([position.get(i, -1) for i in ids], dtype=np.intp)
    frames = {
        name: {key: _by_row(column, rows) for key, column in columns[name]().items()} for name in issues
    }
    for name, frame in frames.items():
        # Datalab prints what an issue manager raises and continues: whatever can be wrong is looked at before.
        if np.isnan(frame["score"]).all():
            raise DataError(
                f"the issue {name!r} is not defined for any of the {len(ids)} rows; expected ids of the curves, with "
                f"{'annotations' if name == 'contested' else 'gold labels and two tracking points'}"
            )
    lab.find_issues(issue_types={name: {"columns": frame} for name, frame in frames.items()})


def _contested(curves: Curves, share: float) -> dict[str, NDArray[Any]]:
    entropy = annotation_entropy(curves.counts)
    score = np.clip(1 - entropy / np.log2(len(curves.labels)), 0.0, 1.0)
    return {
        "is_issue": entropy_groups(entropy, share=share) == "contested",
        "score": score,
        "entropy": entropy,
    }


def _unlearned(curves: Curves, noise_floor: float) -> dict[str, NDArray[Any]]:
    reversal = unlearning(curves, noise_floor=noise_floor)
    score = np.where(reversal.defined, np.exp(-np.maximum(reversal.delta, 0.0)), np.nan)
    return {"is_issue": reversal.flag, "score": score, "delta": reversal.delta, "rise": reversal.rise}


def _by_row(values: NDArray[Any], rows: NDArray[np.intp]) -> NDArray[Any]:
    """Values of the lab's rows; False or NaN where a row (-1) is of no example."""
    empty = values.dtype.type(0) if values.dtype == np.bool_ else np.nan
    return np.asarray(np.where(rows >= 0, values[np.maximum(rows, 0)], empty))


def check_ids(lab: Any, ids: Sequence[str]) -> None:
    """Raise `DataError` unless there is one id per row of the Datalab, and none twice."""
    size = len(lab.data)
    if size != len(ids):
        raise DataError(
            f"{len(ids)} ids for the {size} rows of the Datalab; expected one per row, in their order"
        )
    if len(set(ids)) < len(ids):
        raise DataError("an id stands for two rows of the Datalab; expected unique ids")


@cache
def register_issue(name: str, about: str) -> None:
    """Make an issue type of ours known to Datalab, once.

    Raises:
        MissingDependencyError: cleanlab is not installed.
    """
    try:
        import pandas
        from cleanlab.datalab.internal.issue_manager import IssueManager
        from cleanlab.datalab.internal.issue_manager_factory import register
    except ImportError:
        raise MissingDependencyError("cleanlab[datalab]", "cleanlab", "adding issues to a Datalab") from None

    class Manager(IssueManager):  # type: ignore[misc]
        """Hands Datalab the columns that were worked out here."""

        description = about
        issue_name = name

        def find_issues(self, columns: dict[str, FloatArray], **_: Any) -> None:
            """Take the columns; Datalab calls it."""
            # The issue's name in a column's is what Datalab finds the columns of an issue by.
            names = {"is_issue": f"is_{name}_issue"}
            self.issues = pandas.DataFrame(
                {names.get(key, f"{name}_{key}"): column for key, column in columns.items()}
            )
            self.summary = self.make_summary(score=float(np.nanmean(columns["score"])))
            self.info = {"rows_undefined": int(np.isnan(columns["score"]).sum())}

    register(Manager)
