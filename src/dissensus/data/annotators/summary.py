"""Annotators of a data set in one result: alpha, each annotator's row, entropy without those flagged, a verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dissensus.data.agreement import annotation_entropy, subsample_annotators
from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.annotators.alpha import Alpha, krippendorff_alpha
from dissensus.data.annotators.flags import Flag, Kind, Outcome, flag_annotators
from dissensus.data.annotators.panel import FloatArray, Panel
from dissensus.data.annotators.rest import agreement_with_rest
from dissensus.data.ordinal import ordinal_dispersion
from dissensus.seeds import named_generator

_SPLITS = 20
_LEFT_OUT_AT_RANDOM = 5
MANY_ANSWERS = 1_000_000
"""Named answers above which the notes of a cell leave the annotators to `dissensus data annotators`."""
LEAST_SPLIT = 50
"""Items with four annotations below which halves of the annotators are not compared."""


@dataclass(frozen=True)
class AnnotatorRow:
    """One annotator.

    Attributes:
        name: theirs.
        items: items they answered.
        shared: of them, those that others answered too.
        agreement: mean share of the others' votes that equal theirs; NaN without shared items.
        low: of its 95 % interval.
        high: of its interval.
        kappa: the same, corrected for chance.
        label_shares: share of each label among their answers, in label order.
        top_label: the label they choose most often.
        top_share: how often.
        outcome: informative, flagged, or not told (too few items, or nothing to compare with).
        kind: of the flag; None without one.
        why: the flag in words; "" without one.
    """

    name: str
    items: int
    shared: int
    agreement: float
    low: float
    high: float
    kappa: float
    label_shares: tuple[float, ...]
    top_label: str
    top_share: float
    outcome: Outcome
    kind: Kind | None
    why: str

    @property
    def sentence(self) -> str:
        """The flag, with whom it is about."""
        return f"annotator {self.name} ({self.items} items): {self.why}"


@dataclass(frozen=True)
class EntropyWithout:
    """Entropy with and without the flagged annotators, over items that others annotated too.

    Attributes:
        items: such items.
        with_all: mean entropy in bits.
        without: mean entropy without the flagged annotators.
        at_random: mean entropy when as many annotations are left out of each item at random: fewer annotations alone
            lower it. NaN where counts are not whole.
        rank_correlation: Spearman's of the two entropies: how far the ranking of items stays.
    """

    items: int
    with_all: float
    without: float
    at_random: float
    rank_correlation: float


@dataclass(frozen=True)
class AnnotatorSummary:
    """What is known of a data set's annotators.

    Attributes:
        name: of the data set.
        labels: its labels.
        items: its items.
        alphas: Krippendorff's alpha, nominal; for an ordered scale ordinal and interval as well.
        rows: annotators known by name, worst first: flagged, then by chance-corrected agreement.
        entropy: with and without the flagged ones; None where nobody is flagged.
        halves: correlation over items of the disagreement inside two random halves of the annotators, a mean over
            splits; NaN with fewer than `LEAST_SPLIT` items of four annotations. Above 0: disagreement is about items.
        halves_items: items behind it.
        dispersion: mean ordinal dispersion; NaN unless the labels are an ordered scale.
        verdict: whether disagreement is people or noise, in a sentence; "" where no item has two annotations.
    """

    name: str
    labels: tuple[str, ...]
    items: int
    alphas: tuple[Alpha, ...]
    rows: tuple[AnnotatorRow, ...]
    entropy: EntropyWithout | None
    halves: float
    halves_items: int
    dispersion: float
    verdict: str

    @property
    def flagged(self) -> tuple[AnnotatorRow, ...]:
        """The flagged annotators."""
        return tuple(row for row in self.rows if row.outcome == "flagged")


def summarise(dataset: AnnotatedDataset, panel: Panel | None = None) -> AnnotatorSummary:
    """All of it but the models of `competence.py`. The same data set gives the same numbers.

    Args:
        dataset: with annotations, by name or as counts.
        panel: its named annotations, where they are at hand.
    """
    panel = panel or Panel.of(dataset)
    counts = dataset.counts
    ordinal = dataset.scale == "ordinal"
    values = tuple(float(v) for v in dataset.values) if ordinal else None
    levels: tuple[Any, ...] = ("nominal", "ordinal", "interval") if ordinal else ("nominal",)
    alphas = tuple(
        krippendorff_alpha(
            counts,
            rng=named_generator(0, "alpha", level),
            level=level,
            values=values,
            panel=panel if panel.split.any() else None,
        )
        for level in levels
    )
    flags = flag_annotators(panel, values)
    flagged = np.array([flag.outcome == "flagged" for flag in flags], dtype=np.bool_)
    rows = _rows(dataset.labels, panel, flags)
    taken = panel.counts - panel.without(flagged).counts if flagged.any() else np.zeros_like(counts)
    kept = np.maximum(counts - taken, 0.0)
    entropy = _entropy_without(counts, kept) if flagged.any() else None
    halves, halves_items = _halves(kept)
    dispersion = ordinal_dispersion(counts, values) if ordinal else np.full(1, np.nan)
    known = dispersion[~np.isnan(dispersion)]
    return AnnotatorSummary(
        dataset.name,
        dataset.labels,
        len(dataset),
        alphas,
        rows,
        entropy,
        halves,
        halves_items,
        float(known.mean()) if known.size else float("nan"),
        _verdict(alphas, rows, entropy, halves, halves_items),
    )


def annotator_notes(dataset: AnnotatedDataset, most: int = 5) -> tuple[str, ...]:
    """The verdict and the flags, a sentence each; nothing where alpha has no interval (few items, or one label).

    Args:
        dataset: with annotations.
        most: flags that are named.
    """
    answers = sum(len(example.annotations) for example in dataset)
    if answers > MANY_ANSWERS:
        return (
            f"{answers} answers of named annotators; `dissensus data annotators FILE` says who agrees with whom",
        )
    summary = summarise(dataset)
    if np.isnan(summary.alphas[0].low):
        return ()
    flagged = summary.flagged
    named = [row.sentence for row in flagged[:most]]
    more = len(flagged) - len(named)
    return (summary.verdict, *named, *([f"{more} more annotators are flagged"] if more else []))


def _rows(labels: tuple[str, ...], panel: Panel, flags: tuple[Flag, ...]) -> tuple[AnnotatorRow, ...]:
    rest = agreement_with_rest(panel)
    rows = []
    for place, (name, flag) in enumerate(zip(panel.names, flags, strict=True)):
        top = int(rest.top[place])
        share = float(rest.label_shares[place, top])
        partners = [panel.names[k] for k in flag.partners]
        rows.append(
            AnnotatorRow(
                name,
                int(rest.items[place]),
                int(rest.shared[place]),
                float(rest.agreement[place]),
                float(rest.low[place]),
                float(rest.high[place]),
                float(rest.kappa[place]),
                tuple(float(x) for x in rest.label_shares[place]),
                labels[top],
                share,
                flag.outcome,
                flag.kind,
                _why(flag.kind, labels[top], share, partners),
            )
        )
    return tuple(
        sorted(
            rows,
            key=lambda row: (
                row.outcome != "flagged",
                np.isnan(row.kappa),
                np.nan_to_num(row.kappa),
                row.name,
            ),
        )
    )


def _why(kind: Kind | None, top: str, share: float, partners: list[str]) -> str:
    if kind == "constant":
        return f"answers {top!r} to everything"
    if kind == "nearly constant":
        return f"answers {top!r} to nearly everything ({100 * share:.0f} %)"
    if kind == "random":
        return "answers look random"
    if kind == "copy":
        shown = ", ".join(partners[:3]) + (f" and {len(partners) - 3} more" if len(partners) > 3 else "")
        return f"gives the same answers as {shown}, and they say nothing about anybody else's"
    if kind == "inverted":
        return "inverted scale: consistently answers the opposite of the others"
    return ""


def _entropy_without(counts: FloatArray, kept: FloatArray) -> EntropyWithout:
    left = np.round(kept.sum(axis=1), 9)
    used = left > 1 - 1e-9
    before, after = annotation_entropy(counts[used]), annotation_entropy(kept[used])
    at_random = float("nan")
    if used.any() and np.all(np.abs(counts[used] - np.rint(counts[used])) < 1e-6):
        rng = named_generator(0, "annotators left out at random")
        sizes = np.rint(left[used]).astype(np.int64)
        at_random = float(
            np.mean(
                [
                    annotation_entropy(subsample_annotators(counts[used], sizes, rng)).mean()
                    for _ in range(_LEFT_OUT_AT_RANDOM)
                ]
            )
        )
    means = (float(before.mean()), float(after.mean())) if used.any() else (float("nan"),) * 2
    return EntropyWithout(int(used.sum()), *means, at_random, _spearman(before, after))


def _halves(counts: FloatArray) -> tuple[float, int]:
    """Correlation of the disagreement in random halves of each item's annotations, and the items behind it.

    The disagreement of a half is the share of its pairs of annotations that differ, whose expectation does not depend
    on how many there are.
    """
    n = np.rint(counts.sum(axis=1)).astype(np.int64)
    used = n >= 4
    if used.sum() < LEAST_SPLIT or np.any(np.abs(counts[used] - np.rint(counts[used])) > 1e-6):
        return float("nan"), int(used.sum())
    whole = np.rint(counts[used])
    rng = named_generator(0, "halves of annotators")
    found = []
    for _ in range(_SPLITS):
        first = subsample_annotators(whole, n[used] // 2, rng)
        found.append(_pearson(_differing_pairs(first), _differing_pairs(whole - first)))
    known = [r for r in found if not np.isnan(r)]
    return (float(np.mean(known)) if known else float("nan")), int(used.sum())


def _differing_pairs(counts: FloatArray) -> FloatArray:
    n = counts.sum(axis=1)
    return np.asarray(1 - (counts * (counts - 1)).sum(axis=1) / (n * (n - 1)))


def _pearson(x: FloatArray, y: FloatArray) -> float:
    x, y = x - x.mean(), y - y.mean()
    size = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / size if size > 1e-12 else float("nan")


def _spearman(x: FloatArray, y: FloatArray) -> float:
    if len(x) < 2:
        return float("nan")
    return _pearson(_mid_ranks(x), _mid_ranks(y))


def _mid_ranks(x: FloatArray) -> FloatArray:
    _, place, times = np.unique(x, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(times) - (times - 1) / 2)[place], dtype=np.float64)


def _verdict(
    alphas: tuple[Alpha, ...],
    rows: tuple[AnnotatorRow, ...],
    entropy: EntropyWithout | None,
    halves: float,
    halves_items: int,
) -> str:
    """The sentence; each part says no more than its numbers do."""
    alpha = alphas[1] if len(alphas) > 1 else alphas[0]
    if not alpha.items:
        return ""
    people = float("nan")
    if entropy is not None and entropy.with_all > 0:
        people = (entropy.at_random - entropy.without) / entropy.with_all
    noise = 2 / np.sqrt(max(halves_items, 1))
    if people >= 0.25:
        begin = "Much of the disagreement here is people"
    elif np.isnan(halves):
        begin = "Whether disagreement here is about the items cannot be told"
    elif halves > noise:
        begin = "Disagreement here is about the items"
        if people >= 0.05:
            begin = "Some of the disagreement here is people, the rest is about the items"
        begin += " (halves of the annotators find it in the same ones)"
    elif halves + noise < 0.2:
        begin = "Disagreement here looks like noise (halves of the annotators find it in different items)"
    else:
        begin = "Whether disagreement here is about the items cannot be told"
    kind = "" if alpha.level == "nominal" else f"{alpha.level} "
    sentence = f"{begin}: {kind}alpha {alpha_words(alpha)}"
    if not rows:
        return f"{sentence}; annotators are not known by name, so that none can be looked at alone"
    untold = sum(row.outcome == "not told" for row in rows)
    few = f"of {untold} of {len(rows)} annotators nothing can be told"
    if entropy is None:
        if untold == len(rows):
            return f"{sentence}; no annotator can be judged, for want of shared items or of agreement to compare with"
        return f"{sentence}; no annotator is flagged" + (f" ({few})" if untold else "")
    flagged = sum(row.outcome == "flagged" for row in rows)
    random = (
        "" if np.isnan(entropy.at_random) else f" ({entropy.at_random:.3f} with as many left out at random)"
    )
    return (
        f"{sentence}; without the {flagged} flagged annotator{'s' if flagged > 1 else ''} mean entropy is "
        f"{entropy.without:.3f} instead of {entropy.with_all:.3f} bits{random}"
    )


def alpha_words(alpha: Alpha) -> str:
    """A value with its interval, or why there is none."""
    if np.isnan(alpha.value):
        return "undefined (everybody chose one label)"
    interval = "" if np.isnan(alpha.low) else f" [{alpha.low:.2f}, {alpha.high:.2f}]"
    return f"{alpha.value:.2f}{interval}".replace("-", "−")
