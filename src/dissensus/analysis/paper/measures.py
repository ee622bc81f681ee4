"""Appendix tables of the paper with rows per condition: cartography, calibration, bins, intervals, learning time."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from dissensus.analysis.covariates import covariate_words
from dissensus.analysis.paper.cells import ITEMS, PaperCell
from dissensus.analysis.paper.columns import RHO, SEEDS, Column, grid, largest, mean, seed_bounds
from dissensus.analysis.paper.conditions import Condition, PaperReading
from dissensus.analysis.paper.definitions import PROXIES
from dissensus.analysis.paper.layout import EMPTY, NAN, Entry, PaperTable, number_entry
from dissensus.metrics.cartography import MAP_CLASSES
from dissensus.stats import spearman
from dissensus.stats.groups import GROUPS
from dissensus.stats.over_seeds import Concordance, concordance
from dissensus.stats.regression import IncrementalR2

NO_TIME = "no learned_loss is set"


def map_tables(reading: PaperReading) -> tuple[PaperTable, ...]:
    """H: correlations of the data map, its classes by entropy group, and what entropy adds."""
    p_values = [cell.map_regression.p_value for c in reading.done for cell in c.cells]
    below = sum(p < 0.05 for p in p_values)
    pairs = ("H, confidence", "H, variability", "H, AULC", "confidence, AULC", "variability, AULC")
    return (
        grid(
            "H",
            "Cartography",
            f"Spearman's rho; confidence and variability of p(gold) over all points. {SEEDS}",
            reading.done,
            lambda _: {pair: mean(lambda cell, p=pair: cell.map_rho[p]) for pair in pairs},  # type: ignore[misc]
        ),
        grid(
            "H-overlap",
            "Entropy groups by classes of the data map",
            f"Items; classes by the medians, ambiguous first. {SEEDS}",
            reading.done,
            lambda group: {kind: mean(_overlap(group, kind), 0) for kind in MAP_CLASSES},
            by="items",
            levels=lambda _: GROUPS,
        ),
        grid(
            "H-regression",
            "AULC on confidence and variability, then with H",
            f"R2 of raw values; F with 1 and n − 4 degrees of freedom. {SEEDS} p: the largest over seeds.",
            reading.done,
            lambda _: _r2(lambda cell: cell.map_regression),
            notes=(f"p below .05 in {below} of {len(p_values)} runs.",),
        ),
    )


def _overlap(group: str, kind: str) -> Callable[[PaperCell], float]:
    return lambda cell: int((cell.members[group] & (cell.map_class == kind)).sum())


def _r2(result: Callable[[PaperCell], IncrementalR2], why: str = "undefined") -> Mapping[str, Column]:
    return {
        "R2": mean(lambda cell: result(cell).r2_base, why=why),
        "R2 with H": mean(lambda cell: result(cell).r2_full, why=why),
        "F": mean(lambda cell: result(cell).f, 1, why),
        "p": largest(lambda cell: result(cell).p_value, why),
    }


def calibration_table(reading: PaperReading) -> PaperTable:
    """K: calibration of the tracked items at the end, overall and by entropy group."""

    def columns(items: str) -> Mapping[str, Column]:
        return {
            "entropy": mean(lambda cell: cell.calibrations[items].entropy_mean),
            "entropy, sd": mean(lambda cell: cell.calibrations[items].entropy_sd),
            "top p": mean(lambda cell: cell.calibrations[items].top_mean),
            "top p, sd": mean(lambda cell: cell.calibrations[items].top_sd),
            "accuracy": mean(lambda cell: cell.calibrations[items].accuracy),
            "ECE": mean(lambda cell: cell.calibrations[items].ece),
        }

    return grid(
        "K",
        "Calibration",
        "Tracked items at the last point: entropy of the prediction (nats) and top probability, mean and sd over items "
        f"(divisor n); accuracy; expected calibration error, equal bins open on the left. {SEEDS}",
        reading.done,
        columns,
        by="items",
        levels=lambda _: ITEMS,
    )


def bins_table(reading: PaperReading) -> PaperTable:
    """Alternative bins of entropy."""

    def column(cut: str, place: int) -> Column:
        def entry(c: Condition) -> Entry:
            bins = [cell.bins(cut)[place] for cell in c.cells if place < len(cell.bins(cut))]
            known = [one for one in bins if one.n]
            if not known:
                return Entry(missing="empty") if bins else EMPTY
            sd = float(np.mean([one.sd for one in known]))
            return Entry(float(np.mean([one.mean for one in known])), sd)

        return entry

    return grid(
        "bins",
        "AULC in bins of entropy",
        "Mean ± sample sd over a bin's items, each averaged over seeds; bins rise with H. Fixed: the groups' cuts.",
        reading.done,
        lambda cut: {f"bin {place + 1}": column(cut, place) for place in range(4)},
        by="cut",
        levels=lambda c: ("fixed", "quartiles", "terciles")[not c.cells[0].cuts :],
    )


def bootstrap_table(reading: PaperReading) -> PaperTable:
    """Both intervals of rho."""
    columns: Mapping[str, Column] = {
        "rho": RHO,
        "paper's interval (items)": seed_bounds(lambda cell: cell.rho_of_items, "undefined"),
        "our interval (clusters)": seed_bounds(lambda cell: (cell.rho.low, cell.rho.high), "withheld"),
    }
    return grid(
        "bootstrap",
        "Intervals of rho",
        "The paper's: 95 % percentiles over 10,000 resamples of items, mean of the seeds' bounds. Ours: over resampled "
        "clusters (items that share a premise), t interval on Fisher's scale, likewise the mean of the seeds' bounds; "
        "withheld below 20 clusters.",
        reading.done,
        lambda _: columns,
    )


def kendall_table(reading: PaperReading) -> PaperTable:
    """Kendall's tau-b beside rho."""
    runs = [(cell.rho.rho, cell.tau.tau) for c in reading.done for cell in c.cells]
    alike = spearman(*zip(*runs, strict=True)).rho if len(runs) > 2 else NAN
    words = f"{alike:.3f}" if len(runs) > 2 else "needs 3 runs"
    columns: Mapping[str, Column] = {
        "rho": RHO,
        "tau-b": mean(lambda cell: cell.tau.tau),
        "tau-b / rho": mean(lambda cell: cell.tau.tau / cell.rho.rho if cell.rho.rho else NAN),
    }
    return grid(
        "kendall",
        "Kendall's tau-b beside rho",
        SEEDS,
        reading.done,
        lambda _: columns,
        notes=(f"Spearman's rho of rho and tau-b over the {len(runs)} runs: {words}.",),
    )


def label_table(reading: PaperReading) -> PaperTable:
    """Rho within each gold class."""
    labels = dict.fromkeys(name for c in reading.done for name in c.cells[0].reading.labels)
    return grid(
        "labels",
        "Rho within each gold class",
        f"Ranked anew within the class. {SEEDS} (The paper's of this table: divisor S.)",
        reading.done,
        lambda _: {name: mean(lambda cell, n=name: cell.rho_in(n), why="below 10 items") for name in labels},  # type: ignore[misc]
    )


def partial_table(reading: PaperReading) -> PaperTable:
    """Partial correlations with one proxy held fixed at a time."""

    def columns(quantity: str) -> Mapping[str, Column]:
        plain = {"plain": mean(lambda cell: cell.rho_with(quantity).rho, why=NO_TIME)}
        return plain | {
            covariate_words(proxy): mean(
                lambda cell, p=proxy: cell.partial(quantity, p),  # type: ignore[misc]
                why=NO_TIME if quantity == "learning time" else "no such column",
            )
            for proxy in PROXIES
        }

    return grid(
        "partials",
        "Partial correlations with H, one proxy held fixed",
        "Spearman's rho, first by itself, then given each proxy as the definitions have it (the paper: a line in its "
        f"rank, n − 3 degrees of freedom). The paper's code computes those of learning time alone. {SEEDS}",
        reading.done,
        columns,
        by="with H",
        levels=lambda _: ("learning time", "AULC"),
    )


def regression_table(reading: PaperReading) -> PaperTable:
    """Hierarchical regression of learning time."""
    return grid(
        "regression",
        "Learning time on the proxies, then with H",
        f"R2 of raw values; items that are never learned are left out. {SEEDS} p: the largest over seeds.",
        reading.done,
        lambda _: _r2(lambda cell: cell.time_regression, "undefined, or no learned_loss is set"),
    )


def concordance_table(reading: PaperReading) -> PaperTable:
    """Kendall's W of learning orders."""
    fields: Mapping[str, Callable[[Concordance], Entry]] = {
        "W": lambda result: number_entry(result.w),
        "chi squared": lambda result: number_entry(result.chi2, 0),
        "p": lambda result: number_entry(result.p_value, -1),
        "items": lambda result: number_entry(result.n, 0),
        "seeds": lambda result: number_entry(result.seeds, 0),
    }

    def column(entry: Callable[[Concordance], Entry]) -> Column:
        def of(condition: Condition) -> Entry:
            points = [(cell.ids, cell.learning_point) for cell in condition.cells]
            times = [dict(zip(ids, p.tolist(), strict=True)) for ids, p in points if p is not None]
            if len(times) < 2:
                return Entry(missing="needs 2 seeds" if times else NO_TIME)
            common = [i for i in times[0] if all(i in others for others in times)]
            matrix = np.array([[of[i] for of in times] for i in common]).reshape(len(common), len(times))
            return entry(concordance(matrix))

        return of

    return grid(
        "W",
        "Kendall's W of learning orders between seeds",
        "Never learned: last, tied; no correction for ties; chi squared with n − 1 degrees of freedom.",
        reading.done,
        lambda _: {name: column(entry) for name, entry in fields.items()},
    )


def gap_table(reading: PaperReading) -> PaperTable:
    """Gap of learning times."""
    why = "too few learned"
    columns: Mapping[str, Column] = {
        "gap": mean(lambda cell: cell.gap.gap, 2, why),
        "t": mean(lambda cell: cell.gap.t, 1, why),
        "p": largest(lambda cell: cell.gap.p_value, why),
        "d": mean(lambda cell: cell.gap.cohens_d, 2, why),
        "contested, never": mean(lambda cell: cell.gap.never_contested if cell.timed else NAN, 0, NO_TIME),
        "settled, never": mean(lambda cell: cell.gap.never_settled if cell.timed else NAN, 0, NO_TIME),
    }
    return grid(
        "gap",
        "Learning time, contested minus settled",
        "Learned items only, in tracking points: one-sided Welch test, Cohen's d with the pooled sd, items as "
        f"independent; never: items that are not learned. {SEEDS} p: the largest over seeds.",
        reading.done,
        lambda _: columns,
    )
