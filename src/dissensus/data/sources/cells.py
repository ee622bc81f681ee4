"""Label information in a table's cells: annotations, counts, or a distribution with its n."""

from __future__ import annotations

import ast
import io
import itertools
import json
import re
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dissensus.data.annotations import MOST_ANNOTATORS
from dissensus.data.sources.reading import (
    Record,
    RepeatedKeyError,
    each_key_once,
    label_name,
    not_shares,
    shown,
    whole_if_near,
)

if TYPE_CHECKING:
    from dissensus.data.sources.table import TableSource

_NUMPY_TEXTS = re.compile(r"""\[\s*(?:'[^']*'|"[^"]*")(?:\s+(?:'[^']*'|"[^"]*"))*\s*\]""")
_NUMPY_NUMBERS = re.compile(r"\[\s*[-+\w.]+(?:\s+[-+\w.]+)*\s*\]")
"""Arrays as NumPy prints them, without commas: Python would read two texts side by side as one."""

_TUPLE = re.compile(r"""\(\s*['"].*['"]\s*,?\s*\)|\(\s*[-+\d.]+\s*,[-+\d.,\s]*\)""", re.DOTALL)
"""A tuple as Python prints it; other text in brackets may be a label."""

_NUMPY_REPR = re.compile(r"array\(\s*(\[.*\])\s*(?:,\s*dtype=[^)]*)?\)", re.DOTALL)

TRUE, FALSE = ("1", "true", "yes", "x"), ("0", "false", "no", "")
"""Cells of a column that says whether a label was chosen; compared in lower case."""


@dataclass(frozen=True, slots=True)
class Given:
    """Answers in a cell.

    Attributes:
        annotator: who gave it; '' where that is not known.
        labels: as the cell spells them.
        weight: how many annotators gave it, where only that is known; NaN where the cell of the number is empty.
    """

    annotator: str
    labels: tuple[str, ...]
    weight: float = 1.0


def gold_cell(record: Record, column: str) -> str | None:
    """The gold label's name; None for an empty cell."""
    value = record.need(column)
    name = label_name(value)
    if name is None and isinstance(value, Mapping | list | tuple):
        raise record.error(f"{column!r} is {shown(value)}; expected one label")
    return name


def row_answers(record: Record, spec: TableSource) -> list[Given]:
    """All answers to the item of a row, from whichever columns the specification names."""
    if spec.annotations is not None:
        return _annotations(record, spec.annotations, spec.separator)
    if spec.counts is not None:
        counts = _numbers(record, spec.counts, spec, "counts")
    elif spec.distribution is not None:
        shares = _numbers(record, spec.distribution, spec, "distribution")
        wrong = not_shares(share for share in shares.values() if share == share) if shares else None
        if wrong:
            raise record.error(f"in the distribution, {wrong}")
        n = _number_of_annotators(record, spec) if shares else 0.0
        counts = {label: whole_if_near(share * n) for label, share in shares.items()}
    else:
        return []
    return [Given("", (label,), number) for label, number in counts.items()]


def total_among(rows: Sequence[Sequence[Given]]) -> str | None:
    """The label, called like a total, whose number is the sum of the others' in every row; None where there is none."""
    counted = [{given.labels[0]: given.weight for given in row} for row in rows if row]
    for name in dict.fromkeys(
        label for row in counted for label in row if label.strip().casefold() in _TOTALS
    ):
        others = [(row.get(name), [n for label, n in row.items() if label != name]) for row in counted]
        if all(total is not None and len(rest) > 1 and total == sum(rest) for total, rest in others):
            return name
    return None


_TOTALS = ("total", "sum", "all", "n", "count", "votes", "annotators", "total_votes", "n_annotators")


def label_columns(spec: TableSource) -> tuple[str, ...]:
    """Labels that the columns themselves name: one column per label, and no `labels` given."""
    several = spec.annotation if isinstance(spec.annotation, tuple) else None
    for columns in (several, spec.counts, spec.distribution):
        if isinstance(columns, tuple):
            return columns
    return ()


def one_answer(record: Record, spec: TableSource) -> tuple[str, ...]:
    """The labels of the one annotation that a row of the long form holds; none where the cell is empty."""
    assert spec.annotation is not None
    if isinstance(spec.annotation, tuple):
        return _chosen(record, spec.annotation, spec.labels)
    value = opened(record, spec.annotation, record.need(spec.annotation))
    cells = value if isinstance(value, list | tuple) else [value]
    return tuple(name for cell in cells if (name := _label(record, cell, "")) is not None)


def _chosen(record: Record, columns: tuple[str, ...], labels: tuple[str, ...] | None) -> tuple[str, ...]:
    names = labels if labels is not None and len(labels) == len(columns) else columns
    chosen = []
    for column, name in zip(columns, names, strict=True):
        value = record.need(column)
        word = (label_name(value) or "").casefold()
        if word not in (*TRUE, *FALSE):
            raise record.error(f"{column!r} is {shown(value)}; expected 1 where the label was chosen, else 0")
        if word in TRUE:
            chosen.append(name)
    return tuple(chosen)


def _annotations(record: Record, columns: tuple[str, ...], separator: str) -> list[Given]:
    if len(columns) > 1:
        cells = [(column, record.get(column)) for column in columns]
    else:
        value = opened(record, columns[0], record.need(columns[0]))
        if isinstance(value, Mapping):
            cells = [(str(who), answer) for who, answer in value.items()]
        elif isinstance(value, list | tuple):
            cells = [("", answer) for answer in value]
        elif isinstance(value, str):
            cells = [("", answer) for answer in value.split(separator)]
        else:
            cells = [("", value)]
    given = []
    for who, answer in cells:
        several = answer if isinstance(answer, list | tuple) and who else [answer]
        labels = tuple(name for cell in several if (name := _label(record, cell, who)) is not None)
        if labels:
            given.append(Given(who, labels))
    return given


def _label(record: Record, cell: object, who: str) -> str | None:
    name = label_name(cell)
    if name is None and isinstance(cell, Mapping | list | tuple):
        raise record.error(
            f"an annotation{f' of {who!r}' if who else ''} is {shown(cell)}; expected one label"
        )
    return name


def _numbers(
    record: Record, columns: str | tuple[str, ...], spec: TableSource, setting: str
) -> dict[str, float]:
    """Label -> number; empty when every cell is empty."""
    if isinstance(columns, tuple):
        labels = spec.labels or columns
        if len(labels) != len(columns):
            raise record.error(
                f"{setting} names {len(columns)} columns for {len(labels)} labels; expected one per label"
            )
        pairs = [(label, record.need(column)) for label, column in zip(labels, columns, strict=True)]
    else:
        value = opened(record, columns, record.need(columns))
        if isinstance(value, Mapping):
            pairs = [(label_name(label) or str(label), number) for label, number in value.items()]
        elif isinstance(value, list | tuple):
            if spec.labels is None:
                raise record.error(f"{columns!r} is a list, so 'labels' must name the labels in its order")
            if len(value) != len(spec.labels):
                raise record.error(
                    f"{columns!r} has {len(value)} numbers; expected {len(spec.labels)}, for {', '.join(spec.labels)}"
                )
            pairs = list(zip(spec.labels, value, strict=True))
        elif _empty(value):
            pairs = []
        else:
            raise record.error(
                f"{columns!r} is {shown(value)}; expected a list of numbers, or label: number pairs"
            )
    if all(_empty(number) for _, number in pairs):
        return {}
    out: dict[str, float] = {}
    for label, number in pairs:
        value = float("nan") if _empty(number) else _number(record, number, f"{setting} of {label!r}")
        out[label] = out[label] + value if label in out else value
    return out


def _number_of_annotators(record: Record, spec: TableSource) -> float:
    if isinstance(spec.annotators, int):
        return float(spec.annotators)
    assert spec.annotators is not None  # the specification demands it with `distribution`
    value = record.need(spec.annotators)
    if _empty(value):
        raise record.error(
            f"{spec.annotators!r} is empty; expected the number of labels behind the distribution"
        )
    return _number(record, value, repr(spec.annotators))


def _number(record: Record, value: Any, described: str) -> float:
    try:
        number = (
            float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else -1.0
        )
    except (ValueError, OverflowError):
        number = -1.0
    if not 0 <= number < MOST_ANNOTATORS:
        raise record.error(f"{described} is {shown(value)}; expected a number of at least 0, and below 1e9")
    return number


def _lost_in_literal(text: str) -> str:
    """What Python would lose of a literal without a word; '' where it loses nothing."""
    try:
        tokens = [
            token.type
            for token in tokenize.generate_tokens(io.StringIO(text).readline)
            if token.string.strip()
        ]
    except (tokenize.TokenError, SyntaxError):
        return ""
    if any(one == other == tokenize.STRING for one, other in itertools.pairwise(tokens)):
        return "two texts stand side by side without a comma"
    for node in ast.walk(ast.parse(text, mode="eval")):
        if isinstance(node, ast.Dict):
            keys = [ast.dump(key) for key in node.keys if key is not None]
            if len(set(keys)) < len(keys):
                return "a key is there more than once, and only one of its values could be read"
    return ""


def _empty(value: Any) -> bool:
    return (
        value is None
        or value != value
        or (isinstance(value, str) and value.strip().casefold() in ("", "nan"))
    )


def opened(record: Record, column: str, value: Any) -> Any:
    """A string that holds a list or a mapping, as JSON or as Python wrote it (CSV files often do), opened."""
    if not isinstance(value, str):
        return value
    if _TUPLE.fullmatch(value.strip()):
        try:
            written = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            return value
        return written if isinstance(written, tuple) else value
    array = _NUMPY_REPR.fullmatch(value.strip())
    if value.strip()[:1] not in ("[", "{") and array is None:
        return value
    text = value.strip() if array is None else array[1]
    try:
        return json.loads(text, object_pairs_hook=each_key_once)
    except RepeatedKeyError as error:
        raise record.error(f"in {column!r}, {error}") from None
    except (ValueError, RecursionError):
        pass
    if "..." in text and _NUMPY_NUMBERS.fullmatch(text):
        raise record.error(
            f"{column!r} is {shown(value)}: NumPy left out the middle of it; write the whole list"
        )
    if _NUMPY_TEXTS.fullmatch(text):
        return [single or double for single, double in re.findall(r"""'([^']*)'|"([^"]*)\"""", text)]
    if _NUMPY_NUMBERS.fullmatch(text) and " " in text:
        return text[1:-1].split()
    try:
        opened = ast.literal_eval(text)  # literals only: nothing is run
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        opened = None
    if opened is not None and (lost := _lost_in_literal(text)):
        raise record.error(f"{column!r} is {shown(value)}, where {lost}")
    if not isinstance(opened, list | dict | tuple):
        raise record.error(
            f"{column!r} is {shown(value)}; expected a JSON list or object, or labels with separators"
        )
    return opened
