"""Finding errors among labels that people gave: VariErr NLI, by counts and, where there is a run, by curves.

A unit is an item and a label that somebody gave it in round 1; an error is a label that its annotators' own second look
did not leave standing. Items are ChaosNLI's, so that a hundred people's labels are known.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from dissensus.analysis.study_reading import StudyReader
from dissensus.analysis.triage.curve_model import curve_model, evidence_factors
from dissensus.analysis.triage.evidence import curve_evidence
from dissensus.curves import Curves, FloatArray
from dissensus.metrics import cartography
from dissensus.stats.ranking import average_precision

LABELS = ("entailment", "neutral", "contradiction")
FOLDS, INNER_FOLDS, REPEATS, SEED = 10, 5, 5, 0
PENALTIES = (0.3, 1.0, 3.0)
PUBLISHED = (
    ("random, all 500 items, published", 14.7),
    ("metadata archaeology, all 500 items, published", 18.5),
    ("data-map mean, all 500 items, published", 22.8),
    ("GPT-4, all 500 items, published", 31.8),
    ("ChaosNLI label share, all 500 items, published", 32.5),
    ("annotators' peer judgments, all 500 items, published", 46.5),
    ("data-map mean re-ranked by annotators behind the label, all 500 items, published", 50.4),
)


@dataclass(frozen=True)
class Pairs:
    """The n labels that somebody gave in round 1, whatever item they are of.

    Attributes:
        item: ids, length n.
        label: places in `LABELS`, shape (n,).
        error: what is to be found, shape (n,).
        behind: annotators behind the label, shape (n,).
        share: of ChaosNLI's hundred people who chose it, shape (n,).
        who: which of the four annotators chose it, shape (n, 4).
    """

    item: tuple[str, ...]
    label: NDArray[np.int64]
    error: NDArray[np.bool_]
    behind: FloatArray
    share: FloatArray
    who: FloatArray


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        score: what ranks.
        ap: average precision, per cent.
        low: lower end of its interval over items; NaN without.
        high: upper end.
        precision_at_50: share of errors among the first 50; NaN where it was not measured.
        supervised: whether it was fitted on errors of other items.
        n: pairs.
    """

    score: str
    ap: float
    low: float
    high: float
    precision_at_50: float
    supervised: bool
    n: int


def read_pairs(data_dir: Path) -> Pairs:
    """The pairs of the half that is here, with ChaosNLI's counts."""
    chaos = {}
    for line in (data_dir / "chaosnli/chaosNLI_mnli_m.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        chaos[row["uid"]] = np.array(row["label_count"]) / sum(row["label_count"])
    item, label, error, behind, share, who = [], [], [], [], [], []
    for line in (data_dir / "varierr/varierr_half.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        for k, name in enumerate(LABELS):
            if row[name]:
                people = {reason["annotator"] for reason in row[name]}
                item.append(row["id"])
                label.append(k)
                error.append(name in row["error_labels"])
                behind.append(len(row[name]))
                share.append(chaos[row["id"]][k])
                who.append([float(a in people) for a in range(4)])
    return Pairs(
        tuple(item), np.array(label), np.array(error), np.array(behind, float), np.array(share), np.array(who)
    )


def designs(pairs: Pairs) -> dict[str, FloatArray]:
    """The sets of features that a nested model chooses among."""
    n, share = pairs.behind, pairs.share
    logit = np.log((100 * share + 0.5) / (100 - 100 * share + 0.5))[:, None]
    number = np.stack([n == 1, n == 2, n >= 3], axis=1).astype(float)
    label = np.eye(3)[pairs.label]
    counts = np.concatenate([number, logit], axis=1)
    return {
        "number, share": np.concatenate([number, share[:, None]], axis=1),
        "number, logit share": counts,
        "number, logit share, label": np.concatenate([counts, label], axis=1),
        "number, logit share, label x share": np.concatenate([counts, label, label * logit], axis=1),
        "number, logit share, annotator": np.concatenate([counts, pairs.who], axis=1),
        "number, logit share, label, annotator": np.concatenate([counts, label, pairs.who], axis=1),
    }


def rows(pairs: Pairs) -> list[Row]:
    """All that counts say."""
    flags = pairs.error
    plain = {
        "chance": np.zeros(len(flags)),
        "ChaosNLI label share": -pairs.share,
        "number of annotators, then share": -pairs.behind - pairs.share,
    }
    table = [_row(name, score, pairs, supervised=False) for name, score in plain.items()]
    sets = designs(pairs)
    for name, design in sets.items():
        table.append(_row(f"logistic: {name}", nested(pairs, {name: design}), pairs, supervised=True))
    chosen = {name: design for name, design in sets.items() if "annotator" not in name}
    table.append(
        _row("logistic, features chosen inside the folds", nested(pairs, chosen), pairs, supervised=True)
    )
    chosen_any = _row(
        "logistic, features chosen inside the folds, annotators allowed",
        nested(pairs, sets),
        pairs,
        supervised=True,
    )
    return [*table, chosen_any]


def curve_rows(pairs: Pairs, study: Path) -> list[Row]:
    """What the curves of each run that tracked these items say, alone and beside the counts."""
    table = []
    for cell in StudyReader.at(study).all().own:
        if cell.spec.dataset.name != "chaosnli-mnli":
            continue
        place = {item: k for k, item in enumerate(cell.curves.ids)}
        kept = [k for k, item in enumerate(pairs.item) if item in place]
        here = Pairs(
            tuple(pairs.item[k] for k in kept),
            *(getattr(pairs, name)[kept] for name in ("label", "error", "behind", "share", "who")),
        )
        curves = _of_pairs(cell.curves, [place[item] for item in here.item], here.label)
        model = curve_model().held_out if cell.spec.regime == "held_out" else curve_model().trained_on
        factors = evidence_factors(curve_evidence(curves).features, model)
        map_mean = cartography(curves).confidence
        name = f"{cell.spec.method.label}, {cell.spec.regime} (learned: {cell.learning.learned})"
        table.append(_row(f"curves: data-map mean, {name}", -map_mean, here, supervised=False))
        table.append(_row(f"curves: triage, {name}", factors[:, 0], here, supervised=False))
        counts = designs(here)["number, logit share, label"]
        both = np.concatenate([counts, np.log(factors[:, :2]), map_mean[:, None]], axis=1)
        without, beside = nested(here, {"": counts}), nested(here, {"": both})
        table.append(_row(f"counts alone, {name}", without, here, supervised=True))
        table.append(_row(f"counts and curves, {name}", beside, here, supervised=True))
        table.append(_gain(f"what curves add to counts, {name}", without, beside, here))
    return table


def _of_pairs(curves: Curves, places: Sequence[int], labels: NDArray[np.int64]) -> Curves:
    index = np.array(places)
    return Curves(
        ids=tuple(f"{curves.ids[k]}/{label}" for k, label in zip(places, labels, strict=True)),
        labels=curves.labels,
        steps=curves.steps,
        total_steps=curves.total_steps,
        log_probs=curves.log_probs[index],
        gold=labels,
        counts=curves.counts[index],
        regime=curves.regime[index],
    )


def nested(pairs: Pairs, sets: dict[str, FloatArray]) -> FloatArray:
    """Mean over repeats of scores of items that neither the model nor its choice has seen, shape (n, REPEATS)."""
    items, of = np.unique(np.array(pairs.item), return_inverse=True)
    scores = np.empty((len(of), REPEATS))
    for repeat in range(REPEATS):
        fold = _folds(len(items), FOLDS, repeat)[of]
        for k in range(FOLDS):
            inside = fold != k
            name, penalty = _best(
                pairs.error[inside], {n: x[inside] for n, x in sets.items()}, of[inside], repeat
            )
            scores[~inside, repeat] = _scores(sets[name], pairs.error, inside, penalty)[~inside]
    return scores


def _best(
    error: NDArray[np.bool_], sets: dict[str, FloatArray], of: NDArray[np.int64], repeat: int
) -> tuple[str, float]:
    """The set and penalty with the best average precision in an inner cross-validation over items."""
    fold = _folds(int(of.max()) + 1, INNER_FOLDS, 1000 + repeat)[of]
    best = (-1.0, "", 1.0)
    for name, design in sets.items():
        for penalty in PENALTIES:
            scores = np.empty(len(error))
            for k in range(INNER_FOLDS):
                scores[fold == k] = _scores(design, error, fold != k, penalty)[fold == k]
            value = average_precision(scores, error).value
            if value > best[0]:
                best = (value, name, penalty)
    return best[1], best[2]


def _folds(items: int, folds: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng([SEED, seed]).permutation(items) % folds


def _scores(
    design: FloatArray, error: NDArray[np.bool_], inside: NDArray[np.bool_], penalty: float
) -> FloatArray:
    """Log-odds of a logistic model that is fitted on the rows `inside`."""
    mean, scale = design[inside].mean(axis=0), design[inside].std(axis=0)
    x = (design - mean) / np.where(scale > 0, scale, 1.0)
    seen, y = x[inside], error[inside].astype(float)

    def surprise(parameters: FloatArray) -> tuple[float, FloatArray]:
        odds = seen @ parameters[1:] + parameters[0]
        off = 1 / (1 + np.exp(-odds)) - y
        value = np.logaddexp(0, odds).sum() - y @ odds + penalty / 2 * (parameters[1:] ** 2).sum()
        return float(value), np.append(off.sum(), off @ seen + penalty * parameters[1:])

    best = minimize(surprise, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B").x
    return np.asarray(x @ best[1:] + best[0])


def _row(name: str, scores: FloatArray, pairs: Pairs, *, supervised: bool) -> Row:
    """Average precision (the mean over repeats) with an interval over items of the mean score."""
    columns = scores.reshape(len(scores), -1)
    ap = float(np.mean([average_precision(column, pairs.error).value for column in columns.T]))
    mean = columns.mean(axis=1)
    told = average_precision(mean, pairs.error, resamples=1000, rng=SEED, clusters=np.array(pairs.item))
    first = np.argsort(-mean, kind="stable")[:50]
    at_50 = float(pairs.error[first].mean()) if np.ptp(mean) > 0 else float(pairs.error.mean())
    return Row(name, 100 * ap, 100 * told.low, 100 * told.high, at_50, supervised, len(pairs.error))


def _gain(name: str, before: FloatArray, after: FloatArray, pairs: Pairs) -> Row:
    """Difference of two average precisions, with its percentile interval over resampled items."""
    rng, items = np.random.default_rng(SEED), np.unique(np.array(pairs.item))
    rows_of = [np.flatnonzero(np.array(pairs.item) == item) for item in items]
    one, two = before.mean(axis=1), after.mean(axis=1)

    def gain(rows: NDArray[np.int64]) -> float:
        error = pairs.error[rows]
        return 100 * (average_precision(two[rows], error).value - average_precision(one[rows], error).value)

    drawn = [
        gain(np.concatenate([rows_of[k] for k in rng.integers(0, len(items), len(items))]))
        for _ in range(500)
    ]
    low, high = np.percentile(drawn, [2.5, 97.5])
    value = gain(np.arange(len(pairs.error)))
    return Row(name, value, float(low), float(high), float("nan"), True, len(pairs.error))


def published() -> list[Row]:
    """What others report on all 500 items; no interval is published."""
    nothing = float("nan")
    return [Row(name, ap, nothing, nothing, nothing, False, 0) for name, ap in PUBLISHED]
