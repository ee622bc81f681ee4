"""The study in words: models, data, labels, training, what its intervals rest on. True of every cell on the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dissensus.analysis.clusters import NO_CLUSTERS
from dissensus.config import AnalysisSpec, ModelSpec, RunSpec, SourceSpec, StudySpec
from dissensus.report import settings
from dissensus.report.tables import GOLD, REGIMES, ConditionRow, percent
from dissensus.store.run_facts import RunFacts
from dissensus.wording import file_tail

NO_CHAOSNLI = "; no ChaosNLI item was among them"
MINILM_NOTE = (
    "all-MiniLM-L6-v2 was tuned contrastively on SNLI and MultiNLI training pairs, among much else"
    f"{NO_CHAOSNLI}."
)
ESTIMATORS = {
    "plugin": "H = −Σ p log₂ p over the labels that annotators gave an example, in bits",
    "miller_madow": "H = −Σ p log₂ p over the labels that annotators gave an example, in bits, with Miller and Madow's "
    "correction for few annotators",
    "chao_shen": "Chao and Shen's estimate of H = −Σ p log₂ p over the labels that annotators gave an example, in bits",
}
"""`analysis.entropy` -> its definition."""
PARTIAL = {
    "flexible": "each other covariate as a flexible function of its rank",
    "linear": "each other covariate by its rank, linearly",
}
"""`analysis.partial` -> how a covariate enters the partial correlation."""

REGIME_NOTES = {
    "held_out": "tracked examples are never trained on: a rising loss means growing confidence in another label, "
    "not that something learned was lost",
    "trained_on": "tracked examples are part of the training set: a falling loss may be learning or memorising",
}


def _group_words(analysis: AnalysisSpec, cells: Sequence[RunSpec]) -> str:
    if analysis.cuts is None:
        return f"contested and settled: top and bottom {percent(analysis.contested_share)} by entropy"
    words: dict[str, list[str]] = {}
    for name, dataset in {cell.dataset.name: cell.dataset for cell in cells}.items():
        own = analysis.for_dataset(dataset)
        assert isinstance(own.cuts, tuple)
        low, high = own.cuts
        line = f"contested at or above {high:.10g} {own.cuts_unit}, settled at or below {low:.10g}"
        words.setdefault(line, []).append(name)
    if len(words) == 1:
        return next(iter(words))
    return "; ".join(f"{', '.join(names)}: {line}" for line, names in words.items())


def study_words(
    study: StudySpec, rows: Sequence[ConditionRow], cells: Sequence[RunSpec], annotations: str
) -> tuple[tuple[str, str], ...]:
    """The study as (term, description) pairs.

    Args:
        study: for what holds for every cell: how it is analysed.
        rows: the conditions.
        cells: those behind the rows, overrides merged: what was trained, how and on what.
        annotations: how many there are for an example, in words.
    """
    regimes = list(dict.fromkeys(row.regime for row in rows)) or list(study.regimes)
    golds = list(dict.fromkeys((row.dataset, row.gold, percent(row.majority_agrees)) for row in rows))
    steps = sorted({row.steps for row in rows})
    points = sorted({row.points for row in rows})
    noise = settings.noise_words(cells)
    pairs = [
        ("Models", "; ".join(dict.fromkeys(_model_words(cell.model) for cell in cells))),
        ("Answers asked for", settings.prompts_words(cells)),
        ("Data", "; ".join(_data_words(name, cells, rows) for name in _names(cells))),
        ("Annotations", annotations),
        (
            "Gold label",
            "; ".join(
                f"{name}: {GOLD.get(gold, gold)} (the annotators' most frequent label for {share} of the examples)"
                for name, gold, share in golds
            )
            + ". The loss on this label is what the curves show."
            + (
                " Training used the label that the data set gives, which may be another."
                if study.analysis.gold == "majority"
                else ""
            ),
        ),
        ("Methods", settings.methods_words(cells)),
        ("Regime", "; ".join(f"{REGIMES[r]}: {REGIME_NOTES[r]}" for r in regimes)),
        (
            "Training",
            f"{settings.epochs_words(cells)}, {settings.batches_words(cells)}, {_range(steps, 'optimiser steps')}"
            + (noise and f"; {noise}"),
        ),
        (
            "Tracking",
            f"{_range(points, 'tracking points')} ({settings.schedule_words(cells)}), step 0 and the last included",
        ),
        ("Seeds", ", ".join(map(str, dict.fromkeys(cell.seed for cell in cells)))),
        (
            "Entropy groups",
            f"{study.analysis.entropy.replace('_', '-')} estimator; " + _group_words(study.analysis, cells),
        ),
        ("Measures", _measure_words(study.analysis)),
        (
            "Intervals",
            f"{study.analysis.confidence:.0%} bootstrap over examples, {study.analysis.resamples} resamples; "
            f"{cluster_words(rows)}; p-values adjusted by Holm over the conditions",
        ),
    ]
    if study.overrides:
        pairs.append(
            (
                "Exceptions",
                "settings differ between cells; each condition's own stand under its figures, and the rules are "
                "`overrides` in the specification below",
            )
        )
    return tuple((term, text) for term, text in pairs if text)


def _measure_words(analysis: AnalysisSpec) -> str:
    """The settings of measures that are not the defaults; nothing where all are."""
    parts = []
    if analysis.aulc == "mean":
        parts.append("AULC is the mean of the recorded losses, each tracking point once")
    if analysis.learned_loss is not None:
        parts.append(
            f"an example is learned at the first point with a loss below {analysis.learned_loss:g} nats"
        )
    if analysis.cartography.include_start:
        parts.append("data maps take step 0 in")
    if analysis.cartography.threshold is not None:
        parts.append(
            f"in data maps correct means a probability of the gold label above {analysis.cartography.threshold:g}"
        )
    return "; ".join(parts)


def aulc_words(analysis: AnalysisSpec) -> str:
    """AULC in words, as the study computes it."""
    if analysis.aulc == "mean":
        return "the mean of the losses at the tracking points, each once whatever its spacing"
    return "the loss averaged over training progress from 0 to 1 (trapezoid rule)"


def cluster_words(rows: Sequence[ConditionRow]) -> str:
    """What is resampled together, by its field's name, and how many clusters there are in each data set."""
    by_dataset: dict[str, list[str]] = {}
    for row in rows:
        if row.cluster_field == NO_CLUSTERS or not 0 < row.clusters < row.n:
            text = "each example is drawn by itself" + (row.cluster_reason and f" ({row.cluster_reason})")
        else:
            shared = f"their {row.cluster_field}" if row.cluster_field else "a text"
            text = f"examples that share {shared} are drawn together ({row.clusters} clusters among {row.n} examples"
            text += (row.cluster_reason and f"; {row.cluster_reason}") + ")"
        by_dataset.setdefault(row.dataset, []).append(text)
    return _by_data(by_dataset) or "each example is drawn by itself"


def covariate_words(rows: Sequence[ConditionRow]) -> str:
    """What is held constant, and which of the standard covariates are not, for each data set."""
    by_dataset: dict[str, list[str]] = {}
    for row in rows:
        text = row.covariates.replace("_", " ") or "none"
        left = row.covariates_left_out.replace("_", " ")
        by_dataset.setdefault(row.dataset, []).append(
            text + (f" (not held constant: {left})" if left else "")
        )
    return _by_data(by_dataset)


def _by_data(texts_by_dataset: Mapping[str, Sequence[str]]) -> str:
    """What is said of each data set, its name before it where they differ."""
    by_dataset = {name: " or ".join(dict.fromkeys(texts)) for name, texts in texts_by_dataset.items()}
    if len(set(by_dataset.values())) <= 1:
        return next(iter(by_dataset.values()), "")
    return "; ".join(f"{name}: {text}" for name, text in by_dataset.items())


def model_notes(study: StudySpec, recorded: Sequence[str]) -> tuple[str, ...]:
    """What a reader must know of the models: notes recorded with the cells, and ours on MiniLM."""
    notes = [note for note in recorded if note]
    names = " ".join(model.name.casefold() for model in study.models)
    if "minilm-l6" in names and not any("MiniLM-L6-v2" in note for note in notes):
        notes.insert(0, MINILM_NOTE)
    if not any(data.tracked.source == "chaosnli" for data in study.datasets):
        notes = [note.replace(NO_CHAOSNLI, "") for note in notes]
    return tuple(dict.fromkeys(notes))


@dataclass(frozen=True)
class RecordedCell:
    """What was stored with a cell.

    Attributes:
        dataset: name of its data set.
        facts: of its run.
    """

    dataset: str
    facts: RunFacts


def recorded_notes(recorded: Iterable[RecordedCell]) -> list[str]:
    """What was stored of the models with the cells: where they come from, and how their weights were read."""
    notes: list[str] = []
    for cell in recorded:
        notes += [cell.facts.model_note, *cell.facts.model_loading]
    return notes


def data_notes(recorded: Iterable[RecordedCell]) -> tuple[str, ...]:
    """What the loaders said of the data: ties, repeated rows, counts made of shares. Each once."""
    names_by_note: dict[str, list[str]] = {}
    for cell in recorded:
        for note in cell.facts.data_notes:
            names_by_note.setdefault(note, []).append(cell.dataset)
    names = {name for datasets in names_by_note.values() for name in datasets}
    return tuple(
        note if len(names) == 1 else f"{', '.join(dict.fromkeys(datasets))}: {note}"
        for note, datasets in names_by_note.items()
    )


def _range(values: Sequence[int], noun: str) -> str:
    if not values:
        return noun
    return f"{values[0]} {noun}" if len(values) == 1 else f"{values[0]} to {values[-1]} {noun}"


def _model_words(model: ModelSpec) -> str:
    head = "sequence classification" if model.head == "classifier" else "label words at the answer position"
    return f"{file_tail(model.name)} ({head})"


def _names(cells: Sequence[RunSpec]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(cell.dataset.name for cell in cells))


def _data_words(name: str, cells: Sequence[RunSpec], rows: Sequence[ConditionRow]) -> str:
    """What was tracked and trained on under one data set's name, with every size that occurred."""
    specs = list(dict.fromkeys(cell.dataset for cell in cells if cell.dataset.name == name))
    text = f"{name}: tracked, {_sources(spec.tracked for spec in specs)}"
    sampled = any(spec.tracked_size for spec in specs)
    sizes = {row.n for row in rows if row.dataset == name} if sampled else set()
    text += f", {settings.sizes_words(sizes)} of them" if sizes else ""
    pools = [spec for spec in specs if spec.train is not None]
    if pools:
        text += f"; trained on, {_sources(spec.train for spec in pools if spec.train)}"
        drawn = [spec.train_size for spec in pools]
        text += f", {settings.sizes_words(drawn)} drawn" if any(drawn) else ""
    return text


def _sources(sources: Iterable[SourceSpec]) -> str:
    return " or ".join(dict.fromkeys(source.in_words() for source in sources))
