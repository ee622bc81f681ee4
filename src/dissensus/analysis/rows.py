"""Rows of the analysis' tables as their readers take them: frozen, each column an attribute, read in one place."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Row = TypeVar("Row", bound=DataclassInstance)


def rows_of(table: pa.Table, kind: type[Row]) -> list[Row]:
    """The rows of a table, of its columns those that the class of rows has as fields.

    Args:
        table: may lack columns for which the class has a default.
        kind: the class of rows: a dataclass whose fields are named like columns.
    """
    names = [field.name for field in fields(kind) if field.name in table.column_names]
    return [kind(**row) for row in table.select(names).to_pylist()]


@dataclass(frozen=True)
class SummaryRow:
    """A condition for a terminal: columns of the conditions table, NaN where a number is undefined.

    Attributes:
        condition: its name.
        dataset: name of the data set.
        seeds: how many.
        n: examples, a mean over seeds.
        learned: 'yes', 'no' or 'not told'.
        learned_why: the reason, '' for 'yes'.
        clusters: what is resampled together, how many; a mean over seeds.
        cluster_field: the text field whose equal texts make a cluster; 'none' where each example is its own.
        rho: of entropy with AULC.
        rho_low: lower end of its interval.
        rho_high: upper end.
        rho_withheld: why there is no interval, '' where there is one.
        partial: the same given the standard covariates, with its interval.
        partial_low: see `rho_low`.
        partial_high: see `rho_high`.
        partial_withheld: see `rho_withheld`.
        rho_why: why rho is undefined, '' where it is defined.
        rho_slope: of entropy with the slope of the curve.
        unlearned_contested: share of un-learned examples among the contested.
        unlearned_settled: among the settled.
        loss_contested_start: mean gold loss of the contested before training, nats.
        loss_contested_end: at the end.
        loss_settled_start: of the settled before training.
        loss_settled_end: at the end.
    """

    condition: str
    dataset: str
    seeds: int
    n: float
    learned: str
    learned_why: str
    clusters: float
    cluster_field: str
    rho: float
    rho_low: float
    rho_high: float
    rho_withheld: str
    partial: float
    partial_low: float
    partial_high: float
    partial_withheld: str
    rho_why: str
    rho_slope: float
    unlearned_contested: float
    unlearned_settled: float
    loss_contested_start: float
    loss_contested_end: float
    loss_settled_start: float
    loss_settled_end: float


@dataclass(frozen=True)
class LearnedRow:
    """Whether a condition learned: columns of the conditions table.

    Attributes:
        condition: its name.
        learned: 'yes', 'no' or 'not told'.
        learned_why: the reason, '' for 'yes'.
        total_steps: optimiser steps, a mean over seeds.
        judged_loss_lowest: lowest mean loss of the examples that it is judged on, nats.
        judged_loss_end: the same at the end.
        constant_loss: of the best constant answer.
    """

    condition: str
    learned: str
    learned_why: str
    total_steps: float
    judged_loss_lowest: float
    judged_loss_end: float
    constant_loss: float


@dataclass(frozen=True)
class HangsOnRow:
    """What hangs on a choice, over the conditions; `sensitivity.table.hangs_on` says what each column counts.

    Attributes:
        choice: what is chosen.
        value: how.
        reference_value: how the study chose.
        source: what both were read from.
        conditions: how many were compared.
        rho_median_change: of the absolute change of rho.
        rho_largest_change: likewise.
        rho_withheld: conditions in which that change has no interval.
        rho_sign_turns_clearly: conditions in which rho's sign turns, both intervals clear of 0.
        delta_contested_median_change: the same of the change of the contested loss, nats.
        delta_contested_largest_change: likewise.
        delta_contested_withheld: likewise.
        delta_contested_sign_turns_clearly: likewise.
    """

    choice: str
    value: str
    reference_value: str
    source: str
    conditions: int
    rho_median_change: float
    rho_largest_change: float
    rho_withheld: int
    rho_sign_turns_clearly: int
    delta_contested_median_change: float
    delta_contested_largest_change: float
    delta_contested_withheld: int
    delta_contested_sign_turns_clearly: int


@dataclass(frozen=True)
class LabelsRow:
    """A condition's correlation from so many labels per item; `annotators` says what each column holds.

    Attributes:
        condition: its name.
        items: items used.
        labels: per item.
        rho: mean over sub-samples.
        rho_corrected: the same for the unreliability of so few labels.
        rho_full: from all labels.
        share: rho / rho_full.
    """

    condition: str
    items: int
    labels: int
    rho: float
    rho_corrected: float
    rho_full: float
    share: float


@dataclass(frozen=True)
class NoisyRun:
    """A cell with label noise, as the tables of label noise name it.

    Attributes:
        cell: its id.
        dataset: name of the data set.
        model: name of the model.
        method: full, ia3, lora-r8.
        regime: held_out or trained_on.
        seed: of the run.
        noise: kind of the noise.
        rate: share of the training labels that were flipped.
    """

    cell: str
    dataset: str
    model: str
    method: str
    regime: str
    seed: int
    noise: str
    rate: float


@dataclass(frozen=True)
class RankingRow(NoisyRun):
    """How well a score finds the flipped labels of a cell.

    Attributes:
        score: its name.
        source: what it is made from.
        auroc: area under the ROC curve.
        auroc_low: lower end of its interval; NaN without one.
        auroc_high: upper end.
        ap: average precision.
        note: what is to be known, such as why there is no interval.
    """

    score: str
    source: str
    auroc: float
    auroc_low: float
    auroc_high: float
    ap: float
    note: str


@dataclass(frozen=True)
class LikenessRow(NoisyRun):
    """What flipped examples of a cell move like; `noise.tables.noise_likeness` has the definitions.

    Attributes:
        label: given or true: what the losses are on.
        flipped_group: which flipped examples.
        likeness: how much nearer to contested than to plain examples, nats.
        low: lower end of its interval.
        high: upper end.
        withheld: why there is none, or ''.
        from_plain: distance from plain examples, nats.
        from_contested: from contested ones.
        equivalence: how much nearer to contested ones than those are to plain ones, nats.
        equivalence_low: lower end of its interval.
        equivalence_high: upper end.
        equivalence_withheld: why there is none, or ''.
        contested_from_plain: distance of the contested from the plain, nats.
    """

    label: str
    flipped_group: str
    likeness: float
    low: float
    high: float
    withheld: str
    from_plain: float
    from_contested: float
    equivalence: float
    equivalence_low: float
    equivalence_high: float
    equivalence_withheld: str
    contested_from_plain: float


@dataclass(frozen=True)
class NoiseCurveRow(NoisyRun):
    """Mean loss of a group of a cell's examples at one tracking point.

    Attributes:
        group: flipped, contested, plain or flipped_settled.
        label: given or true: what the losses are on.
        progress: of the run, in [0, 1].
        mean: loss in nats.
        low: lower end of its band.
        high: upper end.
    """

    group: str
    label: str
    progress: float
    mean: float
    low: float
    high: float
