"""Label noise (claim C6): curves of flipped labels, how well they are found, and what they move like.

Three tables, each with rows for every cell that trained on flipped labels:

    noise_curves      a row a (group, label, tracking point): mean loss with its band
    noise_ranking     a row a score: AUROC and average precision of finding the flipped labels
    noise_likeness    a row a (label, flipped group): do flipped examples move like contested or like plain ones?

They are about the tracked examples that were trained on, in these groups: `flipped`, whatever the annotators say;
`flipped_settled`, flipped examples of the settled entropy group whose true label most annotators chose; `contested`,
the unflipped examples of the contested group; `plain`, the unflipped ones of the settled group whose true label most
annotators chose. Losses are on the label `given` in training or on the `true` one: the gold label that the study's
analysis reads. Imports no torch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from dissensus.analysis.group_tables import curve_rows
from dissensus.analysis.noise.groups import FLIPPED, PLAIN, behind_distances, distances, noisy_cells
from dissensus.analysis.noise.scores import confident_learning_scores, suspicion_scores
from dissensus.analysis.study_reading import StudyReading
from dissensus.seeds import named_generator
from dissensus.stats import group_curves
from dissensus.stats.bootstrap import resample_counts
from dissensus.stats.groups import CONTESTED
from dissensus.stats.intervals import resampled_interval
from dissensus.stats.ranking import rankings

FLIPPED_SETTLED = "flipped_settled"
LABELS = ("given", "true")

_IDENTITY = pa.schema(
    [
        (c, pa.string())
        for c in ("cell", "condition", "dataset", "model", "head", "method", "regime", "variant")
    ]
    + [("seed", pa.int64()), ("noise", pa.string()), ("rate", pa.float64())]
)


def _schema(*fields: tuple[str, pa.DataType]) -> pa.Schema:
    return pa.schema([*_IDENTITY, *fields])


CURVES_SCHEMA = _schema(
    ("group", pa.string()),
    ("label", pa.string()),
    ("step", pa.int64()),
    *((c, pa.float64()) for c in ("progress", "mean", "low", "high")),
    *((c, pa.int64()) for c in ("n", "clusters")),
    ("withheld", pa.string()),
)
RANKING_SCHEMA = _schema(
    ("score", pa.string()),
    ("source", pa.string()),
    *((c, pa.float64()) for c in ("auroc", "auroc_low", "auroc_high", "ap", "ap_low", "ap_high")),
    *((c, pa.int64()) for c in ("n", "positives")),
    ("base_rate", pa.float64()),
    *((c, pa.int64()) for c in ("dropped", "undefined_resamples")),
    ("note", pa.string()),
)
LIKENESS_SCHEMA = _schema(
    ("label", pa.string()),
    ("flipped_group", pa.string()),
    *((c, pa.float64()) for c in ("likeness", "low", "high", "from_plain", "from_contested")),
    *(
        (c, pa.float64())
        for c in ("equivalence", "equivalence_low", "equivalence_high", "contested_from_plain")
    ),
    *((c, pa.int64()) for c in ("n_flipped", "n_contested", "n_plain", "clusters", "undefined_resamples")),
    *((c, pa.string()) for c in ("withheld", "equivalence_withheld")),
)


def noise_curves(reading: StudyReading) -> pa.Table:
    """Mean loss of each group at each tracking point, on the given and on the true label, nats.

    The band is a t interval over the group's premise clusters (`stats.GroupSums`). `n`: finite values behind the mean,
    from so many `clusters`; `withheld`: why there is no band, or ''.
    Groups are those of the module's description; `flipped_settled` is part of `flipped`.
    """
    settings = reading.study.analysis
    rows = []
    for noisy in noisy_cells(reading):
        groups, curves = noisy.groups, noisy.curves
        members = {name: groups == name for name in (FLIPPED, CONTESTED, PLAIN)}
        members[FLIPPED_SETTLED] = noisy.clean_groups == FLIPPED
        for group, member in members.items():
            for label in LABELS:
                bands = group_curves(
                    noisy.losses(label)[member],
                    np.full(int(member.sum()), group),
                    confidence=settings.confidence,
                    clusters=noisy.clusters[member],
                )
                rows += [
                    {**noisy.identity, "group": group, "label": label, **columns}
                    for band in bands.values()
                    for columns in curve_rows(band, curves.steps, curves.progress, clustered=True)
                ]
    return pa.Table.from_pylist(rows, schema=CURVES_SCHEMA)


def noise_ranking(reading: StudyReading) -> pa.Table:
    """How well each score of `noise_scores` finds the flipped labels among all that were trained on.

    AUROC and average precision (`ap`) with intervals over premise clusters (`stats.ranking`), on the same draws for
    every score of a cell. `base_rate` is what average precision comes to without skill.
    """
    settings = reading.study.analysis
    rows = []
    for noisy in noisy_cells(reading):
        scores = (
            *suspicion_scores(noisy.curves, noisy.given),
            *confident_learning_scores(noisy.curves, noisy.given),
        )
        for score in scores:
            area, precision = rankings(
                score.values,
                noisy.flipped,
                resamples=settings.resamples,
                confidence=settings.confidence,
                rng=named_generator(settings.seed, noisy.cell.name, "noise_ranking"),
                clusters=noisy.clusters,
            )
            rows.append(
                {
                    **noisy.identity,
                    "score": score.name,
                    "source": score.source,
                    "auroc": area.value,
                    "auroc_low": area.low,
                    "auroc_high": area.high,
                    "ap": precision.value,
                    "ap_low": precision.low,
                    "ap_high": precision.high,
                    "n": area.n,
                    "positives": area.positives,
                    "base_rate": area.base_rate,
                    "dropped": area.dropped,
                    "undefined_resamples": area.undefined_resamples,
                    "note": "; ".join(filter(None, (score.note, area.withheld or precision.withheld))),
                }
            )
    return pa.Table.from_pylist(rows, schema=RANKING_SCHEMA)


def noise_likeness(reading: StudyReading) -> pa.Table:
    """Whether flipped examples move like contested ones; see `Distances` for the statistics.

    `likeness`: nearer to contested than to plain ones; `equivalence`: nearer to contested ones than those are to
    plain ones, which flipped examples far beyond the contested ones are not. On both labels, with all flipped
    examples (`flipped_group` 'flipped') or with those of the settled entropy group alone ('flipped_settled'). The
    distances are in nats. The intervals are bootstrap t intervals over the clusters of all
    trained-on examples, on the same draws for every row of a cell. `clusters`: of the smallest of the three groups,
    which decides whether there is an interval; `withheld` and `equivalence_withheld`: why there is none, or ''. NaN
    where the start of training was not measured.
    """
    settings = reading.study.analysis
    rows = []
    for noisy in noisy_cells(reading):
        n = len(noisy.curves)
        for label in LABELS:
            losses = noisy.losses(label)
            for name, groups in ((FLIPPED, noisy.groups), (FLIPPED_SETTLED, noisy.clean_groups)):
                rng = named_generator(settings.seed, noisy.cell.name, "noise_likeness")
                if noisy.curves.steps[0] != 0:
                    losses = np.full_like(losses, np.nan)
                observed = distances(losses, groups, np.ones((1, n)))
                clusters = behind_distances(losses, groups, noisy.clusters)
                chunks = resample_counts(n, settings.resamples, rng, clusters=noisy.clusters)
                resampled = [distances(losses, groups, counts) for counts in chunks]
                drawn = np.concatenate([one.likeness for one in resampled])
                options: dict[str, Any] = {
                    "units": clusters,
                    "clustered": True,
                    "confidence": settings.confidence,
                }
                near = resampled_interval(float(observed.likeness[0]), drawn, **options)
                apart = np.concatenate([one.equivalence for one in resampled])
                alike = resampled_interval(float(observed.equivalence[0]), apart, **options)
                rows.append(
                    {
                        **noisy.identity,
                        "label": label,
                        "flipped_group": name,
                        "likeness": float(observed.likeness[0]),
                        "low": near.low,
                        "high": near.high,
                        "from_plain": float(observed.from_plain[0]),
                        "from_contested": float(observed.from_contested[0]),
                        "equivalence": float(observed.equivalence[0]),
                        "equivalence_low": alike.low,
                        "equivalence_high": alike.high,
                        "contested_from_plain": float(observed.contested_from_plain[0]),
                        "n_flipped": int((groups == FLIPPED).sum()),
                        "n_contested": int((groups == CONTESTED).sum()),
                        "n_plain": int((groups == PLAIN).sum()),
                        "clusters": clusters,
                        "undefined_resamples": int(np.isnan(drawn).sum()),
                        "withheld": near.withheld,
                        "equivalence_withheld": alike.withheld,
                    }
                )
    return pa.Table.from_pylist(rows, schema=LIKENESS_SCHEMA)
