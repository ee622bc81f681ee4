"""Options that say what is in a data file, shared by `dissensus init` and `dissensus data check`.

A file that cannot be read without them is answered with its columns, two values of each, and these options.
"""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dissensus.errors import DataError, SpecError

if TYPE_CHECKING:
    from dissensus.data.sniff import NamedKeys
    from dissensus.data.sources.columns import ColumnError

SHOWN_COLUMNS, SHOWN_CHARACTERS = 40, 24
"""Columns of a file that are shown, and characters of each value."""

_SEVERAL = ("text", "annotation", "annotations", "labels", "missing")
"""Options whose value is a list, separated by commas."""


@dataclass(frozen=True)
class NamedColumns:
    """The options as they were given.

    Attributes:
        source: `--source`.
        keys: keys of a source's specification, and their values.
        words: the options as one types them, to be typed again.
    """

    source: str | None
    keys: tuple[tuple[str, Any], ...]
    words: tuple[str, ...]

    @property
    def named(self) -> NamedKeys:
        """The same, as `data.sniff` takes it."""
        from dissensus.data.sniff import NamedKeys

        return NamedKeys(self.source, dict(self.keys))


def _option(flag: str, metavar: str, words: str, *, many: bool = False) -> inspect.Parameter:
    name = flag.removeprefix("--")
    kind: Any = list[str] | None if many else str | None
    annotation = Annotated[kind, typer.Option(flag, metavar=metavar, help=words)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


OPTIONS = (
    _option("--text", "COLUMN,...", "The text, or the texts in order: premise,hypothesis."),
    _option("--item", "COLUMN", "The id of the item that was annotated."),
    _option("--annotator", "COLUMN", "Each row is one annotation: who gave it."),
    _option(
        "--annotation",
        "COLUMN,...",
        "Each row is one annotation: the label; or one column per label, with 1s.",
    ),
    _option(
        "--annotations", "COLUMN,...", "Each row is one item: a column per annotator, or one with a list."
    ),
    _option("--gold", "COLUMN", "The item's own label; without it the majority of annotations is gold."),
    _option("--labels", "NAME,...", "All labels, in order."),
    _option("--separator", "TEXT", "Between annotations that stand in one cell, e.g. ';'."),
    _option("--scale", "SCALE", "nominal, or ordinal: labels are steps, lowest first."),
    _option("--missing", "WORD,...", "Words that stand for no answer; '' for none."),
    _option("--keep", "COLUMN=VALUE", "Only rows with this value count. May be repeated.", many=True),
    _option("--source", "NAME", "The format, where it is not recognised: table, lewidi, ..."),
    _option("--set", "KEY=VALUE", "Any other key of the format, as in a study. May be repeated.", many=True),
)


def column_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command these options; it takes them together, as `columns: NamedColumns`."""

    def with_options(*arguments: Any, **options: Any) -> None:
        given = {option.name: options.pop(option.name) for option in OPTIONS}
        command(*arguments, **options, columns=_named(given))

    own = inspect.signature(command, eval_str=True).parameters.values()
    rest = [parameter for parameter in own if parameter.name != "columns"]
    parameters = [
        *(p for p in rest if p.name != "as_json"),
        *OPTIONS,
        *(p for p in rest if p.name == "as_json"),
    ]
    with_options.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
    )
    with_options.__annotations__ = {p.name: p.annotation for p in parameters}
    with_options.__doc__, with_options.__name__ = command.__doc__, command.__name__
    return with_options


def _named(given: dict[str, Any]) -> NamedColumns:
    keys: dict[str, Any] = {}
    words: list[str] = []
    for option, value in given.items():
        if value is None:
            continue
        for one in value if isinstance(value, list) else [value]:
            words += [f"--{option}", one]
        if option == "keep":
            keys["keep"] = _kept_rows(value)
        elif option == "set":
            keys.update(_setting(one) for one in value)
        elif option in _SEVERAL:
            parts = [part.strip() for part in value.split(",") if part.strip()]
            keys[option] = parts[0] if option == "annotation" and len(parts) == 1 else parts
        elif option != "source":
            keys[option] = value.replace("\\t", "\t") if option == "separator" else value
    return NamedColumns(given["source"], tuple(keys.items()), tuple(words))


def _kept_rows(pairs: list[str]) -> dict[str, list[str]]:
    """`--keep`: column -> the values that count."""
    kept: dict[str, list[str]] = {}
    for pair in pairs:
        column, equals, value = pair.partition("=")
        if not equals or not column:
            raise SpecError(f"--keep {pair!r}: expected COLUMN=VALUE, e.g. --keep status=submitted")
        kept.setdefault(column, []).append(value)
    return kept


def _setting(pair: str) -> tuple[str, Any]:
    """`--set`: a key and its value, read as YAML."""
    import yaml

    key, equals, text = pair.partition("=")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        equals = ""
    if not equals or not key:
        raise SpecError(
            f"--set {pair!r}: expected KEY=VALUE with a value as in a study, e.g. --set repeats=last"
        )
    return key, value


@contextmanager
def columns_shown(command: str, file: Path) -> Iterator[None]:
    """What a file's columns are, and how to name them, after an error that is about them."""
    from dissensus.data.sources.columns import ColumnError

    try:
        yield
    except ColumnError as error:
        raise DataError(f"{error.what}.\n{_columns(error)}\n{_how(command, file)}") from None


def _columns(error: ColumnError) -> str:
    """Each column with two different values."""
    lines = ["Its columns, with two values of each:"]
    names = error.table.columns
    for name in names[:SHOWN_COLUMNS]:
        values: list[str] = []
        for value in error.table.cells(name):
            text = _short(value)
            if text and text not in values:
                values.append(text)
            if len(values) == 2:
                break
        lines.append(f"  {name}: {' | '.join(values) or '(empty)'}")
    if len(names) > SHOWN_COLUMNS:
        lines.append(f"  and {len(names) - SHOWN_COLUMNS} more")
    return "\n".join(lines)


def _short(value: Any) -> str:
    text = "" if value is None else " ".join(str(value).split())
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 3] + "..."


def _how(command: str, file: Path) -> str:
    again = f"  dissensus {command} {shlex.quote(str(file))}"
    return (
        "Name them with options; one with a usual name (text, id, annotator) need not be:\n"
        "  each row is one item, with a column per annotator (or one that holds a list):\n"
        f"  {again} \\\n      --text COLUMN --annotations COLUMN,COLUMN,COLUMN\n"
        "  each row is one annotation:\n"
        f"  {again} \\\n      --text COLUMN --item COLUMN --annotator COLUMN --annotation COLUMN\n"
        "  each row is one item, and only gold labels are known:\n"
        f"  {again} \\\n      --text COLUMN --gold COLUMN\n"
        "  the texts are in a second file, joined by its column of ids: besides\n"
        "      --set 'texts={path: FILE, id: COLUMN}'"
    )
