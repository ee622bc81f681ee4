"""Annotators' answers, one by one, and the data set that they make together.

Every source whose file holds annotations gives items and answers; `collect` makes an `AnnotatedDataset` of them by the
rules of `AnswerRules`. What a rule changed stands in the data set's notes.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from dissensus.config.sources import SourceSpec
from dissensus.data.annotations import AnnotatedDataset, Example, majority
from dissensus.data.gold_like import gold_like_notes
from dissensus.data.label_names import LabelReading, read_labels
from dissensus.data.notes import is_number, is_tie, no_label_notes, tie_note
from dissensus.data.sources.reading import cell_name, shown
from dissensus.data.spelling import alike, spelling_key
from dissensus.errors import DataError


def _number_as_text(value: object) -> object:
    """A number as a name: YAML reads `missing: [-1]` as one."""
    return cell_name(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Name = Annotated[str, BeforeValidator(_number_as_text)]
Repeats = Literal["last", "first", "all", "each", "refuse"]
Scale = Literal["nominal", "ordinal"]


class AnswerRules(SourceSpec):
    """How answers are counted: the keys that every source of annotators' answers has."""

    labels: tuple[Name, ...] | None = Field(
        None,
        description="Label names, in order; default: those seen, sorted (by number where all are numbers).",
    )
    missing: tuple[Name, ...] | None = Field(
        None,
        description="Words that stand for no answer; default: NA, N/A, null, None and their like, 'skip', 'I don't "
        "know', and -1 where the other labels are 0, 1, 2. An empty list: none.",
    )
    same_labels: Literal["folded", "exact"] = Field(
        "folded",
        description="folded: Positive and positive are one label, 1.50 and 1.5 too; exact: they are two.",
    )
    repeats: Repeats = Field(
        "last",
        description="An annotator's second answer to an item: the last one counts, the first, all of them (as 1/k "
        "each), each of them (as one each), or the data are refused.",
    )
    several: str | None = Field(
        None,
        description="Separator of several labels in one answer ('a,b': each of k counts 1/k); default: a comma, "
        "semicolon or bar where it separates labels that other answers hold alone. An empty text: none.",
    )
    leave_out: tuple[Name, ...] = Field((), description="Annotators whose answers do not count.")
    scale: Scale | None = Field(
        None,
        description="ordinal: labels are steps of a scale, in the order of `labels` or by number; distances between "
        "them are then reported beside entropy. Default: nominal, or ordinal for a corpus that is published so.",
    )


@dataclass(frozen=True, slots=True)
class Item:
    """What was annotated.

    Attributes:
        id: unique in the data set.
        text: field name -> text, in reading order.
        gold: the corpus' own label as the file spells it; None where there is none.
        extra: further facts.
        place: where it stands, for messages.
    """

    id: str
    text: Mapping[str, str]
    gold: str | None = None
    extra: Mapping[str, str | float | bool] = field(default_factory=dict)
    place: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """One annotator's answer to one item.

    Attributes:
        item: the item's id.
        annotator: their name; '' where it is not known.
        labels: as the file spells them; several count 1/k each. Without one, nothing was answered.
        weight: of the answer: a number of annotators where only counts are known.
        round: of annotation; '' where there is only one.
        place: where it stands, for messages ('line 12').
    """

    item: str
    annotator: str
    labels: tuple[str, ...]
    weight: float = 1.0
    round: str = ""
    place: str = ""


def collect(
    items: Sequence[Item],
    answers: Sequence[Answer],
    rules: AnswerRules,
    *,
    name: str,
    where: str,
    published_gold: bool = False,
    fill_gold: bool = False,
    scale: Scale = "nominal",
    labels: Sequence[str] = (),
    leave_out_unanswered: bool = False,
    notes: Sequence[str] = (),
) -> AnnotatedDataset:
    """Annotated data from items and answers.

    Args:
        items: in the order that the data set will have.
        answers: in the file's order, which tells the first of two answers from the last.
        rules: how they are counted.
        name: of the data set.
        where: the file, for messages.
        published_gold: gold labels are the items' own; else the majority of the answers.
        fill_gold: with `published_gold`: an item without a gold label of its own takes the majority.
        scale: of the labels, where the rules name none.
        labels: names that the file itself lists, in its order; used where the rules name none.
        leave_out_unanswered: leave out items that nobody answered, and say how many.
        notes: what the reader of the file had to say; they come first.

    Raises:
        DataError: an answer is of no item, labels cannot be read, an annotator in `leave_out` gave no answer, a second
            answer where `repeats` is 'refuse', or an ordinal scale without an order.
    """
    said = list(notes)
    kept, more = _without(answers, rules.leave_out, where)
    said += more
    kept, more = _split(kept, rules)
    said += more
    reading = _labels(items, kept, rules, where, labels, published_gold)
    kept = _named(kept, reading)
    kept, more = _once(kept, rules.repeats, where)
    said += [
        *reading.notes,
        *more,
        *_scale_notes(rules, scale, reading.labels, where, len(kept) or len(items)),
    ]
    if len(reading.labels) < 2:
        one = f"every answer is {reading.labels[0]!r}" if reading.labels else "no answer has a label"
        raise DataError(
            f"{where}: {one}; at least two are needed. Name all labels on offer with `labels: [FIRST, SECOND]`"
            + "".join(f" ({note})" for note in reading.notes)
        )
    position = {label: k for k, label in enumerate(reading.labels)}
    by_item: dict[str, list[Answer]] = {item.id: [] for item in items}
    for answer in kept:
        if answer.item not in by_item:
            raise DataError(
                f"{where}{_at(answer.place)}: an answer to the item {answer.item!r}, which is not among the items"
            )
        by_item[answer.item].append(answer)
    if leave_out_unanswered and (bare := sum(not by_item[item.id] for item in items)):
        said.append(f"{bare} of {len(items)} items have no answer and were left out")
        items = [item for item in items if by_item[item.id]]
        if not items:
            raise DataError(f"{where} holds no answer to any of its {bare} items")
    said += gold_like_notes(list(by_item.values()))
    said += [
        f"{' and '.join(map(repr, same))} are counted as different annotators, and differ in spelling alone"
        for same in alike(dict.fromkeys(answer.annotator for answer in kept))[:5]
    ]
    examples, ties, several = [], 0, 0
    for item in items:
        counts = [0.0] * len(position)
        pairs = []
        for answer in by_item[item.id]:
            several += len(answer.labels) > 1
            for label in answer.labels:
                counts[position[label]] += answer.weight / len(answer.labels)
                if answer.annotator:
                    pairs.append((answer.annotator, position[label]))
        own = None if item.gold is None else reading.names.get(item.gold)
        gold = None if own is None else position[own]
        if not published_gold or (fill_gold and gold is None):
            gold = majority(counts)
            ties += is_tie(counts)
        examples.append(Example(item.id, item.text, gold, tuple(counts), tuple(pairs), item.extra))
    if several:
        said.append(f"{several} answers name several labels; each of k labels counts 1/k")
    unchosen = _unchosen_golds(examples, reading.labels) if published_gold else []
    if unchosen:
        said.append(
            f"no annotator chose {', '.join(map(repr, unchosen))}, which gold labels are: do both use the same names?"
        )
    if ties:
        said.append(tie_note(ties, reading.labels))
    return AnnotatedDataset(name, reading.labels, tuple(examples), tuple(said), rules.scale or scale)


def _unchosen_golds(examples: Sequence[Example], labels: Sequence[str]) -> list[str]:
    """Gold labels that nobody chose for any item; none where nobody answered at all."""
    chosen = {k for example in examples for k, count in enumerate(example.counts) if count}
    return (
        [labels[k] for k in sorted({e.gold for e in examples if e.gold is not None} - chosen)]
        if chosen
        else []
    )


def text_id(text: Mapping[str, str]) -> str:
    """An id made of the texts: the same texts, the same id."""
    return hashlib.sha256(json.dumps(list(text.items()), ensure_ascii=False).encode()).hexdigest()[:16]


def _without(
    answers: Sequence[Answer], left_out: Sequence[str], where: str
) -> tuple[list[Answer], list[str]]:
    if not left_out:
        return list(answers), []
    by_annotator = Counter(answer.annotator for answer in answers)
    for who in left_out:
        if who not in by_annotator:
            known = ", ".join(sorted(filter(None, by_annotator))[:10]) or "none by name"
            raise DataError(
                f"{where}: leave_out names the annotator {who!r}, who gave no answer; known are: {known}"
            )
    gone = sum(by_annotator[who] for who in left_out)
    return (
        [answer for answer in answers if answer.annotator not in left_out],
        [f"{gone} answers by {', '.join(left_out)} were left out (leave_out)"],
    )


def _split(answers: Sequence[Answer], rules: AnswerRules) -> tuple[list[Answer], list[str]]:
    """Answers that hold several labels in one text, split."""
    if rules.several == "":
        return list(answers), []
    spelt = Counter(label for answer in answers for label in answer.labels)
    alone = {spelling_key(label) for label in spelt} | {spelling_key(label) for label in rules.labels or ()}
    parts: dict[str, list[str]] = {}
    doubtful: list[str] = []
    for label in spelt:
        for separator in [rules.several] if rules.several else [",", ";", "|"]:
            pieces = [piece for piece in map(str.strip, label.split(separator)) if piece]
            if len(pieces) < 2 or label in (rules.labels or ()):
                continue
            if rules.several or all(spelling_key(piece) in alone for piece in pieces):
                parts[label] = pieces
            else:
                doubtful.append(label)
            break
    notes = []
    if parts and not rules.several:
        shown_one = next(iter(parts))
        notes.append(
            f"{sum(spelt[label] for label in parts)} answers such as {shown_one!r} were read as several labels; if "
            "they are one, say `several: ''`"
        )
    if doubtful:
        notes.append(
            f"{doubtful[0]!r} is read as one label; if it is several, name their separator with `several`"
        )
    if not parts:
        return list(answers), notes
    return [
        replace(a, labels=tuple(piece for label in a.labels for piece in parts.get(label, [label])))
        if any(label in parts for label in a.labels)
        else a
        for a in answers
    ], notes


def _labels(
    items: Sequence[Item],
    answers: Sequence[Answer],
    rules: AnswerRules,
    where: str,
    listed: Sequence[str],
    published_gold: bool,
) -> LabelReading:
    seen: dict[str, float] = {}
    golds: dict[str, float] = {}
    places: dict[str, str] = {}
    for answer in answers:
        for label in answer.labels:
            seen[label] = seen.get(label, 0) + answer.weight
            places.setdefault(label, where + _at(answer.place))
    for item in items if published_gold else ():
        if item.gold is not None:
            golds[item.gold] = golds.get(item.gold, 0) + 1
            places.setdefault(item.gold, where + _at(item.place))
    return read_labels(
        seen,
        golds,
        labels=rules.labels,
        listed=listed,
        missing=rules.missing,
        exact=rules.same_labels == "exact",
        where=where,
        places=places,
    )


def _named(answers: Sequence[Answer], reading: LabelReading) -> list[Answer]:
    """Answers with label names; without those that stand for no answer."""
    named = []
    for answer in answers:
        # A label that is there twice (two spellings of it) is one.
        labels = tuple(
            dict.fromkeys(name for word in answer.labels if (name := reading.names[word]) is not None)
        )
        if labels:
            named.append(answer if labels == answer.labels else replace(answer, labels=labels))
    return named


def _once(answers: Sequence[Answer], repeats: Repeats, where: str) -> tuple[list[Answer], list[str]]:
    """One answer for each item and annotator."""
    times: dict[tuple[str, str], list[int]] = defaultdict(list)
    for number, answer in enumerate(answers):
        if answer.annotator:
            times[answer.item, answer.annotator].append(number)
    repeated = {key: numbers for key, numbers in times.items() if len(numbers) > 1}
    if not repeated:
        return list(answers), []
    (item, who), numbers = next(iter(repeated.items()))
    if repeats == "refuse":
        raise DataError(
            f"{where}{_at(answers[numbers[1]].place)}: {who!r} answered the item {item!r} {len(numbers)} times. Say "
            "which answer counts with `repeats: last`, `first` or `all`"
        )
    changed = sum(len({answers[i].labels for i in numbers}) > 1 for numbers in repeated.values())
    gone: set[int] = set()
    merged: dict[int, Answer] = {}
    for numbers in repeated.values():
        if repeats == "each":
            continue
        if repeats == "all":
            labels = tuple(label for i in numbers for label in answers[i].labels)
            merged[numbers[0]] = replace(answers[numbers[0]], labels=labels)
            gone.update(numbers[1:])
        else:
            gone.update(numbers[:-1] if repeats == "last" else numbers[1:])
    kept = [merged.get(i, answer) for i, answer in enumerate(answers) if i not in gone]
    counts = {
        "last": "the last one counts",
        "first": "the first one counts",
        "all": "each of k counts 1/k",
        "each": "each counts as one",
    }[repeats]
    note = (
        f"{len(repeated)} times an annotator answered the same item again, {changed} of them otherwise ({shown(who)}: "
        f"item {shown(item)}, {len(repeated[item, who])} answers); {counts} (`repeats`)"
    )
    return kept, [note]


def _scale_notes(
    rules: AnswerRules, scale: Scale, labels: Sequence[str], where: str, n_answers: int
) -> list[str]:
    numbers = all(map(is_number, labels))
    if (rules.scale or scale) == "ordinal":
        if not numbers and rules.labels is None:
            raise DataError(
                f"{where}: `scale: ordinal` needs the order of the labels; name them, lowest first, with `labels: "
                f"[{', '.join(labels)}]`"
            )
        return [f"the labels are an ordinal scale: {', '.join(labels)}"]
    whole = rules.scale is None and all(label.lstrip("-").isdecimal() for label in labels)
    if numbers and whole and len(labels) >= 4 and max(abs(int(label)) for label in labels) <= 100:
        return [
            f"the labels {labels[0]} to {labels[-1]} look like steps of a scale; `scale: ordinal` reports distances "
            "between them beside entropy"
        ]
    return no_label_notes(labels, n_answers, named=rules.labels is not None)


def _at(place: str) -> str:
    return f", {place}" if place else ""
