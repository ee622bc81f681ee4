"""Merging of new annotations into a data set's old ones, by item and annotator, with the rounds told apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dissensus.config.sources import SourceSpec
from dissensus.data.agreement import annotation_entropy
from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.answers import Answer, AnswerRules, Item, collect
from dissensus.data.sniff import recognise
from dissensus.data.sources import load_source
from dissensus.data.sources.base import FileSample
from dissensus.data.sources.long_form import read_long
from dissensus.data.sources.paths import resolve_path
from dissensus.data.sources.reading import shown
from dissensus.data.sources.table import TableSource, TextReader
from dissensus.data.sources.tabular import read_table
from dissensus.data.spelling import spelling_key
from dissensus.errors import DataError
from dissensus.exchange.annotation_tools import unguarded
from dissensus.files import file_sha256


@dataclass(frozen=True)
class OldAnnotations:
    """A data set and its annotations so far, one by one.

    Attributes:
        dataset: as its study reads it.
        answers: all answers, earlier ones of an annotator included; each with its round, a whole number.
        files: file of each answer that an earlier merge brought ('NAME SHA256'), '' for the others; as many as answers.
        rules: how answers are counted.
        published_gold: whether gold labels are the data's own.
        notes: what to know, a sentence each.
    """

    dataset: AnnotatedDataset
    answers: tuple[Answer, ...]
    files: tuple[str, ...]
    rules: AnswerRules
    published_gold: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Merged:
    """Old annotations with new ones.

    Attributes:
        old: what there was.
        answers: all answers, by item in the data set's order, then by round.
        files: file of each, as in `OldAnnotations`.
        round: of the new answers.
        added: new answers.
        touched: items that have one, in order.
        again: of the new answers, those to an item that the annotator had answered before.
        known: answers of the file that were there already.
        unknown: answers to items that the data set does not have: they are not merged.
        notes: how the file was read, a sentence each.
        before: the data set as it is read without the new answers.
        after: with them.
    """

    old: OldAnnotations
    answers: tuple[Answer, ...]
    files: tuple[str, ...]
    round: int
    added: int
    touched: tuple[str, ...]
    again: int
    known: int
    unknown: tuple[Answer, ...]
    notes: tuple[str, ...]
    before: AnnotatedDataset
    after: AnnotatedDataset

    @property
    def entropy(self) -> tuple[float, float]:
        """Mean annotation entropy of all annotated items before and after, bits."""
        return _mean_entropy(self.before), _mean_entropy(self.after)

    @property
    def entropy_touched(self) -> tuple[float, float]:
        """The same of the items that have a new answer; NaN where there is none."""
        return _mean_entropy(self.before, self.touched), _mean_entropy(self.after, self.touched)


def old_annotations(spec: SourceSpec, *, data_dir: Path | None = None) -> OldAnnotations:
    """The annotations that a source has.

    Of a table in the long form every row that counts is kept, earlier answers of an annotator too. Of another source
    there is what its own rules left, except that annotators whom it leaves out are kept.

    Raises:
        DataError: the data are missing or malformed, or counts stand for no whole answers.
    """
    everyone = spec.model_copy(update={"leave_out": ()}) if isinstance(spec, AnswerRules) else spec
    published = spec.gold_from() != "majority"
    if isinstance(spec, TableSource) and spec.annotation is not None and spec.path is not None:
        texts = None if spec.texts is None else read_table(resolve_path(spec.texts.path, data_dir))
        table = read_table(resolve_path(spec.path, data_dir))
        items, read, _ = read_long(table, spec, TextReader(spec, texts, table))
        dataset = collect(
            items,
            read,
            spec.model_copy(update={"leave_out": ()}),
            name=table.name,
            where=str(table.path),
            published_gold=published,
        )
        by_place = {record.place: file_cell(record.values.get("file")) for record in table.records}
        answers, notes = in_whole_rounds(read)
        rules, more = _rules(spec, {"labels": dataset.labels})
        files = tuple(by_place[answer.place] for answer in answers)
        return OldAnnotations(dataset, answers, files, rules, published, (*notes, *more))
    dataset = load_source(everyone, data_dir=data_dir)
    answers = tuple(replace(answer, round="1") for answer in _answers_of(dataset))
    rules, more = _rules(spec, {"labels": dataset.labels, "several": ""})
    return OldAnnotations(dataset, answers, ("",) * len(answers), rules, published, more)


def _rules(spec: SourceSpec, changes: Mapping[str, object]) -> tuple[AnswerRules, tuple[str, ...]]:
    """The rules of a source, with changes, for the joined table; and what to know."""
    kept = {name: getattr(spec, name) for name in AnswerRules.model_fields if isinstance(spec, AnswerRules)}
    rules = AnswerRules.model_validate({**kept, "source": "table", **changes})
    if rules.repeats != "refuse":
        return rules, ()
    return rules.model_copy(update={"repeats": "last"}), (
        "the study refuses an annotator's second answer (`repeats: refuse`), which rounds bring; of the joined table "
        "the last one counts",
    )


def merge(old: OldAnnotations, path: Path) -> Merged:
    """Join the answers of a file to the old ones.

    An answer that is there already (the same annotator, item and labels) is not added again, for tools export what was
    annotated before as well; nor is any answer of a file that was merged before, which settles it for answers without
    an annotator. Another answer by an annotator to the same item is kept beside the first, in its own round.

    Raises:
        DataError: the file is missing or malformed, has labels that the data set does not have, none of its items, or
            other texts for them under a tool's own numbers.
    """
    (new, notes), digest = _new_answers(old, path), f"{path.name} {file_sha256(path)}"
    merged_before = digest.rpartition(" ")[2] in {name.rpartition(" ")[2] for name in old.files if name}
    there, answered = multiset(old.answers), {(a.item, a.annotator) for a in old.answers if a.annotator}
    turn = max((int(answer.round) for answer in old.answers), default=0) + 1
    added: list[Answer] = []
    unknown: list[Answer] = []
    known = again = 0
    for answer in new:
        if answer.item not in old.dataset:
            unknown.append(answer)
        elif merged_before or (answer.annotator and there[_key(answer)] > 0):
            there[_key(answer)] -= 1
            known += 1
        else:
            again += (answer.item, answer.annotator) in answered
            added.append(replace(answer, round=str(turn)))
    if len(unknown) == len(new):
        raise DataError(
            f"{path}: none of its items (e.g. {unknown[0].item!r}) is in the data set (e.g. {old.dataset.ids[0]!r}). "
            "Annotations are joined by `item_id`, as `dissensus queue` writes it; is it in the export?"
        )
    place = {item: number for number, item in enumerate(old.dataset.ids)}
    both = [*zip(old.answers, old.files, strict=True), *((answer, digest) for answer in added)]
    both.sort(key=lambda pair: (place[pair[0].item], int(pair[0].round)))
    answers = tuple(answer for answer, _ in both)
    touched = {answer.item for answer in added}
    return Merged(
        old=old,
        answers=answers,
        files=tuple(name for _, name in both),
        round=turn,
        added=len(added),
        touched=tuple(item for item in old.dataset.ids if item in touched),
        again=again,
        known=known,
        unknown=tuple(unknown),
        notes=notes,
        before=_read(old, old.answers),
        after=_read(old, answers),
    )


def _new_answers(old: OldAnnotations, path: Path) -> tuple[list[Answer], tuple[str, ...]]:
    """The answers of a file, with the data set's names of the items where a spreadsheet guarded them; and notes."""
    labels = old.dataset.labels
    if not path.is_file():
        raise DataError(f"the file {path} does not exist{' (it is a folder)' if path.is_dir() else ''}")
    table = FileSample(path.absolute()).table if path.suffix.lower() != ".json" else None
    by_our_id = table is not None and {"item_id", "annotation"} <= set(table.columns)
    if table is not None and by_our_id:
        texts = tuple(field for field in old.dataset.fields if field in {*table.columns} - _OWN)
        spec: SourceSpec = TableSource.model_validate(
            {
                **{"path": str(path), "text": texts, "item": "item_id", "annotation": "annotation"},
                **({"annotator": "annotator"} if "annotator" in table.columns else {}),
            }
        )
    else:
        spec = recognise(path).spec
    if isinstance(spec, TableSource) and spec.annotation is not None:
        table = read_table(path)
        items, answers, notes = read_long(table, spec, TextReader(spec, None, table))
        notes = [*table.notes, *notes]
    else:
        if isinstance(spec, AnswerRules):
            spec = spec.model_copy(update={"labels": labels})
        read = load_source(spec)
        items, answers = [Item(example.id, example.text) for example in read], _answers_of(read)
        notes = list(read.notes)
    ids = {item.id: item.id if item.id in old.dataset else unguarded(item.id) for item in items}
    answers = [replace(answer, item=ids[answer.item]) for answer in answers]
    if other := _other_text(old, items, ids):
        if not by_our_id:
            raise DataError(
                f"{path}: {other}. Annotations are joined by `item_id`, as `dissensus queue` writes it, and by the "
                "tool's own numbers where an export lacks it; is it in the export?"
            )
        notes.append(f"{other}; joined by `item_id` all the same")
    unknown = [answer for answer in answers if answer.item not in old.dataset]
    spelt, more = _spelt(old, [answer for answer in answers if answer.item in old.dataset], path)
    said = dict.fromkeys(note for note in (*notes, *more) if "a tie for" not in note)
    return [*spelt, *unknown], tuple(said)


_OWN = {"item_id", "annotator", "annotation"}
"""Columns of a table of new answers that are no texts."""


def _other_text(old: OldAnnotations, items: Sequence[Item], ids: Mapping[str, str]) -> str:
    """The first id that stands for another text than in the data set, in words; '' where there is none."""
    for item in items:
        if ids[item.id] not in old.dataset:
            continue
        known = old.dataset[ids[item.id]].text
        here = {field: text for field, text in item.text.items() if text.strip()}
        by_name = {field: text for field, text in here.items() if field in known}
        theirs = {_folded(text) for text in known.values()}
        same = (
            all(_folded(known[field]) in _spellings(text) for field, text in by_name.items())
            if by_name
            else not here or any(theirs & _spellings(text) for text in here.values())
        )
        if not same:
            text, ours = next(iter((by_name or here).values())), next(iter(known.values()))
            return f"the item {item.id!r} has the text {shown(text)}; in the data set it is {shown(ours)}"
    return ""


def _spellings(text: str) -> set[str]:
    """A text as it is, and without what guards a cell of a spreadsheet."""
    return {_folded(text), _folded(unguarded(text))}


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()


def _spelt(
    old: OldAnnotations, answers: Sequence[Answer], path: Path
) -> tuple[list[Answer], tuple[str, ...]]:
    """Answers with the label names of the old data, by its rules; those that stand for no answer left out; and notes.

    Raises:
        DataError: a label is not among the old ones.
    """
    if not answers:
        return [], ()
    # Every answer as an annotator's own, so that none is taken for another's repetition.
    numbered = [replace(answer, annotator=str(number)) for number, answer in enumerate(answers)]
    items = [Item(item, old.dataset[item].text) for item in dict.fromkeys(answer.item for answer in answers)]
    rules = old.rules.model_copy(update={"leave_out": (), "labels": old.dataset.labels, "scale": "nominal"})
    read = collect(items, numbered, rules, name=path.stem, where=str(path))
    labels: dict[int, list[str]] = {}
    for example in read:
        for who, label in example.annotations:
            labels.setdefault(int(who), []).append(read.labels[label])
    spelt = [replace(answers[number], labels=tuple(names)) for number, names in sorted(labels.items())]
    return spelt, read.notes


def _answers_of(dataset: AnnotatedDataset) -> list[Answer]:
    """The answers of a data set: those by annotators who are known, and a nameless one for each other count."""
    answers = []
    for example in dataset:
        named: dict[str, list[int]] = {}
        for who, label in example.annotations:
            named.setdefault(who, []).append(label)
        rest = np.array(example.counts)
        for who, chosen in named.items():
            answers.append(Answer(example.id, who, tuple(dataset.labels[label] for label in chosen)))
            np.subtract.at(rest, chosen, 1 / len(chosen))
        whole = np.rint(rest)
        if np.abs(rest - whole).max() > 1e-6 or whole.min() < 0:
            counts = tuple(round(count, 4) for count in example.counts)
            raise DataError(
                f"the counts of the item {example.id!r} in {dataset.name!r} are {counts}: they stand for no whole "
                "number of answers, so that new ones cannot be joined to them. Give the old data as annotations, one "
                "by one"
            )
        for name, count in zip(dataset.labels, whole.astype(int).tolist(), strict=True):
            answers += [Answer(example.id, "", (name,))] * count
    return answers


def in_whole_rounds(answers: Sequence[Answer]) -> tuple[tuple[Answer, ...], tuple[str, ...]]:
    """Rounds as numbers from 1, in the order of the answers; and what to know."""
    names = list(dict.fromkeys(answer.round for answer in answers))
    if all(name.isdecimal() for name in names):
        return tuple(answers), ()
    number = {name: str(place) for place, name in enumerate(names, 1)}
    told = ", ".join(f"{name!r} is {place}" for name, place in number.items())
    notes = (f"rounds are numbered now: {told}",) if names != [""] else ()
    return tuple(replace(answer, round=number[answer.round]) for answer in answers), notes


def _read(old: OldAnnotations, answers: Sequence[Answer]) -> AnnotatedDataset:
    dataset = old.dataset
    items = [
        Item(e.id, e.text, None if e.gold is None or not old.published_gold else dataset.labels[e.gold])
        for e in dataset
    ]
    return collect(
        items, answers, old.rules, name=dataset.name, where=dataset.name, published_gold=old.published_gold
    )


def _mean_entropy(dataset: AnnotatedDataset, ids: Sequence[str] | None = None) -> float:
    rows = [dataset[item].counts for item in (dataset.ids if ids is None else ids)]
    counts = np.array(rows, dtype=np.float64).reshape(-1, len(dataset.labels))
    entropy = annotation_entropy(counts)
    known = entropy[np.isfinite(entropy)]
    return float(known.mean()) if len(known) else float("nan")


def multiset(answers: Iterable[Answer]) -> Counter[tuple[str, str, tuple[str, ...]]]:
    """How often each item, annotator and set of labels occurs."""
    return Counter(map(_key, answers))


def _key(answer: Answer) -> tuple[str, str, tuple[str, ...]]:
    return answer.item, answer.annotator, tuple(sorted(map(spelling_key, answer.labels)))


def file_cell(value: object) -> str:
    """A cell of the column of files; '' for an empty one."""
    return value if isinstance(value, str) else ""
