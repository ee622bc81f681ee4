"""Rows of the conditions table as the page needs them: numbers with their wording, never bare floats."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from dissensus.config import NO_VARIANT
from dissensus.wording import interval_end, number

GROUPS = ("contested", "middle", "settled")
SIDES = ("backed", "rejected")
REGIMES = {"held_out": "held out", "trained_on": "trained on"}
GOLD = {
    "original": "the data set's original label",
    "majority": "the majority of the annotations",
    "published": "the label that the data set publishes",
    "simulated": "the simulated panel's gold label",
}
"""`gold_source` of the tables -> words. Which of these is meant decides what un-learning means."""


OPTIONAL_WORDS = ("cluster_field", "cluster_reason", "covariates_left_out", "learned", "learned_why")
"""Columns of words that tables of earlier versions do not have."""


@dataclass(frozen=True)
class Estimate:
    """A number with its interval.

    Attributes:
        value: the estimate; NaN where it is not defined.
        low: lower end; NaN where there is no interval.
        high: upper end.
        p: p-value after Holm's adjustment over the conditions; NaN where there is none.
        spread: standard deviation over seeds; NaN for one seed.
        why: why there is no value, or no interval, in words; '' where the tables do not say.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    spread: float = math.nan
    why: str = ""

    @property
    def defined(self) -> bool:
        """Whether there is a value."""
        return math.isfinite(self.value)

    @property
    def interval_known(self) -> bool:
        """Whether both ends of the interval are known."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def side(self) -> int:
        """1 when the interval lies above 0, -1 when below, 0 when it holds 0 or is not known."""
        if not self.interval_known:
            return 0
        return 1 if self.low > 0 else -1 if self.high < 0 else 0

    @property
    def text(self) -> str:
        """The value, two decimals, with a true minus sign."""
        return number(self.value)

    @property
    def interval(self) -> str:
        """The interval, or nothing."""
        return f"{interval_end(self.low)} to {interval_end(self.high)}" if self.interval_known else ""


@dataclass(frozen=True)
class GroupCell:
    """One entropy group of one condition, or one side of it: the examples whose gold label annotators back, or do not.

    Attributes:
        group: contested, middle or settled.
        start: mean gold loss before training, nats.
        lowest: lowest point of the group's mean curve.
        end: mean gold loss at the last tracking point.
        unlearned: share of un-learned examples; NaN for a side.
        delta: mean of end minus start, with its interval.
        n: examples in the group.
    """

    group: str
    start: float
    lowest: float
    end: float
    unlearned: float
    delta: Estimate
    n: int

    @property
    def path(self) -> str:
        """Start, lowest point where it is a real dip, and end: '1.10 → 1.04 → 1.09'."""
        if not (math.isfinite(self.start) or math.isfinite(self.end)):
            return number(math.nan)
        middle = []
        if math.isfinite(self.lowest) and self.lowest < min(self.start, self.end) - 0.005:
            middle = [number(self.lowest)]
        return " → ".join([number(self.start), *middle, number(self.end)])

    @property
    def share(self) -> str:
        """The un-learned share in per cent."""
        return percent(self.unlearned)

    @property
    def change(self) -> str:
        """Mean change of loss with its interval: '0.20 (0.15 to 0.25)'."""
        return self.delta.text + (f" ({self.delta.interval})" if self.delta.interval else "")


@dataclass(frozen=True)
class ConditionRow:
    """A condition in numbers.

    Attributes:
        condition: its name in the tables.
        anchor: id of its section in the page.
        dataset: name of the data set.
        model: name of the model.
        head: classifier or verbalizer.
        method: full, ia3, lora-r8.
        regime: held_out or trained_on.
        gold: `gold_source` of the tables.
        seeds: how many.
        n: examples.
        steps: optimiser steps (mean over seeds).
        points: tracking points.
        rho: of entropy with AULC.
        slope: of entropy with the slope of the curve.
        partial: of entropy with AULC, given the standard covariates.
        hard: the same, the share of annotators who chose the gold label also given.
        groups: by name.
        difference: contested minus settled mean change, with its interval.
        accuracy: at the end.
        majority_agrees: share of examples whose gold label is the annotators' most frequent one.
        covariates: names of the standard covariates that applied.
        undefined: what was not defined -> how many examples (mean over seeds, above 0 only).
        clusters: what is resampled together for the intervals, how many (mean over seeds); 0 where the tables do not
            say.
        cluster_field: the text field whose equal texts make a cluster, 'none' where each example is its own; '' where
            the tables do not say.
        cluster_reason: why it is that field, or none, for a reader.
        covariates_left_out: covariates that the cells do not have, in words; '' where there are none.
        learned: whether training learned anything: 'yes', 'no', 'not told'; '' in tables that do not say.
        learned_why: the reason, '' for 'yes'.
        sides: group -> 'backed' and 'rejected' -> its examples whose gold label more than half of the annotators
            chose, or not; empty in tables that do not have it.
    """

    condition: str
    anchor: str
    dataset: str
    model: str
    head: str
    method: str
    regime: str
    gold: str
    seeds: int
    n: int
    steps: int
    points: int
    rho: Estimate
    slope: Estimate
    partial: Estimate
    hard: Estimate
    groups: Mapping[str, GroupCell]
    difference: Estimate
    accuracy: float
    majority_agrees: float
    covariates: str
    undefined: Mapping[str, int]
    clusters: int = 0
    cluster_field: str = ""
    cluster_reason: str = ""
    covariates_left_out: str = ""
    learned: str = ""
    learned_why: str = ""
    sides: Mapping[str, Mapping[str, GroupCell]] = field(default_factory=dict)

    @property
    def withheld(self) -> str:
        """Why flags and rankings of examples are not shown; '' where they are."""
        if self.learned != "no":
            return ""
        return (
            f"the model did not learn: {self.learned_why}" if self.learned_why else "the model did not learn"
        )

    @property
    def split_known(self) -> bool:
        """Whether some example's gold label is known to be backed or rejected by the annotators."""
        return any(side.n for sides in self.sides.values() for side in sides.values())

    @property
    def contested(self) -> GroupCell:
        """The contested group."""
        return self.groups["contested"]

    @property
    def settled(self) -> GroupCell:
        """The settled group."""
        return self.groups["settled"]

    @property
    def family(self) -> str:
        """What the conditions that differ in method alone share: data set, model, head and regime."""
        head = "" if self.head == "classifier" else f" ({self.head})"
        return f"{self.dataset} · {self.model}{head} · {self.regime_words}"

    @property
    def title(self) -> str:
        """The condition in words."""
        return f"{self.family} · {self.method_words}"

    @property
    def regime_words(self) -> str:
        """The regime as the page writes it."""
        return REGIMES.get(self.regime, self.regime)

    @property
    def method_words(self) -> str:
        """The method as the page writes it."""
        return method_words(self.method)


def condition_rows(conditions: pa.Table) -> tuple[ConditionRow, ...]:
    """The study's own conditions; its variants are compared with them elsewhere. All, where only variants are done."""
    rows = conditions.to_pylist()
    return tuple(map(_condition_row, [row for row in rows if row["variant"] == NO_VARIANT] or rows))


def _condition_row(row: Mapping[str, Any]) -> ConditionRow:
    return ConditionRow(
        condition=row["condition"],
        anchor="c-" + "".join(c if c.isascii() and c.isalnum() else "-" for c in row["condition"]),
        **{key: row[key] for key in ("dataset", "model", "head", "method", "regime", "covariates")},
        gold=row["gold_source"],
        seeds=row["seeds"],
        n=whole(row["n"]),
        steps=whole(row["total_steps"]),
        points=whole(row["tracking_points"]),
        rho=_estimate(row, "rho"),
        slope=_estimate(row, "rho_slope"),
        partial=_estimate(row, "partial"),
        hard=_estimate(row, "partial_gold_share"),
        groups={group: _group(row, group) for group in GROUPS},
        difference=_estimate(row, "delta_difference"),
        accuracy=row["accuracy_end"],
        majority_agrees=row["gold_is_majority"],
        undefined={
            key.removeprefix("undefined_"): whole(value)
            for key, value in row.items()
            if key.startswith("undefined_") and whole(value)
        },
        clusters=whole(row.get("clusters", math.nan)),
        **{key: str(row.get(key) or "") for key in OPTIONAL_WORDS},
        sides={group: _sides(row, group) for group in GROUPS if f"n_{group}_backed" in row},
    )


def method_words(method: str) -> str:
    """`lora-r8` -> 'LoRA, rank 8'; `full` -> 'full fine-tuning'; `ia3` -> 'IA3'."""
    if method.startswith("lora-r"):
        return f"LoRA, rank {method.removeprefix('lora-r')}"
    return {"full": "full fine-tuning", "ia3": "IA3"}.get(method, method)


def percent(value: float) -> str:
    """A share in whole per cent; 'undefined' for NaN."""
    return f"{100 * value:.0f}%" if math.isfinite(value) else "undefined"


def whole(value: float) -> int:
    """The nearest whole number; 0 for NaN (a count of nothing)."""
    return round(value) if math.isfinite(value) else 0


def _estimate(row: Mapping[str, Any], key: str) -> Estimate:
    def value(end: str) -> float:
        stored = row.get(key + end)
        return math.nan if stored is None else float(stored)

    return Estimate(
        value(""),
        value("_low"),
        value("_high"),
        p=value("_p_holm"),
        spread=value("_sd"),
        why=str(row.get(f"{key}_withheld") or ""),
    )


def _group(row: Mapping[str, Any], name: str) -> GroupCell:
    """`name`: a group, or a group and a side of it, as in 'settled_backed'."""

    def value(key: str) -> float:
        stored = row.get(key)
        return math.nan if stored is None else float(stored)

    return GroupCell(
        group=name,
        **{at: value(f"loss_{name}_{at}") for at in ("start", "lowest", "end")},
        unlearned=value(f"unlearned_{name}"),
        delta=_estimate(row, f"delta_{name}"),
        n=whole(value(f"n_{name}")),
    )


def _sides(row: Mapping[str, Any], group: str) -> dict[str, GroupCell]:
    return {side: _group(row, f"{group}_{side}") for side in SIDES}
