"""Reading of a cell: its curves and what every table, verdict and page takes from them, each computed once.

Gold label, gold loss, annotation entropy and entropy group, who backs the gold label, AULC and the other metrics,
clusters, whether the cell learned, and the un-learning flag as it is shown.

Curves are in memory or, where they are too many, stay in their store and are read by blocks. Both give the same
numbers: metrics, correlations and counts to the bit, mean losses and their bands to rounding (with more than some
thousand clusters the bands of a streamed cell are estimated from buckets of them: `stats.running`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dissensus.analysis import covariates as named_covariates
from dissensus.analysis.clusters import Clusters, clusters_of, stored_clusters
from dissensus.analysis.extensions import METRICS, extensions_at
from dissensus.analysis.settings import groups_of, metrics_of
from dissensus.config import AnalysisSpec, RunSpec
from dissensus.curves import Curves, CurveSource, FloatArray
from dissensus.data.agreement import annotation_entropy, backed, gold_share
from dissensus.data.annotations import NO_GOLD
from dissensus.data.noise import NoisyLabels
from dissensus.metrics import ExampleMetrics, LearningTime, gold_margins, learning_time
from dissensus.metrics.learning import Learning, answers_of, did_it_learn, examples_to_judge
from dissensus.stats import GroupCurve, group_curves, stored_group_curves
from dissensus.stats.groups import SETTLED, UNGROUPED
from dissensus.store import StoredCurves
from dissensus.store.files import ROW_GROUP
from dissensus.store.run_facts import RunFacts

BACKED, REJECTED = "backed", "rejected"
SIDES = (BACKED, REJECTED)
"""Of a group: examples whose gold label more than half of their annotators chose, and the others with both."""
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False, repr=False)
class CellReading:
    """One completed cell of n examples at T tracking points, as the study's analysis reads it.

    Attributes:
        spec: what was run.
        stored: its curves on the stored gold label, in memory, or their store.
        settings: the study's analysis settings, with this data set's cut points where they are left to it.
        base: of a variant, the cell that it is a variant of; None for the study's own cells.
        given: of a cell with label noise, the labels that the tracked examples were trained on (their true ones where
            they were not trained on) and which of them were flipped; None without noise.
        shared_clusters: finds what is resampled together, once for all cells with the same texts; None where the cell
            finds it by itself.
    """

    spec: RunSpec
    stored: Curves | StoredCurves
    settings: AnalysisSpec
    base: RunSpec | None = None
    given: NoisyLabels | None = None
    shared_clusters: Callable[[], Clusters] | None = None
    _bands: dict[tuple[float, str], dict[str, GroupCurve]] = field(
        default_factory=dict, init=False, repr=False
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", self.settings.for_dataset(self.spec.dataset))

    def __len__(self) -> int:
        return len(self.stored)

    def __repr__(self) -> str:
        return f"CellReading({self.name}: {len(self)} examples x {len(self.steps)} tracking points)"

    @cached_property
    def name(self) -> str:
        """The cell's id, which names its folder."""
        return self.spec.cell_id

    @property
    def place(self) -> tuple[str, str, str, str]:
        """Data set, model, method and regime, as the study's tables name them; the same for all seeds."""
        spec = self.spec
        return spec.dataset.name, spec.model.label, spec.method.label, spec.regime

    # What is stored.

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names, length K."""
        return self.stored.labels

    @property
    def steps(self) -> NDArray[np.int64]:
        """Optimiser steps of the tracking points, shape (T,)."""
        return self.stored.steps

    @property
    def progress(self) -> FloatArray:
        """The same in [0, 1], shape (T,)."""
        return self.stored.progress

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return self.stored.total_steps

    @cached_property
    def facts(self) -> RunFacts:
        """What the manifest says of the run."""
        return RunFacts.of(self.stored.provenance)

    @property
    def measured_start(self) -> bool:
        """Whether the first tracking point is before training."""
        return bool(len(self.steps) and self.steps[0] == 0)

    @cached_property
    def ids(self) -> Any:
        """Example ids, Arrow strings."""
        if isinstance(self.stored, Curves):
            return pa.array(self.stored.ids, pa.string())
        return self.stored.column("id")

    @cached_property
    def regime(self) -> Any:
        """'held_out' or 'trained_on' for each example, Arrow strings."""
        if isinstance(self.stored, Curves):
            return pa.array(self.stored.regime.tolist(), pa.string())
        return self.stored.column("regime")

    @cached_property
    def counts(self) -> FloatArray:
        """Annotators per label, shape (n, K)."""
        return self.stored.counts

    @cached_property
    def covariates(self) -> Mapping[str, FloatArray]:
        """Name -> shape (n,)."""
        if isinstance(self.stored, Curves):
            return self.stored.covariates
        return {name: self.stored.column(name).to_numpy() for name in self.stored.covariates}

    # The gold label, and the loss on it.

    @cached_property
    def gold(self) -> NDArray[np.int64]:
        """The label that the study's analysis reads the loss on, shape (n,); -1 where there is none."""
        return self.stored.gold if self.settings.gold == "as_stored" else majority_gold(self.counts)

    @cached_property
    def curves(self) -> Curves:
        """All curves in memory, on that gold label: `curves.losses` is the gold loss, nats, shape (n, T)."""
        if isinstance(self.stored, Curves):
            return self._on_gold(self.stored, 0, len(self))
        return self._on_gold(self.stored.read(0, len(self), text=True), 0, len(self))

    @cached_property
    def source(self) -> CurveSource:
        """The curves on that gold label, in memory or to be read block by block."""
        if isinstance(self.stored, Curves):
            return self.curves
        return self.stored if self.settings.gold == "as_stored" else _OnGold(self.stored, self.gold)

    def _on_gold(self, block: Curves, begin: int, end: int) -> Curves:
        return block if self.settings.gold == "as_stored" else block.on(self.gold[begin:end])

    def _at(self, place: int) -> CurveSource:
        """The curves at one tracking point alone, on the gold label."""
        if isinstance(self.stored, Curves):
            return self.curves.read_points([place])
        return _OnGold(self.stored.at([place]), self.gold)

    @property
    def _ends(self) -> tuple[int, int]:
        """Places of the first and the last tracking point."""
        return 0, len(self.steps) - 1

    # Annotators.

    @cached_property
    def plugin_entropy(self) -> FloatArray:
        """Annotation entropy by the plug-in estimator, bits, shape (n,); NaN without annotations."""
        return annotation_entropy(self.counts)

    @cached_property
    def entropy(self) -> FloatArray:
        """The same by the study's estimator; groups and correlations rest on it."""
        if self.settings.entropy == "plugin":
            return self.plugin_entropy
        return annotation_entropy(self.counts, estimator=self.settings.entropy)

    @cached_property
    def group(self) -> NDArray[np.str_]:
        """Entropy group: contested, middle or settled, '' where entropy is undefined, shape (n,)."""
        return groups_of(self.entropy, self.settings)

    @cached_property
    def annotations(self) -> FloatArray:
        """Annotations of each example, shape (n,)."""
        return np.asarray(self.counts.sum(axis=1), dtype=np.float64)

    @cached_property
    def gold_share(self) -> FloatArray:
        """Share of the annotators who chose the gold label, shape (n,); NaN where not defined."""
        return gold_share(self.counts, self.gold)

    @cached_property
    def backed(self) -> BoolArray:
        """Whether most annotators chose the gold label, shape (n,)."""
        return backed(self.counts, self.gold)

    @cached_property
    def side(self) -> NDArray[np.str_]:
        """'contested backed' and so on, shape (n,); '' without a group, a gold label or annotations."""
        known = (self.group != UNGROUPED) & (self.gold != NO_GOLD) & (self.annotations > 0)
        side = np.where(self.backed, BACKED, REJECTED)
        return np.where(known, np.char.add(np.char.add(self.group, " "), side), UNGROUPED)

    @cached_property
    def clusters(self) -> Clusters:
        """What is resampled together."""
        if self.shared_clusters is not None:
            return self.shared_clusters()
        if isinstance(self.stored, Curves):
            return clusters_of(self.stored, self.settings.clusters)
        return stored_clusters(self.stored, self.settings.clusters)

    @cached_property
    def cluster_names(self) -> NDArray[np.str_]:
        """A label of each example's cluster, shape (n,): of its shared text, else its own id."""
        names = self.clusters.names
        return np.array(self.ids.to_pylist()) if names is None else names

    # Metrics of each example.

    @cached_property
    def metrics(self) -> ExampleMetrics:
        """AULC, un-learning, cartography and the rest of every example, on the gold label."""
        return metrics_of(self.source, self.settings, further=extensions_at(METRICS, self.settings))

    @cached_property
    def learning_time(self) -> LearningTime | None:
        """By the study's `learned_loss`, on the gold label; None where it sets none."""
        threshold = self.settings.learned_loss
        return None if threshold is None else learning_time(self.source, threshold)

    @cached_property
    def held_fixed(self) -> dict[str, FloatArray]:
        """Further columns that the study's covariates name, each of shape (n,), beside those stored and measured."""
        return named_covariates.further_columns(
            self.settings.covariates or (), self.covariates, self.counts, self.texts
        )

    def texts(self, begin: int, end: int) -> Sequence[Mapping[str, str]]:
        """Text fields of the examples from place `begin` to before `end`; none where no text is stored."""
        return (
            self.stored.text[begin:end] if isinstance(self.stored, Curves) else self.stored.text(begin, end)
        )

    def log_probs_at(self, place: int) -> FloatArray:
        """Log-probabilities over the labels at one tracking point (-1: the last), nats, shape (n, K)."""
        point = self._at(range(len(self.steps))[place])
        return np.concatenate(
            [
                point.read(begin, min(len(self), begin + ROW_GROUP)).log_probs[:, 0].astype(np.float64)
                for begin in range(0, max(len(self), 1), ROW_GROUP)
            ]
        )

    @cached_property
    def margins(self) -> FloatArray:
        """Gold margins at the first and the last tracking point, shape (n, 2)."""
        return np.concatenate([gold_margins(self._at(place)) for place in self._ends], axis=1)

    @cached_property
    def answers(self) -> NDArray[np.int64]:
        """The most probable label (see `answers_of`) at the first and the last point, shape (n, 2)."""
        answers = np.empty((len(self), 2), dtype=np.int64)
        for column, place in enumerate(self._ends):
            point = self._at(place)
            for begin in range(0, len(self), ROW_GROUP):
                end = min(len(self), begin + ROW_GROUP)
                answers[begin:end, column] = answers_of(point.read(begin, end).log_probs[:, 0])
        return answers

    # Means of groups.

    def means(self, groups: NDArray[np.str_]) -> dict[str, FloatArray]:
        """Mean of the finite gold losses of each group that has an example, shape (T,); NaN where there is none.

        Args:
            groups: name of each example's group, shape (n,).
        """
        if isinstance(self.stored, Curves):
            return {
                name: mean_known(self.curves.losses[groups == name]) for name in sorted(set(groups.tolist()))
            }
        return {name: curve.mean for name, curve in self.bands(groups).items()}

    def bands(self, groups: NDArray[np.str_]) -> dict[str, GroupCurve]:
        """Mean curve of each group with its band at the study's confidence, made once for each grouping."""
        confidence = self.settings.confidence
        key = (confidence, hashlib.sha256(groups.tobytes()).hexdigest())
        if key not in self._bands:
            if isinstance(self.stored, Curves):
                self._bands[key] = group_curves(
                    self.curves.losses, groups, confidence=confidence, clusters=self.clusters.labels
                )
            else:
                self._bands[key] = stored_group_curves(
                    self.source, groups, confidence=confidence, clusters=self.clusters.numbers
                )
        return self._bands[key]

    # Did it learn, and what of un-learning is shown for that.

    @cached_property
    def learning(self) -> Learning:
        """Whether the cell learned; see `did_it_learn`."""
        judged = examples_to_judge(self.gold, self.group == SETTLED, self.backed)
        if not len(self.steps) or not len(self):
            return Learning("not told", ("there is no tracking point with an example",), judged.words)
        settled_backed = f"{SETTLED} {BACKED}"
        if judged.words == "settled" and settled_backed in (sides := self.bands(self.side)):
            curve = sides[settled_backed].mean
        else:
            named = np.where(judged.member, "judged", UNGROUPED)
            curve = self.means(named).get("judged", np.empty(0))
        return did_it_learn(
            self.gold,
            judged,
            start=self.metrics.initial_loss,
            end=self.metrics.final_loss,
            answers_start=self.answers[:, 0],
            answers_end=self.answers[:, 1],
            labels=self.labels,
            curve=curve,
            last_step=int(self.steps[-1]),
        )

    @property
    def learned_nothing(self) -> bool:
        """Whether no un-learning is shown: nothing is un-learned where nothing was learned."""
        return self.learning.learned == "no"

    @property
    def unlearned(self) -> BoolArray:
        """The un-learning flag (decided in `metrics.unlearning`), shape (n,); of no meaning where it is not shown."""
        return self.metrics.unlearning.flag

    @cached_property
    def flag_shown(self) -> BoolArray:
        """Whether the flag is defined, and the cell learned something, shape (n,)."""
        defined = self.metrics.unlearning.defined
        return np.zeros_like(defined) if self.learned_nothing else defined


class _OnGold:
    """A store's curves with other gold labels."""

    def __init__(self, stored: StoredCurves, gold: NDArray[np.int64]) -> None:
        self.steps, self.total_steps, self.progress = stored.steps, stored.total_steps, stored.progress
        self._stored, self._gold = stored, gold

    def __len__(self) -> int:
        return len(self._stored)

    def read(self, begin: int, end: int) -> Curves:
        """A block, on these labels."""
        return self._stored.read(begin, end).on(self._gold[begin:end])


def mean_known(losses: FloatArray) -> FloatArray:
    """Mean over the finite values of each column, shape (T,); NaN where there is none."""
    known = np.isfinite(losses)
    mean = np.full(losses.shape[1], np.nan)
    np.divide(np.where(known, losses, 0.0).sum(axis=0), known.sum(axis=0), out=mean, where=known.any(axis=0))
    return mean


def majority_gold(counts: FloatArray) -> NDArray[np.int64]:
    """The most frequent label of each example, shape (n,), the first of equals; -1 where nobody was asked."""
    return np.where(counts.sum(axis=1) > 0, counts.argmax(axis=1), NO_GOLD).astype(np.int64)
