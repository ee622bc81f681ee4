"""Cells measured for the paper's tables: each number that a table takes from one cell, computed once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dissensus.analysis.covariates import count_skewness, majority_share
from dissensus.analysis.paper.definitions import PAPER_RESAMPLES, PROXIES
from dissensus.analysis.reading import BoolArray, CellReading
from dissensus.curves import FloatArray
from dissensus.errors import SpecError
from dissensus.metrics import cartography_classes
from dissensus.seeds import named_generator
from dissensus.stats import partial_spearman, spearman
from dissensus.stats.association import ClassRho, KendallTau, kendall_tau_b, rho_by_class
from dissensus.stats.bins import QUARTILES, TERCILES, Bin, binned, quantile_cuts
from dissensus.stats.calibration import Calibration, calibration
from dissensus.stats.comparisons import LearningGap, learning_gap
from dissensus.stats.correlation import Correlation, item_percentiles
from dissensus.stats.groups import CONTESTED, GROUPS, SETTLED
from dissensus.stats.regression import IncrementalR2, incremental_r2
from dissensus.store.gradients import (
    GRADIENT_NORMS,
    GRADIENTS,
    ExampleGradientNorms,
    GroupGradients,
    load_gradient_norms,
    load_group_gradients,
)
from dissensus.store.validation import VALIDATION, load_validation

ALL, FLIPPED, UNFLIPPED = "all", "flipped", "not flipped"
ITEMS = (ALL, *GROUPS)
NAN = float("nan")


@dataclass(frozen=True, eq=False)
class PaperCell:
    """One finished cell of n examples.

    Attributes:
        reading: by the tables' definitions.
        folder: where it is stored.
    """

    reading: CellReading
    folder: Path

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Of the examples."""
        return tuple(self.reading.ids.to_pylist())

    @property
    def seed(self) -> int:
        """Of the run."""
        return self.reading.spec.seed

    @property
    def entropy(self) -> FloatArray:
        """Bits, shape (n,)."""
        return self.reading.entropy

    @property
    def aulc(self) -> FloatArray:
        """Nats, shape (n,)."""
        return self.reading.metrics.aulc

    @property
    def change(self) -> FloatArray:
        """Last minus first loss, nats, shape (n,)."""
        return self.reading.metrics.unlearning.delta

    @property
    def learning_point(self) -> FloatArray | None:
        """Learning time, shape (n,); None where the definitions have none."""
        times = self.reading.learning_time
        return None if times is None else times.point

    @property
    def timed(self) -> bool:
        """Whether the definitions have a learning time."""
        return self.reading.settings.learned_loss is not None

    @cached_property
    def cuts(self) -> tuple[float, ...]:
        """Cut points of the entropy groups, nats; none where groups are shares."""
        return tuple(cut * math.log(2) for cut in self.reading.settings.cuts_in_bits or ())

    @cached_property
    def rho(self) -> Correlation:
        """Of H and AULC, with our interval over clusters."""
        settings, clusters = self.reading.settings, self.reading.clusters.numbers
        return spearman(
            self.entropy,
            self.aulc,
            resamples=settings.resamples,
            confidence=settings.confidence,
            rng=named_generator(settings.seed, self.reading.name, "rho"),
            clusters=clusters,
        )

    @cached_property
    def rho_of_items(self) -> tuple[float, float]:
        """The paper's 95 % interval of that rho: percentiles over resampled items, seeded by the run's seed."""
        return item_percentiles(self.entropy, self.aulc, resamples=PAPER_RESAMPLES, rng=self.seed)

    @cached_property
    def tau(self) -> KendallTau:
        """Kendall's, of H and AULC."""
        return kendall_tau_b(self.entropy, self.aulc)

    def rho_in(self, label: str) -> float:
        """Rho of H and AULC within a gold class; NaN below 10 items."""
        by_label = {self.reading.labels[one.label]: one.rho for one in self._by_gold}
        return by_label.get(label, NAN)

    @cached_property
    def _by_gold(self) -> tuple[ClassRho, ...]:
        return rho_by_class(self.entropy, self.aulc, self.reading.gold)

    def rho_with(self, quantity: str) -> Correlation:
        """Of H and a quantity, items as independent: AULC, final loss, change or learning time."""
        return spearman(self.entropy, self._quantity(quantity))

    def partial(self, quantity: str, proxy: str) -> float:
        """The same with one proxy held fixed; NaN where the cell has no such column."""
        if proxy not in self.proxies:
            return NAN
        held = {proxy: self.proxies[proxy]}
        return partial_spearman(
            self.entropy, self._quantity(quantity), held, form=self.reading.settings.partial
        ).rho

    def _quantity(self, name: str) -> FloatArray:
        metrics, point = self.reading.metrics, self.learning_point
        nothing = np.full(len(self.entropy), np.nan)
        columns = {"AULC": metrics.aulc, "final loss": metrics.final_loss, "change": self.change}
        return {**columns, "learning time": nothing if point is None else point}[name]

    @cached_property
    def accuracy(self) -> float:
        """On the validation set at the end; NaN without one."""
        path = self.folder / VALIDATION
        scores = load_validation(path) if path.is_file() else None
        return NAN if scores is None or not (scores.gold >= 0).any() else float(scores.accuracy()[-1])

    @cached_property
    def gradients(self) -> GroupGradients | None:
        """Mean gradients of groups, where the cell has a gradient probe."""
        path = self.folder / GRADIENTS
        return load_group_gradients(path) if path.is_file() else None

    @cached_property
    def gradient_norms(self) -> ExampleGradientNorms | None:
        """Gradient norms of single items, likewise."""
        path = self.folder / GRADIENT_NORMS
        return load_gradient_norms(path) if path.is_file() else None

    @cached_property
    def proxies(self) -> Mapping[str, FloatArray]:
        """Those of the paper's proxies that the cell has, shape (n,) each; without texts, of the label counts alone."""
        counts = self.reading.counts
        try:
            fixed = {name: column for name, column in self.reading.held_fixed.items() if name in PROXIES}
        except SpecError:
            fixed = {}
        return {**fixed, "majority_share": majority_share(counts), "count_skewness": count_skewness(counts)}

    @cached_property
    def members(self) -> Mapping[str, BoolArray]:
        """Of all items, each entropy group and, with label noise, settled ones by flip: which belong, shape (n,)."""
        group, given = self.reading.group, self.reading.given
        members = {ALL: np.ones(len(group), dtype=np.bool_), **{name: group == name for name in GROUPS}}
        if given is not None:
            members |= {
                FLIPPED: members[SETTLED] & given.flipped,
                UNFLIPPED: members[SETTLED] & ~given.flipped,
            }
        return members

    def known(self, values: FloatArray, items: str) -> FloatArray:
        """The finite ones of some items' values."""
        member = self.members.get(items)
        return values[:0] if member is None else values[member & np.isfinite(values)]

    def mean(self, values: FloatArray, items: str) -> float:
        """Mean of these; NaN where there is none."""
        known = self.known(values, items)
        return float(known.mean()) if len(known) else NAN

    @cached_property
    def calibrations(self) -> Mapping[str, Calibration]:
        """Of all items and each entropy group, at the last point."""
        log_probs, gold, bins = self.reading.log_probs_at(-1), self.reading.gold, self.reading.settings
        return {
            name: calibration(
                log_probs[self.members[name]], gold[self.members[name]], bins=bins.calibration_bins
            )
            for name in ITEMS
        }

    def bins(self, cut: str) -> tuple[Bin, ...]:
        """AULC in bins of entropy, cut at the groups' cut points (`fixed`), at quartiles or at terciles."""
        fixed = self.reading.settings.cuts_in_bits or ()
        percent = {"quartiles": QUARTILES, "terciles": TERCILES}
        return binned(
            self.entropy, self.aulc, fixed if cut == "fixed" else quantile_cuts(self.entropy, percent[cut])
        )

    @cached_property
    def map_rho(self) -> Mapping[str, float]:
        """The five correlations of the data map."""
        data_map = self.reading.metrics.cartography
        sure, varies = data_map.confidence, data_map.variability
        return {
            "H, confidence": spearman(self.entropy, sure).rho,
            "H, variability": spearman(self.entropy, varies).rho,
            "H, AULC": spearman(self.entropy, self.aulc).rho,
            "confidence, AULC": spearman(sure, self.aulc).rho,
            "variability, AULC": spearman(varies, self.aulc).rho,
        }

    @cached_property
    def map_class(self) -> NDArray[np.str_]:
        """Class of the data map, shape (n,)."""
        data_map = self.reading.metrics.cartography
        return cartography_classes(data_map.confidence, data_map.variability)

    @cached_property
    def map_regression(self) -> IncrementalR2:
        """AULC on confidence and variability, then with H."""
        data_map = self.reading.metrics.cartography
        base = {"confidence": data_map.confidence, "variability": data_map.variability}
        return incremental_r2(self.aulc, base, {"entropy": self.entropy})

    @cached_property
    def time_regression(self) -> IncrementalR2:
        """Learning time on the proxies, then with H."""
        return incremental_r2(self._quantity("learning time"), self.proxies, {"entropy": self.entropy})

    @cached_property
    def gap(self) -> LearningGap:
        """Of learning times, contested minus settled."""
        times = self._quantity("learning time")
        return learning_gap(*(times[self.members[name]] for name in (CONTESTED, SETTLED)))
