"""What the numbers allow one to say, in plain sentences, and no more than that.

Every sentence counts conditions whose interval (and, for the headline, whose adjusted p) clears zero; none claims
a cause, none speaks of models or data outside the study, and what limits the reading follows at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from dissensus.config import (
    ChaosNLISource,
    LeWiDiSource,
    ModelSpec,
    RunSpec,
    SimulatedSource,
    SourceSpec,
    StudySpec,
    TableSource,
)
from dissensus.report import settings
from dissensus.report.tables import GOLD, REGIMES, ConditionRow, method_words, percent
from dissensus.wording import number

MINILM_NOTE = (
    "all-MiniLM-L6-v2 was tuned contrastively on SNLI and MultiNLI training pairs, among much else; no ChaosNLI "
    "item was among them."
)
FEW = 50
"""Below this many examples a condition is called small."""

REGIME_NOTES = {
    "held_out": "tracked examples are never trained on: a rising loss means growing confidence in another label, "
    "not that something learned was lost",
    "trained_on": "tracked examples are part of the training set: a falling loss may be learning or memorising",
}


def findings(rows: Sequence[ConditionRow], alpha: float) -> tuple[str, ...]:
    """What the study shows, a few sentences in order of weight."""
    learned = [row for row in rows if row.learned != "no"]
    said = [*_not_learned(rows), _association(rows, alpha), _controls(rows), *_reversal(learned)]
    return tuple(sentence for sentence in said if sentence)


def limits_of_reading(
    rows: Sequence[ConditionRow], missing: int, cells: Sequence[RunSpec]
) -> tuple[str, ...]:
    """What keeps the findings from saying more. `cells` are those behind the rows, overrides merged."""
    said = [
        "These are rank correlations over the examples of a data set: they show what goes together, not why, and "
        "they hold for these models, data and settings."
    ]
    if rows and max(row.seeds for row in rows) == 1:
        said.append(
            "Every condition has one seed. The intervals cover the choice of examples, not another random start."
        )
    elif rows:
        said.append(
            "Intervals cover the choice of examples; the spread over seeds (±) is the standard deviation between "
            "random starts."
        )
    if len({row.method for row in rows}) > 1:
        said.append(
            f"{settings.rates_sentence(cells)} (compare their losses at the end), so a difference between methods is "
            "one between these settings."
        )
    if any(row.gold == "majority" for row in rows):
        said.append(
            "Where the gold label is the majority of the same annotations that give the entropy, contested examples "
            "have by construction fewer annotators behind their gold label."
        )
    small = [row for row in rows if row.n < FEW]
    if small:
        said.append(
            f"Conditions with fewer than {FEW} tracked examples: {len(small)} of {len(rows)}. Read them as a trial."
        )
    if missing == 1:
        said.append("One cell has no result and is missing from every number here (see below).")
    elif missing:
        said.append(f"{missing} cells have no result and are missing from every number here (see below).")
    return tuple(said)


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
            f"{study.analysis.entropy.replace('_', '-')} estimator; "
            + (
                f"contested at or above {study.analysis.cuts[1]:.10g} bits, settled at or below "
                f"{study.analysis.cuts[0]:.10g}"
                if study.analysis.cuts
                else f"contested and settled: top and bottom {percent(study.analysis.contested_share)} by entropy"
            ),
        ),
        (
            "Intervals",
            f"{study.analysis.confidence:.0%} bootstrap over examples, {study.analysis.resamples} resamples; examples "
            "that share a premise are drawn together; p-values adjusted by Holm over the conditions",
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


def model_notes(study: StudySpec, recorded: Sequence[str]) -> tuple[str, ...]:
    """What a reader must know of the models: notes recorded with the cells, and ours on MiniLM."""
    notes = [note for note in recorded if note]
    names = " ".join(model.name.casefold() for model in study.models)
    if "minilm-l6" in names and not any("MiniLM-L6-v2" in note for note in notes):
        notes.insert(0, MINILM_NOTE)
    return tuple(dict.fromkeys(notes))


def _association(rows: Sequence[ConditionRow], alpha: float) -> str:
    known = [row for row in rows if row.rho.defined]
    if not known:
        return (
            "The correlation of entropy with the loss averaged over training is undefined in every condition."
        )
    clear = [row for row in known if row.rho.side > 0 and row.rho.p < alpha]
    against = [row for row in known if row.rho.side < 0 and row.rho.p < alpha]
    low, high = min(r.rho.value for r in known), max(r.rho.value for r in known)
    span = f"ρ = {number(low)}" if len(known) == 1 else f"ρ from {number(low)} to {number(high)}"
    rule = f"interval clear of 0 and Holm-adjusted p below {alpha:.2g}"
    if not clear and not against:
        return (
            f"{_of(0, len(known), 'conditions')} show a clear link between annotator disagreement and the loss "
            f"averaged over training ({span}; clear means {rule})."
        )
    text = (
        f"In {_of(len(clear), len(known), 'conditions')}, examples on which annotators disagree more have a higher "
        f"gold-label loss averaged over training ({span} over all; counted: {rule})."
    )
    if against:
        text += f" In {len(against)} the link clearly runs the other way."
    return text


def _controls(rows: Sequence[ConditionRow]) -> str:
    known = [row for row in rows if row.partial.defined]
    if not known:
        return ""
    held = sum(row.partial.side > 0 for row in known)
    where = _of(held, len(known), "conditions")
    text = f"With {_covariates(known)} held constant, the interval stays above 0 in {where}"
    hard = [row for row in rows if row.hard.defined]
    if hard:
        left = sum(row.hard.side > 0 for row in hard)
        text += (
            f"; with the share of annotators who chose the gold label held constant as well, in "
            f"{_of(left, len(hard), 'conditions')}. That last control asks whether disagreement matters beyond the "
            "gold label being in doubt"
        )
    return text + "."


def _not_learned(rows: Sequence[ConditionRow]) -> list[str]:
    """A sentence for each condition that learned nothing, and what is left out for it."""
    return [
        f"{row.title}: the model learned nothing that shows on these examples ({row.learned_why}). Nothing is called "
        "un-learned there, and no example is listed: a loss that rises under a model that learned nothing says nothing "
        "about the example. Train it longer, or at another learning rate."
        for row in rows
        if row.learned == "no"
    ]


def _reversal(rows: Sequence[ConditionRow]) -> list[str]:
    said = []
    for regime in dict.fromkeys(row.regime for row in rows):
        here = [row for row in rows if row.regime == regime and row.contested.delta.defined]
        if not here:
            continue
        up = _by_method(here, lambda row: row.contested.delta.side > 0)
        settled = sum(row.settled.delta.side > 0 for row in here)
        down = sum(row.contested.delta.side < 0 for row in here)
        text = (
            f"{REGIMES[regime].capitalize()}: the contested group ended with a higher mean gold-label loss than "
            f"it began with in {up}"
        )
        text += f", with a lower one in {down}" if down else ""
        said.append(text + f"; the settled group ended higher in {_of(settled, len(here), 'conditions')}.")
    return said


def _by_method(rows: Sequence[ConditionRow], holds: Callable[[ConditionRow], bool]) -> str:
    total = _of(sum(map(holds, rows)), len(rows), "conditions")
    methods = list(dict.fromkeys(row.method for row in rows))
    if len(methods) < 2:
        return total
    parts = []
    for method in methods:
        own = [row for row in rows if row.method == method]
        parts.append(f"{method_words(method)}: {sum(map(holds, own))} of {len(own)}")
    return f"{total} ({'; '.join(parts)})"


def _covariates(rows: Sequence[ConditionRow]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row.covariates.split(", ") if name))
    words = [name.replace("_", " ") for name in names]
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else "nothing"


def _of(count: int, total: int, noun: str) -> str:
    if total == 1:
        return f"the one {noun.removesuffix('s')}" if count else f"none (of one {noun.removesuffix('s')})"
    if count == total:
        return f"all {total} {noun}"
    return f"{count or 'none'} of the {total} {noun}"


def _range(values: Sequence[int], noun: str) -> str:
    if not values:
        return noun
    return f"{values[0]} {noun}" if len(values) == 1 else f"{values[0]} to {values[-1]} {noun}"


def _model_words(model: ModelSpec) -> str:
    head = "sequence classification" if model.head == "classifier" else "label words at the answer position"
    return f"{tail(model.name)} ({head})"


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
    return " or ".join(dict.fromkeys(_source_words(source) for source in sources))


def _source_words(source: SourceSpec) -> str:
    if isinstance(source, ChaosNLISource):
        return f"ChaosNLI ({source.part})"
    if isinstance(source, SimulatedSource):
        return "the simulated panel"
    if isinstance(source, LeWiDiSource):
        return f"LeWiDi {source.dataset} ({', '.join(source.splits)})"
    if isinstance(source, TableSource):
        return f"the table {tail(source.path or source.hub or '')}"
    return f"{source.source.upper()} pairs ({', '.join(source.splits)})"


def tail(path: str) -> str:
    """A file name without the folders of an absolute path (a page names no place on a machine)."""
    return (
        path.replace("\\", "/").rstrip("/").rpartition("/")[2]
        if path[:1] in "/\\~" or path[1:2] == ":"
        else path
    )
