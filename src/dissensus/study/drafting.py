"""Draft of a study for a data file: what was seen in it, and settings that train long enough to learn, with comments.

`dissensus init` writes it. The comments are for whoever has the labels and has trained nothing yet.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml

from dissensus.config import FEWEST_STEPS, StudySpec
from dissensus.config.sources import SourceSpec
from dissensus.data.agreement import annotation_entropy
from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.check import DataReport, check_dataset
from dissensus.data.notes import facts
from dissensus.errors import DataError

STEPS = 240
"""Optimiser steps that a draft aims at: two small models of the README's 240 tweets learned in so many."""

MOST_TRACKED = 3000
"""Items of a first study; more are named in a comment."""

FEW_ITEMS = 100
"""Items below which a study says so."""

LARGE = 2000
"""Items from which batches are of 32."""

WIDTH = 80

_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?")

_COMMENTS = {
    "path": "The file, as seen from the folder that you start dissensus in.",
    "text": "What annotators read: one column or several, in order.",
    "id": "The column of ids. Without one, the text itself makes the id.",
    "item": "Each row is one annotation: this column says of which item.",
    "annotator": "Who annotated.",
    "annotation": "The label that was given; several columns: one per label, with 1s.",
    "annotations": "One column per annotator, or one column that holds them all.",
    "gold": "The item's own label. Without this line, the majority of annotations is gold.",
    "counts": "How many annotators chose each label.",
    "distribution": "The share of annotators who chose each label.",
    "annotators": "How many annotators are behind the shares.",
    "labels": "All labels, in order.",
    "separator": "What stands between annotations in one cell.",
    "keep": "Only rows with these values count.",
    "round": "The round of annotation: an annotator's answer in a later one counts.",
}
"""What the keys of a data set mean; a key that is not here has its own description."""


@dataclass(frozen=True)
class Draft:
    """A study of a data file.

    Attributes:
        text: its YAML, with comments.
        steps: optimiser steps of each cell.
        report: what is in the data.
    """

    text: str
    steps: int
    report: DataReport


def study_name(stem: str) -> str:
    """A name for a study of a file: what of the file's name may stand in one."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-_") or "my-study"


def tracked_lines(spec: SourceSpec, *, comments: bool = False) -> list[str]:
    """The `tracked:` block of a study for a source: the keys that were chosen, a line each."""
    chosen = spec.model_dump(exclude_defaults=True, mode="json")
    lines = ["tracked:", f"  source: {_flow(spec.source)}"]
    for key, value in chosen.items():
        if key == "source":
            continue
        if comments:
            words = _COMMENTS.get(key) or (type(spec).model_fields[key].description or "").partition(";")[0]
            lines += [f"  {line}" for line in _comment(words, indent=8)]
        lines.append(f"  {key}: {_flow(value)}")
    return lines


def data_lines(dataset: AnnotatedDataset, report: DataReport) -> list[str]:
    """What the data look like, a sentence each."""
    shares = ", ".join(
        f"{entry.label} ({(entry.annotation_share if report.annotators else entry.gold_share):.0%})"
        for entry in report.labels[:12]
    )
    more = f" and {len(report.labels) - 12} more" if len(report.labels) > 12 else ""
    of = "annotations" if report.annotators else "gold labels"
    lines = [
        f"{report.rows} items; text: {', '.join(report.fields)}",
        f"labels, with their shares of all {of}: {shares}{more}",
    ]
    if report.annotators is None:
        return [*lines, "annotations: none, so that no disagreement is known"]
    low, middle, high = report.annotators
    each = f"{low:g}" if low == high else f"{low:g} to {high:g}, median {middle:g}"
    named = f"; {report.named_annotators} annotators known by name" if report.named_annotators else ""
    agreed = int((annotation_entropy(dataset.counts) == 0).sum())
    return [
        *lines,
        f"annotations per item: {each}{named}",
        f"annotation entropy: mean {report.entropy_mean:.3f} bits; in {agreed} of {report.rows} items all annotators "
        "agree (0 bits)",
    ]


def draft_study(
    dataset: AnnotatedDataset, spec: SourceSpec, *, name: str, file: str, study_file: str
) -> Draft:
    """A study of a data set that was read from a file.

    Args:
        dataset: as loaded.
        spec: what loads it; its path is written as it stands there.
        name: of the study.
        file: the data file, for people.
        study_file: where the study will be, for the commands in its comments.

    Raises:
        DataError: no study can be made of the data: an item has no gold label, or there is one item.
    """
    report = check_dataset(dataset)
    _refuse_what_cannot_run(report, spec)
    items = min(report.rows, MOST_TRACKED)
    batch = 32 if items > LARGE else 16
    each = math.ceil(items / batch)
    epochs = max(3, math.ceil(STEPS / each))
    lines = [
        *_comment(f"A study of {file}, made by `dissensus init`. Change whatever you like."),
        "#",
        "# What is in the file:",
        *_listed([*data_lines(dataset, report), *_few(report.rows), *dataset.notes, *facts(dataset)]),
        "#",
        "# What to do next:",
        f"#   dissensus run {study_file} --plan   says what it costs; nothing runs",
        f"#   dissensus run {study_file}          trains, analyses, writes a page",
        f"name: {_flow(name)}",
        "",
        *_comment(
            "The model that learns from the labels: a small English one, for which a laptop will do. `dissensus models "
            "list` has others; a Hugging Face name or a folder will do, too."
        ),
        "models:",
        "  - name: minilm-l6",
        *_indented(2, _comment("Longer texts are cut after so many word pieces.", indent=4)),
        f"    max_length: {_max_length(dataset)}",
        "",
        "datasets:",
        f"  - name: {_flow(name)}",
        *_indented(2, _meanings(dataset, spec)),
        *(f"    {line}" for line in tracked_lines(spec, comments=True)),
        *_size_lines(report.rows),
        "",
        *_comment(
            "Two ways to train, compared with each other: LoRA changes a small part of the model, full changes all of "
            f"it. `dissensus rates {study_file}` searches better learning rates."
        ),
        "methods:",
        "  - {name: lora, rank: 8, learning_rate: 1.0e-3}",
        "  - {name: full, learning_rate: 5.0e-5}",
        "",
        *_comment(
            "trained_on: the model trains on the items whose loss is recorded. held_out: it never sees them, which "
            "needs other labelled items to train on: add `train:` beside `tracked:`, with the same keys."
        ),
        "regimes: [trained_on]",
        "",
        *_comment("Each run three times, with other random numbers: what shows in all three is no accident."),
        "seeds: [0, 1, 2]",
        "",
        *_comment(
            f"{items} items in batches of {batch}: {each} optimiser step{'s' if each > 1 else ''} per epoch, "
            f"{each * epochs} in all. "
            f"Fewer than {FEWEST_STEPS} teach a model little, and nothing can be said of what it un-learns."
        ),
        f"training: {{epochs: {epochs}, batch_size: {batch}}}",
    ]
    text = "\n".join(lines) + "\n"
    StudySpec.from_text(text, study_file)
    return Draft(text, each * epochs, report)


def _refuse_what_cannot_run(report: DataReport, spec: SourceSpec) -> None:
    if report.rows < 2:
        raise DataError(f"{report.name} holds one item; a model learns from two at least")
    if report.without_gold:
        gold = getattr(spec, "gold", None)
        how = (
            f"Take the majority of annotations for gold (leave --gold {gold} out), or leave"
            if isinstance(gold, str) and report.annotators is not None
            else "Leave"
        )
        raise DataError(
            f"{report.without_gold} of {report.rows} items of {report.name} have no gold label, so that they have no "
            f"loss. {how} these items out of the file"
        )


def _few(rows: int) -> list[str]:
    if rows >= FEW_ITEMS:
        return []
    return [
        f"{rows} items are few: intervals will be wide, and little can be said of how entropy orders them"
    ]


def _size_lines(rows: int) -> list[str]:
    if rows <= MOST_TRACKED:
        return []
    words = f"A first look takes {MOST_TRACKED} of the {rows} items, spread over entropy. Remove this line to take all."
    return [*_indented(2, _comment(words, indent=4)), f"    tracked_size: {MOST_TRACKED}"]


def _meanings(dataset: AnnotatedDataset, spec: SourceSpec) -> list[str]:
    """A comment on labels that are bare numbers."""
    if not all(_NUMBER.fullmatch(label) for label in dataset.labels):
        return []
    known = spec.label_meanings()
    words = "The labels are bare numbers, and stand so on the page. What each means, for whoever reads this later:"
    return [
        *_comment(words, indent=4),
        *(f"#   {label}: {known.get(label, '?')}" for label in dataset.labels),
    ]


def _max_length(dataset: AnnotatedDataset) -> int:
    """Word pieces that 95 in 100 texts have at most, at about four bytes each."""
    sizes = [sum(len(text.encode()) for text in example.text.values()) / 4 for example in dataset]
    needed = float(np.quantile(sizes, 0.95)) * 1.2
    return next((length for length in (64, 128, 256) if needed <= length), 512)


def _comment(words: str, *, indent: int = 0) -> list[str]:
    """Words as lines of a comment that is `indent` columns in."""
    return [f"# {line}" for line in textwrap.wrap(words, WIDTH - 2 - indent, break_on_hyphens=False)]


def _listed(sentences: Sequence[str]) -> list[str]:
    lines: list[str] = []
    for sentence in sentences:
        first, *rest = _comment(" ".join(sentence.split()), indent=2)
        lines += [f"# - {first[2:]}", *(f"#   {line[2:]}" for line in rest)]
    return lines


def _indented(levels: int, lines: Sequence[str]) -> list[str]:
    return [f"{'  ' * levels}{line}" for line in lines]


def _flow(value: Any) -> str:
    """A value as YAML on one line."""
    text: str = yaml.safe_dump(
        value, default_flow_style=True, allow_unicode=True, width=10**9, sort_keys=False
    )
    return text.removesuffix("\n").removesuffix("\n...")
