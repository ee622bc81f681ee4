"""Planted flips: how well triage and its peers find them, tell them from contested items, and how sure they may be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.triage_halves import Judge, judges
from benchmarks.triage_worlds import World
from dissensus.analysis.noise.scores import confident_learning_scores, suspicion_scores
from dissensus.analysis.triage.combining import combine
from dissensus.analysis.triage.curve_model import CLASSES, evidence_factors
from dissensus.analysis.triage.deciding import mean_over_runs
from dissensus.analysis.triage.evidence import curve_evidence
from dissensus.curves import Curves, FloatArray
from dissensus.data.agreement import subsample_annotators
from dissensus.stats.label_posterior import ENOUGH_VOTES, label_posterior
from dissensus.stats.ranking import auroc, average_precision

VOTES = (0, 3, 5)
BINS = np.array([0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 1.0])
NAMES = {"margin": "AUM", "confidence": "data-map mean", "final_loss": "last loss", "aulc": "AULC"}
"""Scores of `suspicion_scores` by the names that others give them."""
EARLY = 3
"""Tracking points after the start that EL2N is the mean of."""


@dataclass(frozen=True)
class Found:
    """A row of the table of ranks.

    Attributes:
        world: data set, regime and runs.
        score: what ranks.
        task: 'wrong' (rejected labels against all others), 'flipped' (those flipped on purpose against all others) or
            'wrong, not contested' (rejected against contested ones alone).
        auroc: and its interval.
        auroc_low: lower end.
        auroc_high: upper end.
        ap: average precision.
        positives: how many are to be found.
        n: examples.
    """

    world: str
    score: str
    task: str
    auroc: float
    auroc_low: float
    auroc_high: float
    ap: float
    positives: int
    n: int


@dataclass(frozen=True)
class Reliability:
    """A bin of the table of calibration.

    Attributes:
        world: data set, regime and runs.
        votes: annotators per item that triage was given.
        claim: 'mislabelled', 'contested' or 'agreed'.
        low: lower end of the bin.
        high: upper end; the row of the whole has 0 and 1 and the ECE.
        n: examples in it.
        said: their mean probability.
        held: for how many of them the claim holds.
        ece: expected calibration error over the bins, in the row of the whole; NaN elsewhere.
    """

    world: str
    votes: int
    claim: str
    low: float
    high: float
    n: int
    said: float
    held: float
    ece: float


def groups(worlds: Sequence[World]) -> Iterator[tuple[str, tuple[World, ...]]]:
    """Each run alone, and the runs of one data set and regime together."""
    for world in worlds:
        yield f"{world.dataset}, {world.regime}, {world.method}", (world,)
    for key in dict.fromkeys((w.dataset, w.regime) for w in worlds):
        runs = tuple(w for w in worlds if (w.dataset, w.regime) == key)
        if len(runs) > 1:
            yield f"{key[0]}, {key[1]}, {len(runs)} runs", runs


def probabilities(runs: Sequence[World], votes: int, judge: Judge, *, with_curves: bool = True) -> FloatArray:
    """P(mislabelled, contested, agreed) as triage gives it with so many votes per item (0: curves alone)."""
    curves, given = runs[0].curves, runs[0].curves.gold
    features = mean_over_runs([curve_evidence(run.curves).features for run in runs])
    asked = np.minimum(curves.counts.sum(axis=1), votes).astype(int)
    counts, some = np.zeros_like(curves.counts), asked > 0
    if some.any():
        counts[some] = subsample_annotators(curves.counts[some], asked[some], np.random.default_rng(votes))
    people = label_posterior(counts, given)
    nobody = label_posterior(np.zeros_like(counts), given, weight=people.weight)
    said = np.full((len(given), len(CLASSES)), np.nan)
    for judged, model in judge.parts:
        factors = evidence_factors(features, model) if with_curves else None
        shares = np.array(model.shares)
        together = combine(people.only(some), nobody, asked >= ENOUGH_VOTES, factors, shares)
        said[judged] = together.probabilities[judged]
    return said


def ranks(worlds: Sequence[World]) -> list[Found]:
    """How well each score finds wrong labels, in every run and in the runs together."""
    table, judge = [], judges(worlds)
    for name, runs in groups(worlds):
        scores = _peers(runs)
        for votes in VOTES:
            known = judge[runs[0].dataset, runs[0].regime]
            said = probabilities(runs, votes, known)
            scores[f"triage, {f'curves and {votes} votes' if votes else 'curves alone'}"] = said[:, 0]
            if votes:
                without = probabilities(runs, votes, known, with_curves=False)
                scores[f"triage, {votes} votes alone"] = without[:, 0]
        for score, values in scores.items():
            table += [_found(name, score, task, values, *sides) for task, sides in _tasks(runs[0]).items()]
    return table


def calibration(worlds: Sequence[World]) -> list[Reliability]:
    """Said against held, by bins."""
    table: list[Reliability] = []
    judge = judges(worlds)
    for name, runs in groups(worlds):
        for votes in VOTES:
            said = probabilities(runs, votes, judge[runs[0].dataset, runs[0].regime])
            for k, claim in enumerate(CLASSES):
                table += reliability(name, votes, claim, said[:, k], runs[0].kinds == k)
    return table


def reliability(
    world: str, votes: int, claim: str, said: FloatArray, holds: NDArray[np.bool_]
) -> list[Reliability]:
    """The bins of one claim, and a row of the whole."""
    place = np.clip(np.searchsorted(BINS, said, side="right") - 1, 0, len(BINS) - 2)
    rows, off = [], 0.0
    for k in range(len(BINS) - 1):
        inside = place == k
        if inside.any():
            mean, share = float(said[inside].mean()), float(holds[inside].mean())
            off += inside.mean() * abs(mean - share)
            rows.append(
                Reliability(
                    world, votes, claim, BINS[k], BINS[k + 1], int(inside.sum()), mean, share, float("nan")
                )
            )
    whole = Reliability(
        world, votes, claim, 0.0, 1.0, len(said), float(said.mean()), float(holds.mean()), float(off)
    )
    return [whole, *rows]


def _tasks(world: World) -> dict[str, tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Task -> which examples it is about, and which of them are to be found."""
    everything, wrong = np.ones(len(world.kinds), dtype=bool), world.kinds == 0
    tasks = {"wrong": (everything, wrong), "wrong, not contested": (world.kinds <= 1, wrong)}
    if world.flipped is not None:
        tasks["flipped"] = (everything, world.flipped)
    return tasks


def _peers(runs: Sequence[World]) -> dict[str, FloatArray]:
    """Scores of others, each the mean over the runs of its ranks' place."""
    each = [_scores_of(run.curves) for run in runs]
    if len(each) == 1:
        return each[0]
    return {
        name: np.mean([np.argsort(np.argsort(scores[name])) for scores in each], axis=0) for name in each[0]
    }


def _scores_of(curves: Curves) -> dict[str, FloatArray]:
    kept = ("margin", "confidence", "final_loss", "aulc", "forgetting", "variability")
    scores = {
        NAMES.get(s.name, s.name): s.values for s in suspicion_scores(curves, curves.gold) if s.name in kept
    }
    learned = {
        f"confident learning: {s.name}": s.values for s in confident_learning_scores(curves, curves.gold)
    }
    return {**scores, **learned, "EL2N": _el2n(curves)}


def _el2n(curves: Curves) -> FloatArray:
    """Norm of the error vector p - onehot(given), mean over the first points (Paul et al., NeurIPS 2021)."""
    early = np.flatnonzero(curves.steps > 0)[:EARLY]
    off = (
        np.exp(curves.log_probs[:, early].astype(np.float64))
        - np.eye(len(curves.labels))[curves.gold][:, None]
    )
    return np.asarray(np.linalg.norm(off, axis=2).mean(axis=1))


def _found(
    world: str, score: str, task: str, values: FloatArray, about: NDArray[np.bool_], wanted: NDArray[np.bool_]
) -> Found:
    finite = np.where(np.isposinf(values), np.nanmax(values[np.isfinite(values)]) + 1, values)[about]
    area = auroc(finite, wanted[about], resamples=500, rng=0)
    precision = average_precision(finite, wanted[about]).value
    return Found(
        world,
        score,
        task,
        area.value,
        area.low,
        area.high,
        precision,
        int(wanted[about].sum()),
        int(about.sum()),
    )
