"""Conventional names of columns: which column of a table is the id, the text, the gold label, the annotations."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dissensus.config.base import nearest
from dissensus.data.sources.reading import absent, label_name, shown
from dissensus.errors import DataError

if TYPE_CHECKING:
    from dissensus.data.sources.tabular import Table

# Best first; compared as `normal_name` writes them.
IDS = (
    "item_id",
    "item",
    "id",
    "uid",
    "pairid",
    "pair_id",
    "guid",
    "example_id",
    "instance_id",
    "task",
    "task_id",
    "idx",
)
TEXTS = (
    ("premise", "hypothesis"),
    ("sentence1", "sentence2"),
    ("context", "statement"),
    ("context", "response"),
    ("prompt", "response"),
    ("question1", "question2"),
    ("text",),
    ("sentence",),
    ("tweet",),
    ("comment",),
    ("comment_text",),
    ("post",),
    ("input_text",),
)
GOLDS = (
    *("gold", "gold_label", "hard_label", "label", "majority_label", "consensus", "consensus_label"),
    *("final", "final_label", "majority", "aggregated", "aggregated_label", "adjudicated"),
)
COUNTS = ("label_count", "label_counts", "counts", "votes")
ANNOTATIONS = ("annotations", "annotator_labels", "annotation", "labels")
ANNOTATION = (
    "annotation",
    "label",
    "answer",
    "rating",
    "judgment",
    "judgement",
    "response",
    "choice",
    "vote",
)
ANNOTATORS = (
    *("annotator", "annotator_id", "worker", "worker_id", "workerid", "rater", "rater_id"),
    *("coder", "coder_id", "judge", "labeler", "labeler_id", "completed_by", "_annotator_id", "performer"),
)
USERS = ("user_id", "user", "username")
"""Annotators in some tables; whoever wrote the text in others, where texts hardly repeat."""
NOT_LABELS = (
    "round",
    "status",
    "state",
    "split",
    "lang",
    "language",
    "source",
    "batch",
    "platform",
    "project",
    "agreement",
)
NOT_LABEL_ENDINGS = ("_id", "_at", "_by", "_time", "time", "date", "gender", "age", "count", "duration")
"""Columns of annotation tools, and of what is known of annotators, that are no labels."""
DISTRIBUTIONS = ("label_dist", "soft_label", "distribution")
NUMBERS = ("annotators", "n_annotators", "number_of_annotations", "num_annotators", "n")
ONE_EACH = re.compile(r"(annotator|ann|rater|annotation|label|coder)_?\d+")


def normal_name(column: str) -> str:
    """A column's name for comparing: lower case, with spaces, hyphens, dots and colons as underscores."""
    return re.sub(r"[\s\-.:]+", "_", str(column).strip()).casefold()


class ColumnError(DataError):
    """Which columns of a table hold what is not known, or not as it was said.

    Attributes:
        what: what is wrong, without the way out.
        table: whose columns.
    """

    def __init__(self, what: str, table: Table, way_out: str = "") -> None:
        super().__init__(what + way_out)
        self.what, self.table = what, table


def conventional_columns(table: Table, named: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The keys of a `table` source: those that are `named`, and what the columns' names suggest for the others.

    Raises:
        ColumnError: a column that is named is not there, or no text column or no label information has a
            conventional name.
    """
    named = dict(named or {})
    _refuse_unknown(table, named)
    names = {normal_name(column): column for column in reversed(table.columns)}
    text = named.get("text") or next(
        (tuple(names[t] for t in group) for group in TEXTS if all(t in names for t in group)), None
    )
    long = named.get("rows") == "annotations" or any(key in named for key in _LONG)
    if text is not None and (long or not named.keys() & _WIDE):
        one_per_row = _one_per_row(table, names, text, named, long=long)
        if one_per_row is not None:
            return one_per_row
    if {key for key in _LONG if key in named} == {"item"}:  # a row is an item, and this is its id
        long, named = False, {"id": named["item"], **{key: named[key] for key in named if key != "item"}}
    guessed: dict[str, Any] = {}
    if not long:
        guessed = {
            "id": _first(names, IDS),
            "gold": _first(names, GOLDS),
            **_labels_in_row(table, names, text or (), named),
        }
    labelled = {key for key, value in {**guessed, **named}.items() if value is not None} & _LABELS
    if text is None or long or not labelled:
        lacking = "text" if text is None else "annotation" if long else "labels"
        raise ColumnError(
            f"{table.path}: no column for the {lacking} has a name that is known",
            table,
            f"; the columns are: {', '.join(table.columns)}. {_HOW}",
        )
    return {"text": text, **{key: value for key, value in guessed.items() if value is not None}, **named}


_LONG = ("item", "annotator", "annotation", "round", "keep")
_WIDE = {"id", "annotations", "counts", "distribution"}
_LABELS = {"gold", "annotations", "counts", "distribution"}
_COLUMNS = ("id", "text", "item", "annotator", "annotation", "round", "keep", "gold", "annotations", "counts")
"""Keys of a table whose values are columns (of `keep`, its keys)."""


def _refuse_unknown(table: Table, named: Mapping[str, Any]) -> None:
    """Raise where a column that is named is in no row."""
    for key in _COLUMNS:
        value = named.get(key)
        if value is None or (key == "text" and "texts" in named):
            continue
        for column in (value,) if isinstance(value, str) else value:
            if all(absent(record.values, column) for record in table.records):
                raise ColumnError(
                    f"{table.path}: there is no column {column!r} ({key}); {nearest(column, table.columns)}",
                    table,
                )


_HOW = (
    "Name them in a study: `tracked: {source: table, path: FILE, text: [COLUMN, ...], gold: COLUMN, ...}` with one "
    "of annotations, counts, or distribution and annotators; or, where each row is one annotation, with item, "
    "annotator and annotation"
)


def _labels_in_row(
    table: Table, names: Mapping[str, str], text: Sequence[str], named: Mapping[str, Any]
) -> dict[str, Any]:
    """Where the labels of an item are, if a row is an item."""
    chosen = named.get("annotations")
    if chosen is not None:
        return _separator(table, chosen[0]) if len(chosen) == 1 and "separator" not in named else {}
    gold = named.get("gold") or _first(names, GOLDS)

    def labels_of(column: str) -> dict[str, Any]:
        return {} if "labels" in named else {"labels": _labels_of_list(table, column, gold)}

    for key in ("counts", "distribution"):
        if key in named:
            return labels_of(named[key]) if isinstance(named[key], str) else {}
    one_each = tuple(c for c in table.columns if ONE_EACH.fullmatch(normal_name(c)))
    counts, annotations = _first(names, COUNTS), _first(names, ANNOTATIONS)
    distribution, number = _first(names, DISTRIBUTIONS), _first(names, NUMBERS)
    if counts is not None:
        return {"counts": counts, **labels_of(counts)}
    if annotations is not None:
        return {"annotations": (annotations,), **_separator(table, annotations)}
    if len(one_each) > 1:
        return {"annotations": one_each}
    if distribution is not None and number is not None:
        return {
            "distribution": distribution,
            "annotators": number,
            **labels_of(distribution),
        }
    family = _numbered_family(table, text)
    return {"annotations": family} if family else {}


def _numbered_family(table: Table, text: Sequence[str]) -> tuple[str, ...]:
    """Columns w1, w2, ... that share few values: one for each annotator. None where several stems have such columns."""
    by_stem: dict[str, list[str]] = defaultdict(list)
    for column in table.columns:
        numbered = _NUMBERED.fullmatch(normal_name(column))
        if numbered and column not in text:
            by_stem[numbered[1]].append(column)
    families = [tuple(columns) for columns in by_stem.values() if len(columns) > 1]
    families = [columns for columns in families if _share_few_values(table, columns)]
    return families[0] if len(families) == 1 else ()


def _share_few_values(table: Table, columns: Sequence[str]) -> bool:
    """Whether the columns hold labels: few different values, none of which is in one column alone but the rare ones."""
    values = [Counter(filter(None, map(label_name, table.cells(column)))) for column in columns]
    together = sum(values, Counter())
    alone = sum(n for value, n in together.items() if sum(value in column for column in values) == 1)
    few = 2 <= len(together) <= min(_MOST_LABELS, max(2, together.total() // 4))
    return few and alone * 4 <= together.total()


_NUMBERED = re.compile(r"(.*?)_?\d+")
_MOST_LABELS = 20


def _one_per_row(
    table: Table, names: Mapping[str, str], text: Sequence[str], named: Mapping[str, Any], *, long: bool
) -> dict[str, Any] | None:
    """The keys of the long form; None where rows are items, or no column is seen to be the annotation.

    `long`: somebody said that a row is an annotation.
    """
    user = _first(names, USERS)
    who = named.get("annotator") or _first(names, ANNOTATORS) or user
    if who is None and not long:
        return None
    item = _first({n: c for n, c in names.items() if n != "idx"}, IDS)
    if item is not None and len({str(value) for value in table.cells(item)}) == len(table.records):
        item = None  # an id of the annotation, not of the item
    others = tuple(filter(None, (who, named.get("gold"), *text)))
    label = named.get("annotation") or next(
        (names[n] for n in ANNOTATION if n in names and names[n] not in others), None
    )
    if label is None:
        label = _only_label_column(table, names, (*others, *([item] if item else [])))
    if label is None or (isinstance(label, str) and any(isinstance(v, Mapping) for v in table.cells(label))):
        return None
    keys = {
        "text": text,
        **({} if item is None else {"item": item}),
        **({} if who is None else {"annotator": who}),
        "annotation": label,
        **({"round": names["round"]} if "round" in names else {}),
        **named,
    }
    if long:
        return keys
    rows = Counter(str([table_row.get(c) for c in ([item] if item else text)]) for table_row in table.records)
    repeats = sum(n for n in rows.values() if n > 1)
    if who == user and repeats * 2 < len(table.records):
        return None
    if not repeats and normal_name(label) in (*GOLDS, *ANNOTATIONS):
        return None  # each row is an item, as it would be without the annotator
    return keys


def _only_label_column(table: Table, names: Mapping[str, str], others: Sequence[str]) -> str | None:
    """The one column with few values that repeat, and whose name is not that of something else."""
    known = {names[n] for n in (*IDS, *ANNOTATORS, *USERS, *GOLDS, *NOT_LABELS) if n in names}
    seen = []
    for column in table.columns:
        if column in known or column in others or normal_name(column).endswith(NOT_LABEL_ENDINGS):
            continue
        if 2 <= _different(table, column) <= min(_MOST_LABELS, max(2, len(table.records) // 2)):
            seen.append(column)
    return seen[0] if len(seen) == 1 else None


def _different(table: Table, column: str) -> int:
    """How many different values a column has; counted no further than is too many for labels."""
    seen: set[str] = set()
    for value in table.cells(column):
        name = label_name(value)
        if name is not None:
            seen.add(name)
            if len(seen) > _MOST_LABELS:
                break
    return len(seen)


def _separator(table: Table, column: str) -> dict[str, str]:
    """A separator other than the comma, where every cell of several labels has it."""
    texts = [v for v in table.cells(column) if isinstance(v, str) and v.strip()[:1] not in ("[", "{")]
    if any("," in value for value in texts):
        return {}
    for separator in (";", "|", "/", "\t"):
        if sum(separator in value for value in texts) * 2 > len(texts):
            return {"separator": separator}
    return {}


def _labels_of_list(table: Table, column: str, gold: str | None) -> tuple[str, ...] | None:
    """Names for the entries of a list; a mapping brings its own. Only numbers can be guessed."""
    value = next((cell for cell in table.cells(column) if cell is not None), None)
    if isinstance(value, str) and value.lstrip().startswith("["):
        size = value.count(",") + 1
    elif isinstance(value, list | tuple):
        size = len(value)
    else:
        return None
    golds = (label_name(cell) for cell in table.cells(gold)) if gold is not None else iter(())
    named = next((name for name in golds if name is not None and not name.lstrip("-").isdigit()), None)
    if named is not None:
        raise ColumnError(
            f"{table.path}: {column!r} is a list, {shown(value)}, and gold labels are names such as {named!r}, so the "
            "order of the labels is not known. Name it in a study: "
            "`tracked: {source: table, path: FILE, labels: [FIRST, SECOND, ...], counts: COLUMN, ...}`",
            table,
        )
    return tuple(str(k) for k in range(size))


def _first(names: Mapping[str, str], wanted: Sequence[str]) -> str | None:
    return next((names[name] for name in wanted if name in names), None)
