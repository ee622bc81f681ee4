"""Columns of a cell: did it learn, and its entropy groups split by whether most annotators back the gold label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dissensus.analysis.cell_source import CellSource
from dissensus.curves import FloatArray
from dissensus.data.agreement import backed
from dissensus.data.annotations import NO_GOLD
from dissensus.metrics.learning import Learning, did_it_learn, examples_to_judge
from dissensus.stats import GroupCurve, group_curves
from dissensus.stats.groups import GROUPS, SETTLED, UNGROUPED

BACKED, REJECTED = "backed", "rejected"
SIDES = (BACKED, REJECTED)
"""Of a group: examples whose gold label more than half of their annotators chose, and the others with both."""


@dataclass(frozen=True)
class Sided:
    """A cell's entropy groups, each split by whether most annotators back the gold label.

    Attributes:
        source: the cell.
        group: entropy group, '' where entropy is undefined, shape (n,).
        options: keyword options of the bands along training.
    """

    source: CellSource
    group: NDArray[np.str_]
    options: Mapping[str, Any]

    @cached_property
    def backed(self) -> NDArray[np.bool_]:
        """Whether most annotators chose the gold label, shape (n,)."""
        return backed(self.source.counts, self.source.gold)

    @cached_property
    def names(self) -> NDArray[np.str_]:
        """'contested backed' and so on, shape (n,); '' without a group, a gold label or annotations."""
        known = (
            (self.group != UNGROUPED) & (self.source.gold != NO_GOLD) & (self.source.counts.sum(axis=1) > 0)
        )
        side = np.where(self.backed, BACKED, REJECTED)
        return np.where(known, np.char.add(np.char.add(self.group, " "), side), UNGROUPED)

    @cached_property
    def bands(self) -> dict[str, GroupCurve]:
        """Mean loss of each side of each group with its band, by the names above."""
        return self.source.bands(self.names, self.options)

    def columns(self, delta: FloatArray, options: Mapping[str, Any]) -> dict[str, Any]:
        """Size, mean losses and mean change of each side of each group; NaN where it has no example.

        Args:
            delta: change of each example's loss, shape (n,).
            options: keyword options of the changes' intervals.
        """
        changes = group_curves(delta[:, None], self.names, **options)
        nothing = np.full(len(self.source.steps), np.nan)
        has_start = self.source.steps[0] == 0
        row: dict[str, Any] = {}
        for group in GROUPS:
            for side in SIDES:
                name, key = f"{group} {side}", f"{group}_{side}"
                band, change = self.bands.get(name), changes.get(name)
                curve = nothing if band is None else band.mean
                known = curve[np.isfinite(curve)]
                row[f"n_{key}"] = int((self.names == name).sum())
                row[f"loss_{key}_start"] = float(curve[0]) if has_start else float("nan")
                row[f"loss_{key}_lowest"] = float(known.min()) if known.size else float("nan")
                row[f"loss_{key}_end"] = float(curve[-1])
                row[f"delta_{key}"] = float(change.mean[0]) if change else float("nan")
                row[f"delta_{key}_low"] = float(change.low[0]) if change else float("nan")
                row[f"delta_{key}_high"] = float(change.high[0]) if change else float("nan")
                row[f"delta_{key}_withheld"] = change.withheld if change else "no example"
        return row

    def learning(self, start: FloatArray, end: FloatArray) -> Learning:
        """Whether the cell learned; see `did_it_learn`.

        Args:
            start: loss of each example before training, shape (n,).
            end: the same at the last tracking point.
        """
        source = self.source
        judged = examples_to_judge(source.gold, self.group == SETTLED, self.backed)
        if judged.words == "settled" and f"{SETTLED} {BACKED}" in self.bands:
            curve = self.bands[f"{SETTLED} {BACKED}"].mean
        else:
            curve = source.means(np.where(judged.member, "judged", UNGROUPED)).get("judged", np.empty(0))
        answers = source.answers()
        return did_it_learn(
            source.gold,
            judged,
            start=start,
            end=end,
            answers_start=answers[:, 0],
            answers_end=answers[:, -1],
            labels=source.labels,
            curve=curve,
            last_step=int(source.steps[-1]),
        )


def learned_columns(found: Learning) -> dict[str, Any]:
    """The columns that say whether a cell learned, and from what numbers."""
    return {
        "learned": found.learned,
        "learned_why": found.why,
        "judged_on": found.judged_on,
        "judged_n": found.n,
        "judged_loss_start": found.start,
        "judged_loss_lowest": found.lowest,
        "judged_loss_end": found.end,
        "constant_loss": found.constant,
        "judged_accuracy_start": found.accuracy_start,
        "judged_accuracy_end": found.accuracy_end,
        "majority_share": found.majority,
        "judged_recall_start": found.recall_start,
        "judged_recall_end": found.recall_end,
        "top_answer": found.top_label,
        "top_answer_share": found.top_share,
    }


def learned_over_seeds(cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The same columns of a condition: 'no' when any of its seeds did not learn, else 'not told' when any is not told.

    `seeds_not_learned` counts those that did not. The reason is that of the first seed that makes the answer what it
    is, with how many do where there are several seeds.
    """
    answers = [cell["learned"] for cell in cells]
    learned = next((answer for answer in ("no", "not told") if answer in answers), "yes")
    why = ""
    if learned != "yes":
        first = next(cell for cell in cells if cell["learned"] == learned)
        why = first["learned_why"]
        if len(cells) > 1:
            verb = "did not learn" if learned == "no" else "cannot be told"
            why = f"{answers.count(learned)} of {len(cells)} seeds {verb}; seed {first['seed']}: {why}"
    return {"learned": learned, "learned_why": why, "seeds_not_learned": answers.count("no")}
