"""Reading files that may be rubbish: each record knows its place, each error names file and line."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from dissensus.errors import DataError, MissingDependencyError
from dissensus.wording import first_line

_WHOLE = re.compile(r"[+-]?\d+\.0*")


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a file.

    Attributes:
        path: the file.
        place: where in it, in words: 'line 12', 'row 3', "key '17'".
        values: the record's own fields.
    """

    path: Path
    place: str
    values: Mapping[str, Any]

    def error(self, message: str) -> DataError:
        """A `DataError` that opens with file and place."""
        return DataError(f"{self.path}, {self.place}: {message}")

    def need(self, key: str) -> Any:
        """The field `key`, or the nested one that a path ('data.text') names; a `DataError` lists those there are."""
        try:
            return field_at(self.values, key)
        except KeyError:
            known = ", ".join(map(str, list(self.values)[:20])) or "none"
            raise self.error(f"there is no field {key!r}; it has: {known}") from None

    def get(self, key: str) -> Any:
        """The field `key`, as `need`; None where there is none."""
        try:
            return field_at(self.values, key)
        except KeyError:
            return None

    def need_text(self, key: str) -> str:
        """The field `key`, which must be a string."""
        value = self.need(key)
        if not isinstance(value, str):
            raise self.error(f"{key!r} is {shown(value)}; expected a text")
        return value

    def need_name(self, key: str) -> str:
        """The field `key` as an id or a label: a non-empty text, or a number written as one."""
        value = self.need(key)
        name = cell_name(value)
        if name is None:
            raise self.error(f"{key!r} is {shown(value)}; expected a non-empty text or a number")
        return name

    def need_mapping(self, key: str) -> Record:
        """The field `key`, which must be a mapping, as a record of the same place."""
        value = self.need(key)
        if not isinstance(value, Mapping):
            raise self.error(f"{key!r} is {shown(value)}; expected an object with named fields")
        return Record(self.path, f"{self.place}, {key!r}", value)


def field_at(values: Mapping[str, Any], key: str) -> Any:
    """A field by its name, or by the path to it where it is nested; KeyError where there is none."""
    if key in values:
        return values[key]
    names = key.split(".")
    for cut in range(1, len(names)):
        inner = values.get(".".join(names[:cut]))
        if isinstance(inner, Mapping):
            return field_at(inner, ".".join(names[cut:]))
    raise KeyError(key)


def absent(values: Mapping[str, Any], key: str) -> bool:
    """Whether there is no field `key` (see `field_at`)."""
    try:
        field_at(values, key)
    except KeyError:
        return True
    return False


def shown(value: object) -> str:
    """A value for an error message, shortened."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def cell_name(value: object) -> str | None:
    """A cell as a name; None for an empty cell (None, NaN, blank text) or something that cannot be a name.

    Whole numbers lose a trailing '.0' (columns with gaps hold them as floats); booleans become 'true' and 'false'.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if value != value:  # NaN
            return None
        return str(int(value)) if value.is_integer() else str(value)
    if isinstance(value, str):
        return value.strip() or None
    return None


def label_name(value: object) -> str | None:
    """A cell as a label's name, as `cell_name`; '1.0' and 1 are one label, and the text 'nan' is an empty cell."""
    name = cell_name(value)
    if name is None or name.casefold() == "nan":
        return None
    return name.partition(".")[0] if _WHOLE.fullmatch(name) else name


def not_shares(shares: Iterable[float]) -> str | None:
    """Why these are not the shares of one distribution, in words; None if they are.

    Published shares are rounded, so that six of them may well sum to 1.02.
    """
    total = sum(shares)
    return None if abs(total - 1) <= 0.05 else f"the shares sum to {total:.3f}; expected 1"


def whole_if_near(value: float) -> float:
    """A share times its n as a count: published shares are rounded, so 0.33 x 3 means 1."""
    return float(round(value)) if abs(value - round(value)) < 0.05 else float(value)


def sorted_labels(names: set[str]) -> tuple[str, ...]:
    """Labels in order: by number when every one of them is a number, else alphabetically."""
    try:
        return tuple(sorted(names, key=lambda name: (float(name), name)))
    except ValueError:
        return tuple(sorted(names))


def open_binary(path: Path) -> IO[bytes]:
    """Open a file, unpacking `.gz`; `DataError` says why it cannot be opened."""
    try:
        return cast(IO[bytes], gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None


def read_lines(path: Path, *, blank: bool = False) -> Iterator[tuple[int, str]]:
    """Numbered lines of a UTF-8 text file (`.gz` allowed); blank ones are left out unless `blank`.

    Raises:
        DataError: unreadable, cut off, not UTF-8 text, or without a single line.
    """
    number = 0
    empty = True
    with open_binary(path) as handle:
        try:
            for number, raw in enumerate(handle, 1):
                line = _decode(raw, path, number)
                empty = empty and not line.strip()
                if blank or line.strip():
                    yield number, line
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataError(f"{path} is damaged after line {number}: it does not unpack ({error})") from None
        except OSError as error:
            raise DataError(f"cannot read {path} after line {number}: {error.strerror or error}") from None
    if empty:
        raise DataError(f"{path} is empty; expected at least one record")


def read_text(path: Path) -> str:
    """A whole UTF-8 text file (`.gz` allowed)."""
    return "".join(line for _, line in read_lines(path, blank=True))


def read_jsonl(path: Path) -> Iterator[Record]:
    """Records of a JSONL file, one object per line; `DataError` names the line that is not one."""
    for number, line in read_lines(path):
        try:
            values = json.loads(line, object_pairs_hook=each_key_once)
        except RepeatedKeyError as error:
            raise DataError(f"{path}, line {number}: {error}") from None
        except (ValueError, RecursionError) as error:
            reason = (
                error.msg if isinstance(error, json.JSONDecodeError) else "too deeply nested or malformed"
            )
            raise DataError(
                f"{path}, line {number}: not JSON ({reason}); expected one JSON object per line. The line begins: "
                f"{line.strip()[:60]!r}"
            ) from None
        if not isinstance(values, dict):
            raise DataError(f"{path}, line {number}: expected a JSON object; it is {line.strip()[:60]!r}")
        refuse_half_characters(values, line, f"{path}, line {number}")
        yield Record(path, f"line {number}", values)


def read_json(path: Path) -> Any:
    """One JSON document; `DataError` names the line and column where it stops being JSON."""
    text = read_text(path)
    try:
        document = json.loads(text, object_pairs_hook=each_key_once)
    except RepeatedKeyError as error:
        raise DataError(f"{path}: {error}") from None
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}, line {error.lineno}, column {error.colno}: not JSON ({error.msg}); is the file cut off?"
        ) from None
    except (ValueError, RecursionError):
        raise DataError(f"{path} is not JSON that can be read: too deeply nested or malformed") from None
    refuse_half_characters(document, text, str(path))
    return document


class RepeatedKeyError(ValueError):
    """An object of a JSON document has a key twice."""


def each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object's values by key, for `json.loads`; RepeatedKeyError where a key is there twice."""
    values = dict(pairs)
    if len(values) < len(pairs):
        twice = next(key for key in values if sum(key == other for other, _ in pairs) > 1)
        held = " and ".join(shown(value) for key, value in pairs if key == twice)
        raise RepeatedKeyError(
            f"the key {twice!r} is there more than once, with {held}; only one could be read. Remove the others"
        )
    return values


def refuse_half_characters(values: object, source: str, where: str) -> None:
    """Raise a `DataError` that opens with `where` if JSON read from `source` holds a lone surrogate."""
    # JSON can spell half of a surrogate pair (\\ud83d alone), which no text file, hash or tokenizer can take.
    if "\\ud" not in source.casefold():
        return
    try:
        json.dumps(values, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise DataError(
            f"{where}: the text holds half of a character ({half!a}), so it was cut inside one; remove it"
        ) from None


def _decode(raw: bytes, path: Path, number: int) -> str:
    if number == 1 and raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(
            f'{path} is UTF-16 (a spreadsheet\'s "Unicode text"); expected UTF-8. Save it as "CSV UTF-8"'
        )
    if b"\x00" in raw:
        raise DataError(f"{path}, line {number}: not a text file (it holds null bytes); expected UTF-8 text")
    try:
        return raw.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}, line {number}: not UTF-8 text (byte {error.start + 1} of the line is 0x{raw[error.start]:02x}); "
            "save the file as UTF-8"
        ) from None


def load_hub(name: str, *, split: str, config: str | None = None) -> Any:
    """One split of a hub data set, as a `datasets.Dataset`. No code of the data set is run.

    Raises:
        MissingDependencyError: the `hub` extra is not installed.
        DataError: the hub cannot be reached, or has no such data set, configuration or split.
    """
    try:
        import datasets
    except ImportError:
        raise MissingDependencyError("datasets", "hub", f"reading {name!r} from the hub") from None
    try:
        return datasets.load_dataset(name, config, split=split)
    except Exception as error:  # noqa: BLE001 - the library raises its dependencies' errors, of many classes
        raise DataError(
            f"the data set {name!r} (configuration {config or 'default'}, split {split!r}) could not be read from "
            f"the hub: {type(error).__name__}: {first_line(error, 'no reason given')}. "
            "Check its name and the network, or name a local file with `path`."
        ) from None
