"""Label information in a table's cells: per-annotator labels, counts, or a distribution with its n."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dissensus.data.sources.reading import Record, label_name, not_shares, shown, whole_if_near

if TYPE_CHECKING:
    from dissensus.data.sources.table import TableSource

Named = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table, its labels still by name.

    Attributes:
        record: where it came from.
        id: None if the table has no id column.
        text: column -> text.
        gold: None where the cell is empty or no column is named.
        weights: label -> annotators who chose it.
        named: (annotator, label) pairs where annotators are known.
    """

    record: Record
    id: str | None
    text: Mapping[str, str]
    gold: str | None
    weights: Mapping[str, float]
    named: Named


def column_labels(spec: TableSource) -> tuple[str, ...] | None:
    """Labels that the columns themselves name: one column per label, and no `labels` given."""
    for columns in (spec.counts, spec.distribution):
        if isinstance(columns, tuple):
            return columns
    return None


def gold_cell(record: Record, column: str) -> str | None:
    """The gold label's name; None for an empty cell."""
    value = record.need(column)
    name = label_name(value)
    if name is None and isinstance(value, Mapping | list | tuple):
        raise record.error(f"{column!r} is {shown(value)}; expected one label")
    return name


def label_weights(record: Record, spec: TableSource) -> tuple[dict[str, float], Named]:
    """Label -> annotators, and (annotator, label) pairs, from whichever columns the specification names."""
    if spec.annotations is not None:
        named = _annotations(record, spec.annotations, spec.separator)
        weights: dict[str, float] = {}
        for _, label in named:
            weights[label] = weights.get(label, 0.0) + 1
        return weights, tuple((who, label) for who, label in named if who)
    if spec.counts is not None:
        return _numbers(record, spec.counts, spec, "counts"), ()
    if spec.distribution is not None:
        shares = _numbers(record, spec.distribution, spec, "distribution")
        if not shares:
            return {}, ()
        wrong = not_shares(shares.values())
        if wrong:
            raise record.error(f"in the distribution, {wrong}")
        n = _number_of_annotators(record, spec)
        return {label: whole_if_near(share * n) for label, share in shares.items()}, ()
    return {}, ()


def _annotations(record: Record, columns: tuple[str, ...], separator: str) -> list[tuple[str, str]]:
    if len(columns) > 1:
        cells = [(column, record.need(column)) for column in columns]
    else:
        value = _opened(record, columns[0], record.need(columns[0]))
        if isinstance(value, Mapping):
            cells = [(str(who), answer) for who, answer in value.items()]
        elif isinstance(value, list | tuple):
            cells = [("", answer) for answer in value]
        elif isinstance(value, str):
            cells = [("", answer) for answer in value.split(separator)]
        else:
            cells = [("", value)]
    out = []
    for who, answer in cells:
        name = label_name(answer)
        if name is None and isinstance(answer, Mapping | list | tuple):
            raise record.error(
                f"an annotation{f' of {who!r}' if who else ''} is {shown(answer)}; expected one label"
            )
        if name is not None:
            out.append((who, name))
    return out


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
        value = _opened(record, columns, record.need(columns))
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
        out[label] = out.get(label, 0.0) + (
            0.0 if _empty(number) else _number(record, number, f"{setting} of {label!r}")
        )
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
    if not 0 <= number < float("inf"):
        raise record.error(f"{described} is {shown(value)}; expected a number of at least 0")
    return number


def _empty(value: Any) -> bool:
    return (
        value is None
        or value != value
        or (isinstance(value, str) and value.strip().casefold() in ("", "nan"))
    )


def _opened(record: Record, column: str, value: Any) -> Any:
    """A string that holds a list or a mapping, as JSON or as Python wrote it (CSV files often do), opened."""
    if not isinstance(value, str) or value.strip()[:1] not in ("[", "{"):
        return value
    text = value.strip()
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        opened = ast.literal_eval(text)  # literals only: nothing is run
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        opened = None
    if not isinstance(opened, list | dict | tuple):
        raise record.error(
            f"{column!r} is {shown(value)}; expected a JSON list or object, or labels with separators"
        )
    return opened
